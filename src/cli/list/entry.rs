//! Holds and places in line as rows of a table and as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    cli::{duration, mutex_name::written, printable::printable, spoken},
    domain::{Error, Mutex, MutexId, MutexQuery, PagePosition, Waiter, WaiterQuery},
    json::{Hold, InLine},
    mutexes::Mutexes,
};

/// What is listed.
pub(in crate::cli) trait Entry {
    const HEADER: &'static [&'static str];
    /// What is said if there is nothing to list.
    const NONE: &'static str;

    fn row(&self, now: DateTime<Utc>) -> Vec<String>;

    fn json(&self) -> impl Serialize;

    /// Whether a person would call it the same: a hold that was refreshed is.
    fn is_same(&self, other: &Self) -> bool;
}

/// Which are listed.
pub(super) trait Query {
    type Entry: Entry;

    /// So many at most, behind this one.
    async fn page(
        &self,
        mutexes: &Mutexes,
        size: u32,
        after: Option<&Self::Entry>,
    ) -> Result<Vec<Self::Entry>, Error>;
}

/// With the name as it is written on the command line.
#[derive(Serialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    entry: T,
}

impl<T> Named<T> {
    fn new(id: &MutexId, entry: T) -> Self {
        let name = written(id);
        Self { name, entry }
    }
}

impl Entry for Mutex {
    const HEADER: &'static [&'static str] = &["MUTEX", "HOLDER", "HELD", "LEFT", "ACCESS", "TOKEN"];
    const NONE: &'static str = "nothing is held";

    fn row(&self, now: DateTime<Utc>) -> Vec<String> {
        vec![
            written(&self.id),
            spoken::owner(&self.owner),
            duration::spoken(now - self.held_since),
            spoken::left(self, now),
            spoken::access(self),
            self.fencing_token.to_string(),
        ]
    }

    fn json(&self) -> impl Serialize {
        Named::new(&self.id, Hold::from(self))
    }

    fn is_same(&self, other: &Self) -> bool {
        let key = |mutex: &Self| (mutex.fencing_token, mutex.permit, mutex.permits);
        self.id == other.id
            && key(self) == key(other)
            && self.owner == other.owner
            && self.status_data == other.status_data
    }
}

impl Entry for Waiter {
    const HEADER: &'static [&'static str] =
        &["MUTEX", "PLACE", "WAITING", "SINCE", "ACCESS", "BEHIND"];
    const NONE: &'static str = "nobody waits";

    fn row(&self, now: DateTime<Utc>) -> Vec<String> {
        let named = [&self.behind_name, &self.behind_session];
        let mut behind = named.into_iter().flatten().filter(|name| !name.is_empty());
        let access = match (self.access.is_shared(), self.access.permits()) {
            (false, _) => "exclusive".to_owned(),
            (true, None) => "shared".to_owned(),
            (true, Some(permits)) => format!("of {permits}"),
        };
        vec![
            written(&self.id),
            self.place.to_string(),
            spoken::owner(&self.owner),
            duration::spoken(now - self.queued_since),
            access,
            behind
                .next()
                .map(|name| printable(name))
                .unwrap_or_default(),
        ]
    }

    fn json(&self) -> impl Serialize {
        Named::new(&self.id, InLine::from(self))
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Query for MutexQuery {
    type Entry = Mutex;

    async fn page(
        &self,
        mutexes: &Mutexes,
        size: u32,
        after: Option<&Mutex>,
    ) -> Result<Vec<Mutex>, Error> {
        let mut query = self.clone().page_size(size);
        if let Some(last) = after {
            query = query.after(PagePosition {
                id: last.id.clone(),
                permit: last.permit,
            });
        }
        mutexes.list(&query).await.map(|page| page.mutexes)
    }
}

impl Query for WaiterQuery {
    type Entry = Waiter;

    async fn page(
        &self,
        mutexes: &Mutexes,
        size: u32,
        after: Option<&Waiter>,
    ) -> Result<Vec<Waiter>, Error> {
        let mut query = self.clone().page_size(size);
        if let Some(last) = after {
            query = query.after(last.id.clone(), last.ticket);
        }
        mutexes.waiters(&query).await
    }
}
