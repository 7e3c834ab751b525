//! Contenders take turns, in short slices: what disturbs the machine disturbs them all alike.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{Failure, measured::Sum, random::Random, run::Run};

/// How much longer a turn may take than others, where there were too few samples.
const LONGER: u32 = 4;

pub(super) type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Something that many tasks can do, again and again.
pub(super) trait Contender: Send + Sync {
    /// Does it once, with a name that was not there before, and says how long the part took that
    /// counts.
    fn once<'a>(&'a self, task: usize, name: &'a str) -> Work<'a, Duration>;
}

/// What was done in one turn.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) took: Vec<Duration>,
    pub(super) elapsed: Duration,
}

/// Something that takes its turns.
pub(super) trait Turns: Send {
    fn turn<'a>(&'a mut self, length: Duration, random: &'a mut Random) -> Work<'a, Slice>;

    /// Gives back what a turn has left; nobody counts any more.
    fn after(&mut self) -> Work<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// How many round trips an operation takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RoundTrips {
    Known(f64),
    /// Each is a transaction that writes: those are counted.
    AsCounted,
    Unknown,
}

/// One who takes part.
pub(super) struct Entrant {
    pub(super) name: String,
    /// Whether others are compared with it.
    pub(super) is_base: bool,
    pub(super) round_trips: RoundTrips,
    /// Whether what the server spends meanwhile is spent on what is counted.
    pub(super) spends: bool,
    /// How many times as long as others' its turns are.
    pub(super) length: u32,
    pub(super) turns: Box<dyn Turns>,
}

impl Entrant {
    pub(super) fn new(name: impl Into<String>, turns: impl Turns + 'static) -> Self {
        Self {
            name: name.into(),
            is_base: false,
            round_trips: RoundTrips::AsCounted,
            spends: true,
            length: 1,
            turns: Box::new(turns),
        }
    }

    pub(super) fn taking(self, length: u32) -> Self {
        Self { length, ..self }
    }

    pub(super) fn called(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    pub(super) fn base(self) -> Self {
        Self {
            is_base: true,
            ..self
        }
    }

    /// Nothing is known of it but its time.
    pub(super) fn uncounted(self) -> Self {
        Self {
            round_trips: RoundTrips::Unknown,
            spends: false,
            ..self
        }
    }

    pub(super) fn round_trips(self, round_trips: RoundTrips) -> Self {
        Self {
            round_trips,
            ..self
        }
    }
}

/// Tasks that do the same at once, each as often as there is time.
pub(super) struct Tasks {
    pub(super) contender: Arc<dyn Contender>,
    pub(super) count: usize,
    /// How often each does it at the least, unless that takes too long.
    pub(super) least: usize,
}

impl Turns for Tasks {
    fn turn<'a>(&'a mut self, length: Duration, random: &'a mut Random) -> Work<'a, Slice> {
        Box::pin(async move {
            let least = self.least;
            let began = Instant::now();
            // What is dropped with the set is ended.
            let mut tasks = JoinSet::new();
            for task in 0..self.count {
                let contender = Arc::clone(&self.contender);
                let mut names = Random::new(random.number());
                tasks.spawn(async move {
                    let mut took = Vec::new();
                    loop {
                        if is_over(began.elapsed(), length, took.len(), least) {
                            return Ok::<_, Failure>(took);
                        }
                        took.push(contender.once(task, &names.name()).await?);
                    }
                });
            }
            let mut took = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                took.extend(ended.map_err(|error| error.to_string())??);
            }
            Ok(Slice {
                took,
                elapsed: began.elapsed(),
            })
        })
    }
}

/// Whether a turn is over that was to last so long, and to have so many samples at the least. One that
/// has none goes on: of nothing there are no figures.
pub(super) fn is_over(elapsed: Duration, length: Duration, samples: usize, least: usize) -> bool {
    elapsed >= length && samples > 0 && (samples >= least || elapsed >= length * LONGER)
}

/// Gives everyone a turn in each round, in an order by lot; the first round does not count.
pub(super) async fn race(
    run: &mut Run<'_>,
    what: &str,
    rounds: usize,
    entrants: &mut [Entrant],
) -> Result<Vec<Sum>, Failure> {
    let mut sums: Vec<Sum> = entrants.iter().map(|_| Sum::default()).collect();
    let mut order: Vec<usize> = (0..entrants.len()).collect();
    let turns = entrants.iter().map(|entrant| entrant.length).sum();
    let budget = run.plan.each.map(|each| each.saturating_mul(turns));
    let (began, all) = (Instant::now(), run.plan.all);
    for round in 0..=rounds {
        let is_late = budget.is_some_and(|budget| began.elapsed() >= budget)
            || all.is_some_and(|all| run.began.elapsed() >= all);
        if round > 1 && is_late {
            run.warnings.push(format!(
                "{what}: {} of {rounds} rounds, for there was no time for more",
                round - 1
            ));
            break;
        }
        run.tell(&format!("{what}: round {round} of {rounds}"));
        run.random.shuffle(&mut order);
        for &place in &order {
            let before = run.server().reading().await?;
            let slice = entrants[place]
                .turns
                .turn(run.plan.slice, &mut run.random)
                .await?;
            let spent = run.server().since(&before).await?;
            entrants[place].turns.after().await?;
            if round > 0 {
                sums[place].add(slice, spent);
            }
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_goes_on_for_the_samples_that_are_wanted_unless_that_takes_too_long() {
        let (length, moment) = (Duration::from_millis(30), Duration::from_nanos(1));
        let is_over = |elapsed, samples| is_over(elapsed, length, samples, 10);
        assert!(!is_over(length - moment, 1000));
        assert!(is_over(length, 10));
        assert!(!is_over(length, 9));
        assert!(!is_over(length * LONGER - moment, 9));
        assert!(is_over(length * LONGER, 1));
        assert!(!is_over(length * LONGER * 1000, 0));
    }
}
