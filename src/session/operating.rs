//! For those who look after the locks of others.

use chrono::{DateTime, Utc};

use super::store::Store;
use crate::{
    backend::ForceReleaseRequest,
    domain::{AutoRelease, FencingToken, ForceReleased, MutexId},
};

impl Store {
    /// Removes one hold under a custom rule, and says whether it was there.
    pub(super) fn evict(&mut self, id: &MutexId, token: FencingToken, now: DateTime<Utc>) -> bool {
        self.at(id, now, |place| {
            let evicted = place.remove(|hold| {
                hold.fencing_token == token
                    && matches!(hold.auto_release, AutoRelease::Custom { .. })
            });
            place.wake(now);
            !evicted.is_empty()
        })
    }

    /// Takes a mutex away from all who hold it, or from the one that is meant.
    pub(super) fn force_release(
        &mut self,
        request: &ForceReleaseRequest,
        now: DateTime<Utc>,
    ) -> ForceReleased {
        self.at(&request.id, now, |place| {
            let taken = place.remove(|hold| {
                request
                    .token
                    .is_none_or(|token| token == hold.fencing_token)
            });
            place.wake(now);
            match taken.into_iter().next() {
                Some(first) => ForceReleased::Released(Box::new(first)),
                None => ForceReleased::NotHeld,
            }
        })
    }

    /// Removes all holds that are over, and says how many.
    pub(super) fn sweep(&mut self, now: DateTime<Utc>) -> u64 {
        let mut swept = 0;
        for id in self.names() {
            self.at(&id, now, |place| {
                let evicted = place.evict(now).len();
                if evicted > 0 {
                    swept += evicted;
                    place.wake(now);
                }
            });
        }
        u64::try_from(swept).unwrap_or(u64::MAX)
    }
}
