use std::{future::IntoFuture, marker::PhantomData, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    AtOnce, Guard, TryLocked, Waiting, Ward,
    acquire::{Asker, Wait, acquire},
    lock::request,
    settings::Settings,
};
use crate::{
    backend::BackendFuture,
    domain::{AutoRelease, FencingToken, MutexId, MutexOwner, Result, Wish},
};

/// Several locks that are had together or not at all, in the making. See
/// [`Mutexes::lock_all`](crate::Mutexes::lock_all).
///
/// Cancel safety: dropping the future leaves all lines and gives back what it may have captured.
#[derive(Debug)]
#[must_use = "a lock does nothing until it is awaited"]
pub struct LockAll<W = Waiting> {
    ward: Result<Arc<Ward>>,
    wishes: Vec<Wish>,
    settings: Box<Settings>,
    wait: Wait,
    kind: PhantomData<W>,
}

/// Several locks that are had together or not at all, and at once: busy is an answer. See
/// [`Mutexes::try_lock_all`](crate::Mutexes::try_lock_all).
pub type TryLockAll = LockAll<AtOnce>;

impl<W> LockAll<W> {
    pub(crate) fn new(ward: Result<Arc<Ward>>, wishes: Vec<Wish>) -> Self {
        Self {
            ward,
            wishes,
            settings: Box::default(),
            wait: Wait::default(),
            kind: PhantomData,
        }
    }

    /// As [`Lock::owner`](crate::Lock::owner).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.settings.owner = Some(owner);
        self
    }

    /// As [`Lock::timeout`](crate::Lock::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// As [`Lock::attached`](crate::Lock::attached).
    pub fn attached(mut self) -> Self {
        self.settings.attached = true;
        self
    }

    /// As [`Lock::deadline`](crate::Lock::deadline).
    pub fn deadline(self, deadline: DateTime<Utc>) -> Self {
        self.auto_release(AutoRelease::Deadline(deadline))
    }

    /// As [`Lock::auto_release`](crate::Lock::auto_release).
    pub fn auto_release(mut self, rule: AutoRelease) -> Self {
        self.settings.rule = Some(rule);
        self
    }

    /// As [`Lock::max_hold`](crate::Lock::max_hold).
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.settings.max_hold = Some(max_hold);
        self
    }

    /// As [`Lock::status_data`](crate::Lock::status_data).
    pub fn status_data(mut self, status_data: impl Into<String>) -> Self {
        self.settings.status_data = Some(status_data.into());
        self
    }

    /// As [`Lock::while_holding`](crate::Lock::while_holding).
    pub fn while_holding(mut self, guard: &Guard) -> Self {
        self.settings.while_holding.push(guard.fencing_token());
        self
    }

    /// As [`Lock::while_holding_token`](crate::Lock::while_holding_token).
    pub fn while_holding_token(mut self, token: FencingToken) -> Self {
        self.settings.while_holding.push(token);
        self
    }

    async fn acquire(self) -> Result<Vec<Guard>> {
        self.settings.check()?;
        for Wish { access, .. } in &self.wishes {
            access.check()?;
        }
        MutexId::refuse_twice(self.wishes.iter().map(|wish| &wish.id))?;
        let ward = self.ward?.anchored();
        let asker = Asker {
            ids: self.wishes.iter().map(|wish| wish.id.clone()).collect(),
            owner: self.settings.holder(),
            is_its_own: true,
        };
        if asker.ids.is_empty() {
            return Ok(Vec::new());
        }
        let settings = Arc::new(*self.settings);
        let request = request(self.wishes, &settings, &asker.owner, self.wait);
        let acquired = acquire(&ward, asker, request, self.wait).await?;
        Ok(Guard::all(&ward, acquired, &settings))
    }
}

impl LockAll<Waiting> {
    /// Waits for this long at most, then [`Error::Timeout`](crate::Error::Timeout). Default: for ever.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Wait::AtMost(wait);
        self
    }
}

impl IntoFuture for LockAll<Waiting> {
    type Output = Result<Vec<Guard>>;
    type IntoFuture = BackendFuture<'static, Vec<Guard>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.acquire())
    }
}

impl IntoFuture for LockAll<AtOnce> {
    type Output = Result<TryLocked<Vec<Guard>>>;
    type IntoFuture = BackendFuture<'static, TryLocked<Vec<Guard>>>;

    fn into_future(mut self) -> Self::IntoFuture {
        self.wait = Wait::Not;
        Box::pin(async move { TryLocked::answer(self.acquire().await) })
    }
}
