use serde::{Deserialize, Serialize};

use crate::domain::{AutoRelease, FencingToken, Mutex, MutexId, MutexOwner};

/// A hold without its guard: to be handed to another process, or kept beyond this one. See
/// [`Guard::into_parts`](crate::Guard::into_parts) and [`Mutexes::adopt`](crate::Mutexes::adopt).
///
/// Whoever has these can release the mutex and write in the holder's name: treat them as a secret
/// if that matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuardParts {
    /// Which mutex.
    pub id: MutexId,
    /// Who holds it.
    pub owner: MutexOwner,
    /// The hold.
    pub fencing_token: FencingToken,
    /// Its rule.
    pub auto_release: AutoRelease,
}

impl GuardParts {
    /// The parts of a hold.
    pub fn new(mutex: &Mutex) -> Self {
        Self {
            id: mutex.id.clone(),
            owner: mutex.owner.clone(),
            fencing_token: mutex.fencing_token,
            auto_release: mutex.auto_release.clone(),
        }
    }
}
