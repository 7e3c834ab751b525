use std::{collections::BTreeMap, ops::Bound};

use chrono::{DateTime, Utc};

use super::place::Place;
use crate::domain::{Mutex, MutexId, is_above, is_path};

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

    /// The places below a path, in the order of their names.
    pub(super) fn below(&self, id: &MutexId) -> impl Iterator<Item = (&MutexId, &Place)> {
        let behind = (Bound::Excluded(id), Bound::Unbounded);
        self.places
            .range::<MutexId, _>(behind)
            .take_while(move |(other, _)| {
                other.group() == id.group()
                    && other.mode() == id.mode()
                    && other.id().starts_with(id.id())
            })
            .filter(move |(other, _)| is_above(id.id(), other.id()))
    }

    /// The places above a path.
    pub(super) fn above(&self, id: &MutexId) -> impl Iterator<Item = (&MutexId, &Place)> {
        self.places.iter().filter(move |(other, _)| {
            other.group() == id.group()
                && other.mode() == id.mode()
                && is_above(other.id(), id.id())
        })
    }

    /// Changes what there is about a mutex. Nothing is kept of one that is neither held nor waited
    /// for. Whoever may come in by the change at a path above or below is told.
    pub(super) fn at<T>(
        &mut self,
        id: &MutexId,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut Place) -> T,
    ) -> T {
        let place = self.places.entry(id.clone()).or_default();
        let answer = change(place);
        if place.is_empty() {
            self.places.remove(id);
        }
        if is_path(id.id()) {
            self.wake_around(id, now);
        }
        answer
    }

    /// The names of all places.
    pub(super) fn names(&self) -> Vec<MutexId> {
        self.places.keys().cloned().collect()
    }

    pub(super) fn next_ticket(&mut self) -> i64 {
        self.last_ticket += 1;
        self.last_ticket
    }
}
