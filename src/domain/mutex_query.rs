use serde::{Deserialize, Serialize};

use super::{Mutex, MutexId};

/// Which holds to list. Filters that are set must all fit; without any, every hold does.
///
/// ```
/// use pgmutex::MutexQuery;
///
/// let first_page = MutexQuery::all().group("orders").mutex_id_prefix("2026-").page_size(50);
/// # let _ = first_page;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MutexQuery {
    pub(crate) group: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) mutex_id: Option<String>,
    pub(crate) mutex_id_prefix: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) login: Option<String>,
    pub(crate) auto_release_rule: Option<String>,
    pub(crate) include_over: bool,
    pub(crate) start: u64,
    pub(crate) page_size: Option<u32>,
    pub(crate) after: Option<PagePosition>,
}

impl MutexQuery {
    /// Every hold, on one page.
    pub fn all() -> Self {
        Self::default()
    }

    /// Every hold of this mutex.
    pub fn of(id: &MutexId) -> Self {
        Self::all()
            .group(id.group())
            .mode(id.mode())
            .mutex_id(id.id())
    }

    /// Holds of mutexes in this group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Holds of mutexes of this mode.
    pub fn mode(mut self, mode: impl Into<String>) -> Self {
        self.mode = Some(mode.into());
        self
    }

    /// Holds of mutexes with this id.
    pub fn mutex_id(mut self, mutex_id: impl Into<String>) -> Self {
        self.mutex_id = Some(mutex_id.into());
        self
    }

    /// Holds of mutexes whose id begins so. The text is taken as it is: `%` and `_` mean
    /// themselves.
    pub fn mutex_id_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.mutex_id_prefix = Some(prefix.into());
        self
    }

    /// Holds of the owner with this session.
    pub fn session_id(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// Holds of the user with this id.
    pub fn user_id(mut self, user_id: impl Into<String>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// Holds of the user with this login.
    pub fn login(mut self, login: impl Into<String>) -> Self {
        self.login = Some(login.into());
        self
    }

    /// Holds under the rule with this code.
    pub fn auto_release_rule(mut self, code: impl Into<String>) -> Self {
        self.auto_release_rule = Some(code.into());
        self
    }

    /// Also holds that are over and not yet removed.
    pub fn include_over(mut self) -> Self {
        self.include_over = true;
        self
    }

    /// Leaves out this many holds at the beginning. The cost grows with the number; for paging,
    /// [`after`](Self::after) costs the same on every page.
    pub fn start(mut self, start: u64) -> Self {
        self.start = start;
        self
    }

    /// At most this many holds on the page; without it, all of them.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    /// Goes on after a page: give it that page's [`next`](Page::next).
    pub fn after(mut self, position: PagePosition) -> Self {
        self.after = Some(position);
        self
    }

    /// Whether a hold fits the filters: what a backend asks of each. Whether it is over, and which
    /// page it is on, is another matter.
    pub fn fits(&self, mutex: &Mutex) -> bool {
        let fits = |filter: &Option<String>, value: &str| {
            filter.as_ref().is_none_or(|wanted| wanted == value)
        };
        fits(&self.group, mutex.id.group())
            && fits(&self.mode, mutex.id.mode())
            && fits(&self.mutex_id, mutex.id.id())
            && self
                .mutex_id_prefix
                .as_ref()
                .is_none_or(|prefix| mutex.id.id().starts_with(prefix.as_str()))
            && fits(&self.session_id, mutex.owner.session_id())
            && fits(&self.user_id, mutex.owner.user_id())
            && fits(&self.login, mutex.owner.login())
            && fits(&self.auto_release_rule, &mutex.auto_release.dump().0)
    }
}

/// Some of the holds that fit a query, ordered by group, mode, id and permit, each compared byte by
/// byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page {
    /// The holds.
    pub mutexes: Vec<Mutex>,
    /// Where the next page begins; `None` if this one was not full, and so is the last.
    pub next: Option<PagePosition>,
}

impl Page {
    /// The page that these holds make, in answer to this query, as a backend gives it.
    pub fn new(mutexes: Vec<Mutex>, query: &MutexQuery) -> Self {
        let full = query
            .page_size
            .is_some_and(|size| usize::try_from(size).is_ok_and(|size| mutexes.len() >= size));
        let next = mutexes.last().filter(|_| full).map(|last| PagePosition {
            id: last.id.clone(),
            permit: last.permit,
        });
        Self { mutexes, next }
    }
}

/// A place in the order of a list: just behind one hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PagePosition {
    pub(crate) id: MutexId,
    pub(crate) permit: u32,
}

impl PagePosition {
    /// Just behind this mutex, whether it is held or not.
    pub fn behind(id: MutexId) -> Self {
        Self {
            id,
            permit: u32::MAX,
        }
    }
}
