use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// How all mutexes of a database together stand. All times are the database's.
///
/// No more than 10,000 holds, places in line and sessions of pools are looked at, so that it can be
/// asked often: where there are more, `holds` is an estimate and the rest is about those looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MutexStatistics {
    /// When it was so.
    pub observed_at: DateTime<Utc>,
    /// How many holds there are, over or not.
    pub holds: u64,
    /// Whether `holds` is the planner's estimate: the table's last analyze counts.
    pub holds_are_estimated: bool,
    /// Those that the time of their rule has ended and that nobody has removed yet: many of them mean
    /// that nobody sweeps.
    pub holds_over: u64,
    /// Since when the oldest hold lasts that is not over; `None` if there is none.
    pub oldest_hold_since: Option<DateTime<Utc>>,
    /// How many wait in line and have been heard of lately. `None` on a standby, where nobody can.
    pub waiters: Option<u64>,
    /// Since when the one of them waits who has waited longest.
    pub oldest_waiter_since: Option<DateTime<Utc>>,
    /// How many sessions all pools together have.
    pub pool_sessions: u64,
}

impl MutexStatistics {
    /// For how long the oldest hold has lasted.
    pub fn oldest_hold_age(&self) -> Option<TimeDelta> {
        self.oldest_hold_since.map(|since| self.observed_at - since)
    }

    /// For how long the one has waited who has waited longest.
    pub fn oldest_waiter_age(&self) -> Option<TimeDelta> {
        self.oldest_waiter_since
            .map(|since| self.observed_at - since)
    }
}
