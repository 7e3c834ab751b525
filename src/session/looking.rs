use chrono::{DateTime, Utc};

use super::{place::is_over, store::Store};
use crate::{
    backend::StateRequest,
    domain::{Mutex, MutexOwner, MutexQuery, MutexState, PagePosition, Waiter, WaiterQuery},
};

impl Store {
    /// How a mutex stands towards the one who asks. What is over makes way.
    pub(super) fn state(&mut self, request: &StateRequest, now: DateTime<Utc>) -> MutexState {
        self.at(&request.id, now, |place| {
            if !place.evict(now).is_empty() {
                place.wake(now);
            }
            if let Some(own) = place.of_owner(&request.owner) {
                return MutexState::CapturedByMe(own.clone());
            }
            match place.holds.values().next() {
                Some(other) => MutexState::CapturedByOther(other.clone()),
                None => MutexState::Free,
            }
        })
    }

    pub(super) fn waiters(&self, query: &WaiterQuery, now: DateTime<Utc>) -> Vec<Waiter> {
        self.places()
            .flat_map(|(id, place)| {
                let mut behind: Option<MutexOwner> = None;
                (1..).zip(&place.line).map(move |(rank, (ticket, waiter))| {
                    let before = behind.replace(waiter.owner.clone());
                    let before = before.or_else(|| self.owner_ahead_of(id, *ticket, now));
                    waiter.as_listed(id, rank, *ticket, before)
                })
            })
            .filter(|waiter| query.fits(waiter))
            .take(query.page_size.map_or(usize::MAX, |size| {
                usize::try_from(size).unwrap_or(usize::MAX)
            }))
            .collect()
    }

    pub(super) fn list(&self, query: &MutexQuery, now: DateTime<Utc>) -> Vec<Mutex> {
        let position = |hold: &Mutex| PagePosition {
            id: hold.id.clone(),
            permit: hold.permit,
        };
        self.places()
            .flat_map(|(_, place)| place.holds.values())
            .filter(|hold| query.fits(hold) && (query.include_over || !is_over(hold, now)))
            .filter(|hold| {
                query
                    .after
                    .as_ref()
                    .is_none_or(|after| position(hold) > *after)
            })
            .skip(usize::try_from(query.start).unwrap_or(usize::MAX))
            .take(query.page_size.map_or(usize::MAX, |size| {
                usize::try_from(size).unwrap_or(usize::MAX)
            }))
            .cloned()
            .collect()
    }
}
