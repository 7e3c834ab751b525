//! What is measured, how often and how long.

use std::{ops::RangeInclusive, time::Duration};

use clap::ValueEnum;
use serde::Serialize;

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Set {
    /// Seconds: whether it runs at all
    Smoke,
    /// Minutes
    Default,
    /// More rounds, and ten times the guards
    Full,
}

/// What is measured together, in the order in which it is: memory first, while the process is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scenario {
    /// What a waiting task and an idle guard take of the client's memory
    Memory,
    /// What attached guards write while nothing happens
    Idle,
    /// One round of heartbeats of many guards
    Refresh,
    /// Capture and release of what nobody else wants
    Pairs,
    /// From a release to the next holder's lock
    HandOver,
    /// Captures of paths, 8 deep
    Trees,
    /// Checkouts of sessions
    Pool,
    /// Captures beside few and many holds
    Rows,
    /// Pages of the list, of few and many holds
    List,
}

impl Scenario {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Idle => "idle",
            Self::Refresh => "refresh",
            Self::Pairs => "pairs",
            Self::HandOver => "hand-over",
            Self::Trees => "trees",
            Self::Pool => "pool",
            Self::Rows => "rows",
            Self::List => "list",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) set: Set,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) seed: u64,
    /// How often each contender has its turn; one turn more comes first and does not count.
    pub(super) rounds: usize,
    /// How long a turn is.
    pub(super) slice: Duration,
    /// How often each is to be done by one task in all turns together, should that take longer.
    pub(super) least: usize,
    /// How many tasks there are at once.
    pub(super) tasks: Vec<usize>,
    /// How many wait in line.
    pub(super) waiters: Vec<usize>,
    /// How often the whole line is served.
    pub(super) lines: usize,
    pub(super) guards: usize,
    /// How many tasks wait where their memory is measured.
    pub(super) waiting: usize,
    /// How many holds there are.
    pub(super) rows: Vec<u64>,
    /// For how long nothing happens.
    pub(super) idle: Duration,
    /// How long all turns of one contender may take, where not all rounds have to be had.
    pub(super) each: Option<Duration>,
    /// After so long there are no more rounds than one of anything.
    pub(super) all: Option<Duration>,
    /// After which time without a heartbeat the guards whose heartbeats are measured are over.
    pub(super) timeout: Duration,
}

/// How many rows may be asked for.
pub(super) const ROWS: RangeInclusive<u64> = 1..=100_000_000;
pub(super) const GUARDS: RangeInclusive<u64> = 1..=1_000_000;

impl Plan {
    pub(super) fn new(set: Set, seed: u64) -> Self {
        let plan = Self {
            set,
            scenarios: Scenario::value_variants().to_vec(),
            seed,
            rounds: 8,
            slice: Duration::from_millis(200),
            least: 1000,
            tasks: vec![1, 16, 64, 256],
            waiters: vec![1, 100, 1000],
            lines: 3,
            guards: 10_000,
            waiting: 10_000,
            rows: vec![1_000, 1_000_000],
            idle: Duration::from_secs(12),
            // As long as they take where nothing is slow, and a quarter more.
            each: Some(Duration::from_millis(2250)),
            all: Some(Duration::from_secs(220)),
            timeout: Duration::from_secs(12),
        };
        match set {
            Set::Smoke => Self {
                rounds: 1,
                slice: Duration::from_millis(30),
                least: 10,
                tasks: vec![1, 4],
                waiters: vec![1, 10],
                lines: 2,
                guards: 200,
                waiting: 200,
                rows: vec![100, 5_000],
                idle: Duration::from_millis(500),
                each: None,
                all: None,
                // Heartbeats come after a third of it; a guard outlives a moment at which nothing moves.
                timeout: Duration::from_secs(9),
                ..plan
            },
            Set::Default => plan,
            Set::Full => Self {
                rounds: 25,
                least: 5000,
                lines: 10,
                guards: 100_000,
                idle: Duration::from_secs(30),
                each: None,
                all: None,
                timeout: Duration::from_secs(60),
                ..plan
            },
        }
    }

    /// How often one task does it in one turn, at the least.
    pub(super) fn least_in_a_slice(&self) -> usize {
        self.least.div_ceil(self.rounds)
    }
}
