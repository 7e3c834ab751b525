use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{AutoRelease, Evicted, FencingToken, Mutex};

/// How a semaphore stands after it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SemaphoreStatus {
    /// The asker has it: it was free.
    Acquired,
    /// It was busy, and gone at the second look: ask again. Only a poll against a backend that
    /// cannot decide in one step may answer so; the backends of this library never do.
    ReleasedInTheMeanTime,
    /// Another has it, perhaps one of the same name: the info is the holder's.
    OwnedBySomeoneElse,
    /// The asker has it: the earlier holder had outlived its timeout and made way.
    ForcedReleased,
}

impl SemaphoreStatus {
    /// Whether the asker has the semaphore now.
    pub fn is_acquired(self) -> bool {
        matches!(self, Self::Acquired | Self::ForcedReleased)
    }
}

/// A semaphore, as it was when the database last answered. All times are the database's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SemaphoreInfo {
    /// How it stands.
    pub status: SemaphoreStatus,
    /// Its name.
    pub name: String,
    /// Who has it.
    pub owner: String,
    /// How long after the last touch it is over; `None` if another program has captured it under a
    /// rule that is no timeout, or if it is about to go to one who has waited in line.
    pub timeout: Option<Duration>,
    /// When it is over unless it is touched; `None` if that is not a question of time.
    pub expires_at_utc: Option<DateTime<Utc>>,
    /// Since when its holder has it.
    pub create_date_utc: DateTime<Utc>,
    /// When it was acquired or last touched.
    pub update_date_utc: DateTime<Utc>,
    /// Larger for each later acquisition of this semaphore: what it protects can be
    /// [fenced](crate::InTransaction::fence) with it. 0 if it is only about to go to its owner.
    pub fencing_token: FencingToken,
    /// Whose hold was over and made way, if the status is
    /// [`ForcedReleased`](SemaphoreStatus::ForcedReleased).
    pub evicted: Option<Evicted>,
}

impl SemaphoreInfo {
    pub(super) fn new(mutex: &Mutex, status: SemaphoreStatus, evicted: Option<Evicted>) -> Self {
        let timeout = match &mutex.auto_release {
            AutoRelease::Timeout(timeout) => Some(*timeout),
            AutoRelease::Connection { timeout, .. } => *timeout,
            _ => None,
        };
        Self {
            status,
            name: mutex.id.id().to_owned(),
            owner: owner_of(mutex).to_owned(),
            timeout,
            expires_at_utc: mutex.expires_at,
            create_date_utc: mutex.held_since,
            update_date_utc: mutex.captured_since,
            fencing_token: mutex.fencing_token,
            evicted,
        }
    }

    /// Whether the asker has the semaphore now.
    pub fn is_acquired(&self) -> bool {
        self.status.is_acquired()
    }
}

/// Whose hold it is, in the service's sense. A hold of another program's may have no name.
pub(super) fn owner_of(mutex: &Mutex) -> &str {
    match mutex.owner.name() {
        "" => mutex.owner.session_id(),
        name => name,
    }
}
