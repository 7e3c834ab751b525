use core::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{FencingToken, MutexId, MutexOwner};

/// What happened to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditedDeed {
    /// It began.
    Captured,
    /// Its holder gave it back.
    Released,
    /// Its rule had ended it, and somebody noticed.
    Evicted,
    /// It was taken away from its holder.
    Forced,
}

impl AuditedDeed {
    /// The word that stands for it in the audit.
    pub fn word(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Released => "released",
            Self::Evicted => "evicted",
            Self::Forced => "forced",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Captured, Self::Released, Self::Evicted, Self::Forced]
            .into_iter()
            .find(|deed| deed.word() == word)
    }
}

/// A beginning or an end of a hold, as the audit keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEvent {
    /// Database time of the event.
    pub at: DateTime<Utc>,
    /// Sets events of one time apart.
    pub number: i64,
    /// What happened.
    pub deed: AuditedDeed,
    /// The mutex.
    pub id: MutexId,
    /// 0 if the hold was exclusive, else the number of its permit.
    pub permit: u32,
    /// Token of the hold: its beginning and its end have the same.
    pub fencing_token: FencingToken,
    /// Whose hold it was.
    pub owner: MutexOwner,
    /// For [`Forced`](AuditedDeed::Forced) what was given as the reason, for
    /// [`Evicted`](AuditedDeed::Evicted) the rule and its setting.
    pub reason: Option<String>,
    /// The role that was logged in to the database: for an evicted hold, whoever noticed.
    pub database_role: String,
    /// Address of that connection's client, or of the pooler in between; `None` for a local socket.
    pub client_address: Option<IpAddr>,
    /// What that client calls itself.
    pub application_name: String,
}

/// Which events of the audit to read. Filters that are set must all fit.
///
/// Without a mutex, events are found by their time: name a short one where there are many.
///
/// ```
/// # fn main() -> Result<(), pgmutex::Error> {
/// use pgmutex::{AuditQuery, MutexId};
///
/// let who_had_it = AuditQuery::all().mutex(&MutexId::new("orders", "edit", "42")?).page_size(50);
/// # let _ = who_had_it;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditQuery {
    pub(crate) mutex: Option<MutexId>,
    pub(crate) group: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) page_size: Option<u32>,
    pub(crate) after: Option<(DateTime<Utc>, i64)>,
}

impl AuditQuery {
    /// Every event, on one page.
    pub fn all() -> Self {
        Self::default()
    }

    /// Events of this mutex.
    pub fn mutex(mut self, id: &MutexId) -> Self {
        self.mutex = Some(id.clone());
        self
    }

    /// Events of mutexes in this group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Events at this time or later.
    pub fn since(mut self, time: DateTime<Utc>) -> Self {
        self.since = Some(time);
        self
    }

    /// Events before this time.
    pub fn until(mut self, time: DateTime<Utc>) -> Self {
        self.until = Some(time);
        self
    }

    /// At most this many events on the page; without it, all of them.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    /// Goes on after the last event of a page.
    pub fn after(mut self, event: &AuditEvent) -> Self {
        self.after = Some((event.at, event.number));
        self
    }
}

/// What was done to the partitions of the audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditKept {
    /// How many months were made.
    pub made: u32,
    /// How many events that had no month were moved into one.
    pub moved: u64,
    /// How many months were dropped with their events.
    pub dropped: u32,
}

impl AuditKept {
    pub(crate) fn new(made: u32, moved: u64, dropped: u32) -> Self {
        Self {
            made,
            moved,
            dropped,
        }
    }
}
