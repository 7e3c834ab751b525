//! The trees' face, as the handlers use it.

use crate::{
    domain::{Error, Mutex, MutexId, MutexOwner, MutexQuery, Result},
    mutexes::{Capture, Mutexes},
};

pub(super) fn flags(_mutex: &Mutex) -> (bool, bool) {
    (false, false)
}

pub(super) trait Trees {
    fn tree(&self, name: &str) -> Tree;
    fn waiters(&self, query: &MutexQuery) -> impl Future<Output = Result<Vec<Waiter>>> + Send;
}

impl Trees for Mutexes {
    fn tree(&self, name: &str) -> Tree {
        Tree(self.clone(), name.to_owned())
    }

    async fn waiters(&self, _query: &MutexQuery) -> Result<Vec<Waiter>> {
        Ok(Vec::new())
    }
}

#[derive(Clone, Debug)]
#[allow(dead_code)]
pub(super) struct Waiter {
    pub(super) id: MutexId,
    pub(super) place: u32,
    pub(super) access: crate::domain::Access,
    pub(super) owner: MutexOwner,
    pub(super) queued_since: chrono::DateTime<chrono::Utc>,
    pub(super) ticket: i64,
    pub(super) behind_owner_session: Option<String>,
    pub(super) behind_owner_name: Option<String>,
    pub(super) lock_parents: bool,
    pub(super) lock_children: bool,
}

pub(super) struct Tree(Mutexes, String);

#[derive(Clone, Debug)]
pub(super) struct TreePath {
    mutexes: Mutexes,
    id: MutexId,
}

impl Tree {
    pub(super) fn path<I, S>(&self, segments: I) -> Result<TreePath>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut id = String::from("/");
        let mut depth = 0;
        for segment in segments {
            let segment = segment.as_ref();
            depth += 1;
            if segment.is_empty() || depth > 100 {
                return Err(Error::InvalidId {
                    field: "mutex_id",
                    reason: "is no path".to_owned(),
                });
            }
            id.push_str(&segment.replace('%', "%25").replace('/', "%2F"));
            id.push('/');
        }
        Ok(TreePath {
            mutexes: self.0.clone(),
            id: MutexId::new(self.1.as_str(), "tree", id)?,
        })
    }
}

impl TreePath {
    pub(super) fn lock_parents(self, _: bool) -> Self {
        self
    }

    pub(super) fn lock_children(self, _: bool) -> Self {
        self
    }

    pub(super) fn id(&self) -> &MutexId {
        &self.id
    }

    pub(super) fn capture(&self) -> Capture<'_> {
        self.mutexes.capture(&self.id)
    }

    pub(super) fn release(&self) -> crate::mutexes::Release<'_> {
        self.mutexes.release(&self.id)
    }

    pub(super) fn refresh(&self) -> crate::mutexes::Refresh<'_> {
        self.mutexes.refresh(&self.id)
    }

    pub(super) fn force_release(
        &self,
        reason: impl Into<String>,
    ) -> crate::mutexes::ForceRelease<'_> {
        self.mutexes.force_release(&self.id, reason)
    }

    pub(super) async fn holder_in_the_way(&self) -> Result<Option<Mutex>> {
        let query = MutexQuery::all()
            .group(self.id.group())
            .mode(self.id.mode())
            .mutex_id(self.id.id());
        Ok(self.mutexes.list(&query).await?.mutexes.into_iter().next())
    }
}
