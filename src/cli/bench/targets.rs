//! What was aimed at, and what came of it.

use serde::Serialize;

use super::{
    floors::RAW,
    hand_over::{self, UNCONTENDED},
    idle, memory,
    ours::OURS,
    part::Part,
    peer::Kind,
    plan::Scenario,
    rows,
};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) what: String,
    pub(super) bound: Bound,
    pub(super) target: f64,
    pub(super) unit: &'static str,
    /// Null where this run cannot tell.
    pub(super) measured: Option<f64>,
    pub(super) met: Option<bool>,
    /// Why it cannot, or what else to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost,
    AtLeast,
}

impl Target {
    fn new(what: impl Into<String>, bound: Bound, target: f64, measured: Option<f64>) -> Self {
        let met = measured.map(|measured| match bound {
            Bound::AtMost => measured <= target,
            Bound::AtLeast => measured >= target,
        });
        Self {
            what: what.into(),
            bound,
            target,
            unit: "",
            measured,
            met,
            note: None,
        }
    }

    fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// To be said where this run cannot tell.
    fn or_else(self, note: impl Into<String>) -> Self {
        match self.measured {
            None => self.with_note(note),
            Some(_) => self,
        }
    }

    /// Its figure does not say whether it is met.
    fn undecided(self, note: impl Into<String>) -> Self {
        Self {
            met: None,
            ..self.with_note(note)
        }
    }

    fn with_note(self, note: impl Into<String>) -> Self {
        Self {
            note: Some(note.into()),
            ..self
        }
    }
}

/// What it was measured with, as far as it decides what can be said.
pub(super) struct Conditions<'a> {
    pub(super) rows: &'a [u64],
    pub(super) guards: usize,
    /// How many connections the floors have had at the most.
    pub(super) raw_clients: usize,
    /// What Redis said of itself.
    pub(super) redis: Option<&'a str>,
    /// Why none of the figures says whether a target is met.
    pub(super) says_little: Option<&'static str>,
}

/// With fewer clients the raw table is not at its best.
const RAW_CLIENTS: usize = 32;
/// How a Redis describes itself that waits for the disk.
const DURABLE: &str = "appendonly yes, appendfsync always";
/// How many holds the target is about; fewer say something, too.
const MANY: u64 = 10_000_000;
const GUARDS: usize = 100_000;

/// The whole table, of what was measured in one run.
pub(super) fn targets(parts: &[Part], conditions: &Conditions<'_>) -> Vec<Target> {
    let (rows, guards) = (conditions.rows, conditions.guards);
    let mut targets = vec![Target::new(
        "p50 of a pair, 1 task: raw",
        Bound::AtMost,
        0.9,
        pairs(parts, 1).and_then(|part| Some(part.contender(OURS)?.ratios.get(RAW)?.p50)),
    )];
    for tasks in [64, 256] {
        let against_raw = best_raw(parts)
            .zip(rate(parts, tasks, OURS))
            .map(|(raw, ours)| ours / raw);
        let target = Target::new(
            format!("pairs/s, {tasks} tasks: raw at its best"),
            Bound::AtLeast,
            5.0,
            against_raw,
        );
        targets.push(match conditions.raw_clients {
            RAW_CLIENTS.. => target,
            clients => target.undecided(format!(
                "raw had {clients} connections at the most; raise max_connections"
            )),
        });
    }
    let redis = rate(parts, 64, OURS)
        .zip(rate(parts, 64, Kind::Redis.name()))
        .map(|(ours, redis)| ours / redis);
    let redis = Target::new("pairs/s, 64 tasks: Redis", Bound::AtLeast, 1.0, redis)
        .or_else("name one with --redis, whose appendfsync is always");
    targets.push(match conditions.redis {
        Some(described) if !described.contains(DURABLE) => {
            redis.undecided(format!("it is to be one with {DURABLE}: {described}"))
        }
        _ => redis,
    });
    targets.push(
        Target::new(
            "pairs/s, 64 tasks: distributed-lock-postgres",
            Bound::AtLeast,
            3.0,
            None,
        )
        .with_note("a program of its own measures it: see benches/ in the repository"),
    );
    targets.push(Target::new(
        "p50 of a hand-over, 1000 waiters: a capture",
        Bound::AtMost,
        2.0,
        of(parts, Scenario::HandOver).next().and_then(|part| {
            let line = part.contender(&hand_over::name(1000))?;
            Some(line.ratios.get(UNCONTENDED)?.p50)
        }),
    ));
    targets.push(growth(parts, rows));
    let idle = of(parts, Scenario::Idle).next();
    let idle = idle.and_then(|part| part.figure(idle::ROWS));
    targets.push(counting_guards(
        Target::new("writes of idle attached guards", Bound::AtMost, 0.0, idle),
        guards,
    ));
    let memory = of(parts, Scenario::Memory).next();
    let per = |name| memory.and_then(|part| part.figure(name));
    for (what, bytes, name) in [
        ("memory per waiting task", 2048.0, memory::PER_WAITING_TASK),
        ("memory per idle guard", 1024.0, memory::PER_IDLE_GUARD),
    ] {
        targets.push(Target::new(what, Bound::AtMost, bytes, per(name)).in_unit("bytes"));
    }
    if let Some(reason) = conditions.says_little {
        let decided = targets.iter_mut().filter(|target| target.met.is_some());
        for target in decided {
            *target = target.clone().undecided(reason);
        }
    }
    targets
}

