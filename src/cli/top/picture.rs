//! What was read from the database at one moment.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    domain::{Error, FencingToken, Mutex, MutexId, MutexQuery, Waiter, WaiterQuery},
    mutexes::Mutexes,
};

/// How much is read.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) group: Option<String>,
    pub(super) limit: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    /// By the database's clock, after all else was read.
    pub(super) now: DateTime<Utc>,
    pub(super) holds: Vec<Mutex>,
    /// Whether there are more holds than these.
    pub(super) more_holds: bool,
    pub(super) waiters: Vec<Waiter>,
    /// Whether there are more waiters than these.
    pub(super) more_waiters: bool,
}

/// How many holds began and ended in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) began: f64,
    pub(super) ended: f64,
}

/// Reads as much as is wanted, and one more, to know whether there is more.
pub(super) async fn look(mutexes: &Mutexes, extent: &Extent) -> Result<Picture, Error> {
    let mut holds = MutexQuery::all().page_size(extent.limit + 1);
    let mut waiters = WaiterQuery::all().page_size(extent.limit + 1);
    if let Some(group) = &extent.group {
        holds = holds.group(group);
        waiters = waiters.group(group);
    }
    let mut holds = mutexes.list(&holds).await?.mutexes;
    let mut waiters = mutexes.waiters(&waiters).await?;
    let limit = usize::try_from(extent.limit).unwrap_or(usize::MAX);
    let (more_holds, more_waiters) = (holds.len() > limit, waiters.len() > limit);
    holds.truncate(limit);
    waiters.truncate(limit);
    Ok(Picture {
        now: mutexes.now().await?,
        holds,
        more_holds,
        waiters,
        more_waiters,
    })
}

impl Picture {
    /// How many wait for each mutex.
    pub(super) fn lines(&self) -> BTreeMap<&MutexId, usize> {
        let mut lines = BTreeMap::new();
        for waiter in &self.waiters {
            *lines.entry(&waiter.id).or_default() += 1;
        }
        lines
    }

    /// What has changed since a picture of before; `None` if one of them does not show all, so that a
    /// hold may only have moved out of it.
    pub(super) fn rates_since(&self, before: &Self) -> Option<Rates> {
        let elapsed = (self.now - before.now).as_seconds_f64();
        if self.more_holds || before.more_holds || elapsed <= 0.0 {
            return None;
        }
        let (old, new) = (before.keys(), self.keys());
        #[expect(clippy::cast_precision_loss, reason = "people read it")]
        let rate = |count: usize| count as f64 / elapsed;
        Some(Rates {
            began: rate(new.difference(&old).count()),
            ended: rate(old.difference(&new).count()),
        })
    }

    fn keys(&self) -> BTreeSet<(&MutexId, FencingToken)> {
        self.holds
            .iter()
            .map(|hold| (&hold.id, hold.fencing_token))
            .collect()
    }
}
