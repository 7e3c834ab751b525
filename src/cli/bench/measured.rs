//! What came of it: percentiles, and how much of what each operation took.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    race::{Entrant, RoundTrips, Slice},
    server::Spent,
};

/// All turns of one contender.
#[derive(Debug, Default)]
pub(super) struct Sum {
    took: Vec<Duration>,
    elapsed: Duration,
    spent: Option<Spent>,
}

/// One contender's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Measured {
    pub(super) contender: String,
    pub(super) is_base: bool,
    pub(super) samples: usize,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) per_second: f64,
    /// Of all processes of the server, in microseconds; null where they cannot be seen, or work on
    /// something else.
    pub(super) server_cpu_us: Option<f64>,
    /// Null where it is not spent on what is counted.
    pub(super) wal_bytes: Option<f64>,
    /// Transactions that wrote; null as before.
    pub(super) transactions: Option<f64>,
    /// Null where it is not known.
    pub(super) round_trips: Option<f64>,
    /// As quotients of this and each of those that the others are compared with, by their names.
    pub(super) ratios: BTreeMap<String, Ratio>,
}

/// One contender's figures, divided by another's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub(super) p50: f64,
    pub(super) per_second: f64,
}

impl Sum {
    pub(super) fn add(&mut self, slice: Slice, spent: Spent) {
        self.took.extend(slice.took);
        self.elapsed += slice.elapsed;
        self.spent = Some(match self.spent {
            Some(before) => before.and(spent),
            None => spent,
        });
    }

    fn measured(mut self, entrant: &Entrant) -> Measured {
        self.took.sort_unstable();
        let samples = self.took.len();
        let each = |sum: f64| sum / samples.max(1) as f64;
        let spent = self.spent.filter(|_| entrant.spends);
        let transactions = spent.map(|spent| each(spent.transactions));
        Measured {
            contender: entrant.name.clone(),
            is_base: entrant.is_base,
            samples,
            p50_ms: milliseconds(percentile(&self.took, 50)),
            p99_ms: milliseconds(percentile(&self.took, 99)),
            per_second: samples as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            server_cpu_us: spent.and_then(|spent| Some(each(spent.cpu? * 1e6))),
            wal_bytes: spent.map(|spent| each(spent.wal)),
            transactions,
            round_trips: match entrant.round_trips {
                RoundTrips::Known(count) => Some(count),
                RoundTrips::AsCounted => transactions,
                RoundTrips::Unknown => None,
            },
            ratios: BTreeMap::new(),
        }
    }
}

/// The figures of all, with those of each divided by those of each base.
pub(super) fn compared(sums: Vec<Sum>, entrants: &[Entrant]) -> Vec<Measured> {
    let both = sums.into_iter().zip(entrants);
    let mut all: Vec<Measured> = both.map(|(sum, entrant)| sum.measured(entrant)).collect();
    let bases: Vec<Measured> = all.iter().filter(|one| one.is_base).cloned().collect();
    for one in &mut all {
        for base in &bases {
            one.ratios.insert(base.contender.clone(), one.against(base));
        }
    }
    all
}

impl Measured {
    pub(super) fn against(&self, base: &Self) -> Ratio {
        Ratio {
            p50: self.p50_ms / base.p50_ms,
            per_second: self.per_second / base.per_second,
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The smallest that so many in a hundred do not exceed, of sorted ones; zero of none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    let place = rank.saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::race::Work;

    struct Nothing;

    impl crate::cli::bench::race::Turns for Nothing {
        fn turn<'a>(
            &'a mut self,
            _: Duration,
            _: &'a mut crate::cli::bench::random::Random,
        ) -> Work<'a, Slice> {
            Box::pin(async { Ok(Slice::default()) })
        }
    }

    fn slice(milliseconds: impl IntoIterator<Item = u64>) -> Slice {
        let took: Vec<Duration> = milliseconds
            .into_iter()
            .map(Duration::from_millis)
            .collect();
        Slice {
            elapsed: took.iter().sum(),
            took,
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of = |slice: &Slice, percent| percentile(&slice.took, percent).as_millis();
        let hundred = slice(1..=100);
        assert_eq!((of(&hundred, 50), of(&hundred, 99)), (50, 99));
        let two = slice([1, 2]);
        assert_eq!((of(&two, 50), of(&two, 99)), (1, 2));
        assert_eq!(of(&slice([7]), 50), 7);
        assert_eq!(of(&slice([]), 50), 0);
    }

    #[test]
    fn figures_are_sums_over_all_turns_divided_by_what_was_done() {
        let entrants = [
            Entrant::new("raw", Nothing).base(),
            Entrant::new("ours", Nothing),
        ];
        let spent = Spent {
            wal: 300.0,
            transactions: 6.0,
            cpu: Some(0.003),
        };
        let mut sums = [Sum::default(), Sum::default()];
        // Out of order, and in two turns.
        sums[0].add(slice([4, 2]), spent);
        sums[0].add(slice([3]), spent);
        sums[1].add(slice([1]), Spent { cpu: None, ..spent });
        let all = compared(sums.into(), &entrants);
        let raw = &all[0];
        assert_eq!((raw.samples, raw.p50_ms, raw.p99_ms), (3, 3.0, 4.0));
        assert_eq!((raw.wal_bytes, raw.transactions), (Some(200.0), Some(4.0)));
        assert_eq!(raw.round_trips, Some(4.0));
        assert!((raw.server_cpu_us.unwrap() - 2000.0).abs() < 1e-6);
        assert!((raw.per_second - 3.0 / 0.009).abs() < 1e-6);
        let ours = &all[1];
        assert_eq!(ours.server_cpu_us, None);
        let ratio = ours.ratios["raw"];
        assert_eq!(ratio.p50, ours.p50_ms / raw.p50_ms);
        assert_eq!(ratio.per_second, ours.per_second / raw.per_second);
        assert_eq!(raw.ratios["raw"].p50, 1.0);
        assert!(!ours.ratios.contains_key("ours"));
    }
}
