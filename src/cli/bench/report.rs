//! What is printed in the end.

use serde::Serialize;

use super::{
    Exit, Failure, Output,
    floors::RAW,
    measured::Measured,
    part::Part,
    plan::Set,
    targets::{Bound, Target},
};
use crate::cli::{output::Look, table::Table};

/// All of one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) on: MeasuredOn,
    pub(super) set: Set,
    pub(super) seed: u64,
    pub(super) seconds: f64,
    /// What makes the figures say less.
    pub(super) warnings: Vec<String>,
    /// The others that it was compared with.
    pub(super) peers: Vec<String>,
    pub(super) parts: Vec<Part>,
    pub(super) targets: Vec<Target>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct MeasuredOn {
    pub(super) postgres: String,
    pub(super) fsync: String,
    pub(super) synchronous_commit: String,
    pub(super) full_page_writes: String,
    /// Whether server and client share one machine.
    pub(super) is_local: bool,
    /// Of the client.
    pub(super) cores: usize,
    /// How many processes ran or wanted to, before it began; null where that is not known.
    pub(super) load: Option<f64>,
    pub(super) pgmutex: &'static str,
    /// Whether the program was built with optimisations.
    pub(super) is_optimised: bool,
}

impl Report {
    pub(super) fn print(&self, output: &mut Output) -> Result<Exit, Failure> {
        if output.is_json {
            output.json(self)?;
            return Ok(Exit::Success);
        }
        self.print_surroundings(output)?;
        for part in &self.parts {
            output.line("")?;
            output.hanging("", 0, &self.title(part, output))?;
            print_contenders(part, output)?;
            print_figures(part, output)?;
        }
        output.line("")?;
        print_targets(&self.targets, output)?;
        Ok(Exit::Success)
    }

    fn print_surroundings(&self, output: &mut Output) -> Result<(), Failure> {
        let on = &self.on;
        let place = match on.is_local {
            true => "on this machine",
            false => "on another machine",
        };
        let load = on
            .load
            .map_or_else(String::new, |load| format!(", load {load:.2} before"));
        output.fields(&[
            ("server", format!("PostgreSQL {}, {place}", on.postgres)),
            (
                "settings",
                format!(
                    "fsync {}, synchronous_commit {}, full_page_writes {}",
                    on.fsync, on.synchronous_commit, on.full_page_writes
                ),
            ),
            ("client", format!("{} cores{load}", on.cores)),
            ("peers", self.peers.join("; ")),
            ("run", format!("seed {}, {:.0} s", self.seed, self.seconds)),
            ("mind", self.warnings.join("; ")),
        ])
    }

    fn title(&self, part: &Part, output: &Output) -> String {
        let name = output.look(Look::Strong, part.scenario.name());
        match reference(part) {
            Some(base) => format!("{name}, {} (× is against {})", part.setting, base.contender),
            None => format!("{name}, {}", part.setting),
        }
    }
}

/// What the others are compared with in the table; JSON has all such quotients.
fn reference(part: &Part) -> Option<&Measured> {
    let bases = || part.contenders.iter().filter(|one| one.is_base);
    let is_about_growth = part.scenario == super::plan::Scenario::Rows
        || part.scenario == super::plan::Scenario::List;
    match is_about_growth {
        true => bases().next_back(),
        false => bases().find(|one| one.contender == RAW).or(bases().next()),
    }
}

fn print_contenders(part: &Part, output: &mut Output) -> Result<(), Failure> {
    let Some(base) = reference(part) else {
        return Ok(());
    };
    let row = |one: &Measured| {
        let ratio = one.against(base);
        let known = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        vec![
            one.contender.clone(),
            short(one.p50_ms),
            short(one.p99_ms),
            short(one.per_second),
            known(one.server_cpu_us),
            known(one.wal_bytes),
            known(one.round_trips),
            short(ratio.p50),
            short(ratio.per_second),
        ]
    };
    let rows: Vec<Vec<String>> = part.contenders.iter().map(row).collect();
    let mut table = Table::new(&[
        "", "P50 MS", "P99 MS", "PER S", "CPU US", "WAL B", "TRIPS", "P50 ×", "RATE ×",
    ]);
    output.rows(&mut table, &rows)
}

fn print_figures(part: &Part, output: &mut Output) -> Result<(), Failure> {
    let figures: Vec<(&str, String)> = part
        .figures
        .iter()
        .map(|figure| {
            let value = figure.value.map_or_else(
                || "not known here".to_owned(),
                |value| format!("{} {}", short(value), figure.unit),
            );
            (figure.name, value)
        })
        .collect();
    output.fields(&figures)
}

fn print_targets(targets: &[Target], output: &mut Output) -> Result<(), Failure> {
    let row = |target: &Target| {
        let bound = match target.bound {
            Bound::AtMost => "at most",
            Bound::AtLeast => "at least",
        };
        let measured = target.measured.map_or_else(|| "-".to_owned(), short);
        let met = match target.met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        vec![
            target.what.clone(),
            format!("{bound} {}", short(target.target)),
            measured,
            met.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = targets.iter().map(row).collect();
    let mut table = Table::new(&["WHAT, AGAINST WHAT", "TARGET", "MEASURED", "MET"]);
    output.rows(&mut table, &rows)?;
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for target in targets {
        let Some(note) = target.note.as_deref() else {
            continue;
        };
        match notes.iter_mut().find(|(known, _)| *known == note) {
            Some((_, whats)) => whats.push(&target.what),
            None => notes.push((note, vec![&target.what])),
        }
    }
    for (note, whats) in notes {
        let whats = match whats[..] {
            [what] => what.to_owned(),
            _ => format!("{} of them", whats.len()),
        };
        output.hanging("  ", 2, &format!("{whats}: {note}"))?;
    }
    Ok(())
}

/// Three digits that say something; large numbers as they are.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_number_has_the_digits_that_count() {
        for (number, shown) in [
            (0.0, "0"),
            (0.0123, "0.012"),
            (0.9999, "1.00"),
            (1.234, "1.23"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (99.99, "100"),
            (12345.6, "12346"),
        ] {
            assert_eq!(short(number), shown, "{number}");
        }
    }
}
