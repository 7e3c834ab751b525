use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Access, MutexId, MutexOwner, Reach};

/// One who waits for a mutex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Waiter {
    /// For which mutex.
    pub id: MutexId,
    /// The place in its line: 1 is next.
    pub place: u64,
    /// What the place goes by: in a line the smallest ticket is served first. One who waits for
    /// several mutexes at once has one ticket for all.
    pub ticket: i64,
    /// Alone, or shared.
    pub access: Access,
    /// For a path of a tree: what will be locked beside it.
    pub reach: Reach,
    /// Who waits.
    pub owner: MutexOwner,
    /// The session of who is directly before it: the waiter ahead, or for the first one a holder.
    /// At a path it may be somebody at a path above or below. `None` if nobody is in the way any
    /// more.
    pub behind_session: Option<String>,
    /// The name of that owner.
    pub behind_name: Option<String>,
    /// Since when.
    pub queued_since: DateTime<Utc>,
}

/// Whose places in line to list. Filters that are set must all fit; without any, everyone's do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WaiterQuery {
    pub(crate) group: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) mutex_id: Option<String>,
    pub(crate) mutex_id_prefix: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) page_size: Option<u32>,
    pub(crate) after: Option<(MutexId, i64)>,
}

impl WaiterQuery {
    /// Everyone who waits, on one page.
    pub fn all() -> Self {
        Self::default()
    }

    /// For this mutex.
    pub fn of(id: &MutexId) -> Self {
        Self {
            group: Some(id.group().to_owned()),
            mode: Some(id.mode().to_owned()),
            mutex_id: Some(id.id().to_owned()),
            ..Self::default()
        }
    }

    /// For mutexes in this group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// For mutexes of this mode.
    pub fn mode(mut self, mode: impl Into<String>) -> Self {
        self.mode = Some(mode.into());
        self
    }

    /// For mutexes with this id.
    pub fn mutex_id(mut self, mutex_id: impl Into<String>) -> Self {
        self.mutex_id = Some(mutex_id.into());
        self
    }

    /// For mutexes whose id begins so. The text is taken as it is.
    pub fn mutex_id_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.mutex_id_prefix = Some(prefix.into());
        self
    }

    /// The places of the owner with this session.
    pub fn session_id(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// At most this many on the page; without it, all.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    /// Goes on behind the last one of a page, by its mutex and ticket.
    pub fn after(mut self, id: MutexId, ticket: i64) -> Self {
        self.after = Some((id, ticket));
        self
    }

    /// Whether a waiter fits the filters and comes after the page before.
    pub fn fits(&self, waiter: &Waiter) -> bool {
        let fits = |filter: &Option<String>, value: &str| {
            filter.as_ref().is_none_or(|wanted| wanted == value)
        };
        fits(&self.group, waiter.id.group())
            && fits(&self.mode, waiter.id.mode())
            && fits(&self.mutex_id, waiter.id.id())
            && self
                .mutex_id_prefix
                .as_ref()
                .is_none_or(|prefix| waiter.id.id().starts_with(prefix.as_str()))
            && fits(&self.session_id, waiter.owner.session_id())
            && self
                .after
                .as_ref()
                .is_none_or(|(id, ticket)| (&waiter.id, waiter.ticket) > (id, *ticket))
    }
}