/// Of the most holds that were measured; only of as many as the target is about it can be met.
fn growth(parts: &[Part], rows: &[u64]) -> Target {
    let what = "p50 of a capture, 10 M held: 1000 held";
    let (fewest, most) = (rows.iter().min(), rows.iter().max());
    let ratio = fewest.zip(most).and_then(|(fewest, most)| {
        let part = of(parts, Scenario::Rows).next()?;
        let many = part.contender(&rows::name(*most))?;
        Some(many.ratios.get(&rows::name(*fewest))?.p50)
    });
    let target = Target::new(what, Bound::AtMost, 1.3, ratio);
    match most {
        Some(&MANY) | None => target,
        Some(most) => target.undecided(format!(
            "with {}; for 10 M: --rows {MANY}",
            rows::name(*most)
        )),
    }
}

/// Fewer guards than the target is about do not meet it.
fn counting_guards(target: Target, guards: usize) -> Target {
    match guards {
        GUARDS.. => target,
        guards => target.undecided(format!(
            "of {guards}; for as many as are aimed at: --guards {GUARDS}"
        )),
    }
}

fn of(parts: &[Part], scenario: Scenario) -> impl Iterator<Item = &Part> {
    parts.iter().filter(move |part| part.scenario == scenario)
}

fn pairs(parts: &[Part], tasks: usize) -> Option<&Part> {
    of(parts, Scenario::Pairs).find(|part| part.tasks == Some(tasks))
}

fn rate(parts: &[Part], tasks: usize, contender: &str) -> Option<f64> {
    Some(pairs(parts, tasks)?.contender(contender)?.per_second)
}

