use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AutoRelease, FencingToken, MutexId, MutexOwner, Reach};

/// A captured mutex: one hold, as it was when the database last answered.
///
/// All times are the database's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mutex {
    /// Its name.
    pub id: MutexId,
    /// Who holds it.
    pub owner: MutexOwner,
    /// The rule that ends the hold by itself.
    pub auto_release: AutoRelease,
    /// When it was captured or last refreshed; a timeout counts from here.
    pub captured_since: DateTime<Utc>,
    /// Free text of the holder.
    pub status_data: Option<String>,
    /// Larger for each later capture of this mutex.
    pub fencing_token: FencingToken,
    /// 0 for an exclusive hold, else the number of the permit.
    pub permit: u32,
    /// How many may share the mutex while this hold lasts, itself included; `None`: any number (or
    /// the hold is exclusive).
    pub permits: Option<u32>,
    /// When this hold began; refreshes leave it.
    pub held_since: DateTime<Utc>,
    /// When the rule ends the hold; `None` if the rule is not one of time.
    pub expires_at: Option<DateTime<Utc>>,
    /// For a path of a tree: what the hold locks beside it.
    #[serde(default)]
    pub reach: Reach,
}

impl Mutex {
    /// An exclusive hold that begins at this time, as a backend makes it.
    pub fn new(
        id: MutexId,
        owner: MutexOwner,
        auto_release: AutoRelease,
        fencing_token: FencingToken,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            owner,
            captured_since: now,
            status_data: None,
            fencing_token,
            permit: 0,
            permits: None,
            held_since: now,
            expires_at: auto_release.ends_at(now),
            auto_release,
            reach: Reach::none(),
        }
    }

    /// Whether this owner holds it (the strict comparison, of sessions).
    pub fn check_owner(&self, owner: &MutexOwner) -> bool {
        self.owner.is_same(owner)
    }
}

/// How a mutex stands towards the one who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "mutex", rename_all = "snake_case")]
pub enum MutexState {
    /// Nobody holds it.
    Free,
    /// The asker holds it.
    CapturedByMe(Mutex),
    /// Someone else holds it.
    CapturedByOther(Mutex),
}

impl MutexState {
    /// Whether nobody holds it.
    pub fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }

    /// The hold, whoever has it.
    pub fn mutex(&self) -> Option<&Mutex> {
        match self {
            Self::Free => None,
            Self::CapturedByMe(mutex) | Self::CapturedByOther(mutex) => Some(mutex),
        }
    }
}
