use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::place::Place;
use crate::domain::{Mutex, MutexId};

/// All mutexes of a process, or of a request: those that are held or waited for.
#[derive(Debug, Default)]
pub(super) struct Store {
    places: BTreeMap<MutexId, Place>,
    last_ticket: i64,
}

impl Store {
    /// What there is about a mutex.
    pub(super) fn place(&self, id: &MutexId) -> Option<&Place> {
        self.places.get(id)
    }

    /// All that there is, in the order of the names.
    pub(super) fn places(&self) -> impl Iterator<Item = (&MutexId, &Place)> {
        self.places.iter()
    }

    /// The holds of a mutex that are not over, in the order of their permits.
    pub(super) fn live(&self, id: &MutexId, now: DateTime<Utc>) -> impl Iterator<Item = &Mutex> {
        self.place(id)
            .into_iter()
            .flat_map(move |place| place.live(now))
    }

    /// Changes what there is about a mutex. Nothing is kept of one that is neither held nor waited
    /// for.
    pub(super) fn at<T>(&mut self, id: &MutexId, change: impl FnOnce(&mut Place) -> T) -> T {
        let place = self.places.entry(id.clone()).or_default();
        let answer = change(place);
        if place.is_empty() {
            self.places.remove(id);
        }
        answer
    }

    /// Changes what there is about every mutex.
    pub(super) fn everywhere(&mut self, mut change: impl FnMut(&mut Place)) {
        self.places.retain(|_, place| {
            change(place);
            !place.is_empty()
        });
    }

    pub(super) fn next_ticket(&mut self) -> i64 {
        self.last_ticket += 1;
        self.last_ticket
    }
}
