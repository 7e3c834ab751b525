use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::line::Waiter;
use crate::domain::{Access, Mutex, MutexOwner};

/// One mutex: who holds it, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// By their permits; an exclusive one, which is alone, has 0.
    pub(super) holds: BTreeMap<u32, Mutex>,
    /// By their tickets.
    pub(super) line: BTreeMap<i64, Waiter>,
}

/// Whether the rule of a hold has ended it.
pub(super) fn is_over(hold: &Mutex, now: DateTime<Utc>) -> bool {
    hold.expires_at.is_some_and(|end| end < now)
}

impl Place {
    pub(super) fn is_empty(&self) -> bool {
        self.holds.is_empty() && self.line.is_empty()
    }

    /// The holds that are not over.
    pub(super) fn live(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Mutex> {
        self.holds.values().filter(move |hold| !is_over(hold, now))
    }

    /// The first hold that another than this owner has.
    pub(super) fn of_another(&self, owner: &MutexOwner, now: DateTime<Utc>) -> Option<&Mutex> {
        self.live(now).find(|hold| !hold.check_owner(owner))
    }

    /// The hold of this owner, over or not.
    pub(super) fn of_owner(&mut self, owner: &MutexOwner) -> Option<&mut Mutex> {
        self.holds.values_mut().find(|hold| hold.check_owner(owner))
    }

    /// Whether the holds leave room for one more.
    pub(super) fn has_room(&self, access: Access, now: DateTime<Utc>) -> bool {
        let holders = self.live(now).count();
        match access {
            Access::Exclusive => holders == 0,
            Access::Shared { permits } => {
                let limits = self.live(now).filter_map(|hold| hold.permits);
                let strictest = limits.chain(permits).min();
                self.live(now).all(|hold| hold.permit > 0)
                    && strictest.is_none_or(|limit| {
                        u32::try_from(holders).is_ok_and(|holders| holders < limit)
                    })
            }
        }
    }

    /// The smallest number of a permit that nobody has.
    pub(super) fn free_permit(&self) -> u32 {
        (1..)
            .find(|permit| !self.holds.contains_key(permit))
            .unwrap_or(u32::MAX)
    }

    /// Removes the holds that are over, and gives them.
    pub(super) fn evict(&mut self, now: DateTime<Utc>) -> Vec<Mutex> {
        self.remove(|hold| is_over(hold, now))
    }

    /// Removes these holds, and gives them.
    pub(super) fn remove(&mut self, meant: impl Fn(&Mutex) -> bool) -> Vec<Mutex> {
        let permits: Vec<u32> = self
            .holds
            .iter()
            .filter(|(_, hold)| meant(hold))
            .map(|(permit, _)| *permit)
            .collect();
        permits
            .iter()
            .filter_map(|permit| self.holds.remove(permit))
            .collect()
    }
}

/// Makes the time of a hold start again.
pub(super) fn renew(hold: &mut Mutex, now: DateTime<Utc>, status_data: Option<&String>) {
    hold.captured_since = now;
    hold.expires_at = hold.auto_release.ends_at(now);
    if let Some(status_data) = status_data.filter(|text| !text.is_empty()) {
        hold.status_data = Some(status_data.clone());
    }
}