/// Raw pairs a second by as many clients as make the most of it.
fn best_raw(parts: &[Part]) -> Option<f64> {
    let all = of(parts, Scenario::Pairs).flat_map(|part| &part.contenders);
    let raw = all.filter(|one| one.contender == RAW || one.contender.starts_with("raw,"));
    raw.map(|one| one.per_second).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::{
        measured::{Measured, Ratio},
        part::Figure,
    };

    fn measured(contender: &str, p50_ms: f64, per_second: f64) -> Measured {
        Measured {
            contender: contender.to_owned(),
            is_base: contender == RAW,
            samples: 1000,
            p50_ms,
            p99_ms: p50_ms,
            per_second,
            server_cpu_us: None,
            wal_bytes: None,
            transactions: None,
            round_trips: None,
            ratios: Default::default(),
        }
    }

    fn part(scenario: Scenario, tasks: Option<usize>, mut contenders: Vec<Measured>) -> Part {
        let base = contenders[0].clone();
        for one in &mut contenders {
            let ratio: Ratio = one.against(&base);
            one.ratios.insert(base.contender.clone(), ratio);
        }
        Part {
            scenario,
            setting: String::new(),
            tasks,
            contenders,
            figures: Vec::new(),
        }
    }

    fn figures(scenario: Scenario, values: &[(&'static str, f64)]) -> Part {
        let figure = |&(name, value): &(&'static str, f64)| Figure {
            name,
            unit: "",
            value: Some(value),
        };
        Part::of_figures(scenario, String::new(), values.iter().map(figure).collect())
    }

    const QUIET: Conditions<'_> = Conditions {
        rows: &[1000, MANY],
        guards: GUARDS,
        raw_clients: 64,
        redis: Some("Redis 7.0.15, appendonly yes, appendfsync always"),
        says_little: None,
    };

    fn all_measured() -> [Part; 6] {
        [
            part(
                Scenario::Pairs,
                Some(1),
                vec![measured(RAW, 0.5, 2000.0), measured(OURS, 0.4, 2500.0)],
            ),
            part(
                Scenario::Pairs,
                Some(64),
                vec![
                    measured(RAW, 9.0, 7000.0),
                    measured("raw, 16 clients", 2.0, 8000.0),
                    measured(OURS, 1.0, 48_000.0),
                    measured("redis", 1.0, 50_000.0),
                ],
            ),
            part(
                Scenario::HandOver,
                None,
                vec![
                    measured(UNCONTENDED, 0.2, 1.0),
                    measured("1000 waiters", 0.3, 1.0),
                ],
            ),
            part(
                Scenario::Rows,
                None,
                vec![
                    measured("1000 held", 0.2, 1.0),
                    measured("10 M held", 0.3, 1.0),
                ],
            ),
            figures(Scenario::Idle, &[(idle::ROWS, 0.0)]),
            figures(
                Scenario::Memory,
                &[
                    (memory::PER_WAITING_TASK, 3000.0),
                    (memory::PER_IDLE_GUARD, 900.0),
                ],
            ),
        ]
    }

    fn find<'a>(targets: &'a [Target], what: &str) -> &'a Target {
        let found = targets.iter().find(|target| target.what.contains(what));
        found.unwrap_or_else(|| panic!("{what}: {targets:#?}"))
    }

    #[test]
    fn the_table_is_worked_out_from_what_was_measured() {
        let targets = targets(&all_measured(), &QUIET);
        for (what, measured, met) in [
            ("1 task", Some(0.8), Some(true)),
            // The best of raw is that of 16 clients.
            ("64 tasks: raw", Some(6.0), Some(true)),
            ("256 tasks: raw", None, None),
            ("Redis", Some(0.96), Some(false)),
            ("distributed-lock-postgres", None, None),
            ("hand-over", Some(1.5), Some(true)),
            ("10 M held", Some(1.5), Some(false)),
            ("writes", Some(0.0), Some(true)),
            ("waiting task", Some(3000.0), Some(false)),
            ("idle guard", Some(900.0), Some(true)),
        ] {
            let target = find(&targets, what);
            let is_as_expected = match (target.measured, measured) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(is_as_expected, "{target:?}");
            assert_eq!(target.met, met, "{target:?}");
        }
        assert_eq!(find(&targets, "10 M held").note, None);
    }

    #[test]
    fn fewer_holds_than_the_target_is_about_do_not_meet_it() {
        let parts = [part(
            Scenario::Rows,
            None,
            vec![
                measured("1000 held", 0.2, 1.0),
                measured("1 M held", 0.2, 1.0),
            ],
        )];
        let targets = targets(
            &parts,
            &Conditions {
                rows: &[1000, 1_000_000],
                ..QUIET
            },
        );
        let growth = find(&targets, "10 M held");
        assert_eq!((growth.measured, growth.met), (Some(1.0), None));
        assert!(growth.note.as_deref().unwrap().contains("1 M held"));
    }

    #[test]
    fn what_was_measured_otherwise_than_aimed_at_neither_meets_nor_misses_it() {
        let few_clients = Conditions {
            raw_clients: 1,
            ..QUIET
        };
        let few_guards = Conditions {
            guards: 10_000,
            ..QUIET
        };
        let forgetful = Conditions {
            redis: Some("Redis 7.0.15, appendonly yes, appendfsync everysec"),
            ..QUIET
        };
        for (conditions, what, note) in [
            (few_clients, "64 tasks: raw", "1 connections"),
            (few_guards, "writes", "10000"),
            (forgetful, "Redis", "everysec"),
        ] {
            let (before, after) = (
                targets(&all_measured(), &QUIET),
                targets(&all_measured(), &conditions),
            );
            let (before, after) = (find(&before, what), find(&after, what));
            assert!(before.met.is_some(), "{before:?}");
            assert_eq!((after.measured, after.met), (before.measured, None));
            assert!(after.note.as_deref().unwrap().contains(note), "{after:?}");
        }
        let says_little = Conditions {
            says_little: Some("fsync is off"),
            ..QUIET
        };
        let targets = targets(&all_measured(), &says_little);
        assert!(targets.iter().all(|target| target.met.is_none()));
        let at_one_task = find(&targets, "1 task");
        assert_eq!(at_one_task.note.as_deref(), Some("fsync is off"));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let targets = targets(&[], &Conditions { rows: &[], ..QUIET });
        assert_eq!(targets.len(), 10);
        assert!(
            targets.iter().all(|target| target.met.is_none()),
            "{targets:#?}"
        );
    }
}
