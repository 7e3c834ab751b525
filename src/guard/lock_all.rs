use std::{future::IntoFuture, sync::Arc, time::Duration};

use super::{
    Guard, Ward,
    acquire::{Asker, Wait, acquire},
    lock::request,
    settings::Settings,
};
use crate::{
    backend::BackendFuture,
    domain::{Error, MutexOwner, Result, Wish},
};

/// Several locks that are had together or not at all, in the making. See
/// [`Mutexes::lock_all`](crate::Mutexes::lock_all).
///
/// Cancel safety: dropping the future leaves all lines and gives back what it may have captured.
#[derive(Debug)]
#[must_use = "a lock does nothing until it is awaited"]
pub struct LockAll {
    ward: Result<Arc<Ward>>,
    wishes: Vec<Wish>,
    settings: Settings,
    wait: Wait,
}

impl LockAll {
    pub(crate) fn new(ward: Result<Arc<Ward>>, wishes: Vec<Wish>) -> Self {
        Self {
            ward,
            wishes,
            settings: Settings::default(),
            wait: Wait::Forever,
        }
    }

    /// Waits for this long at most, then [`Error::Timeout`]. 0: [`Error::Busy`] if one of them is
    /// busy. Default: for ever.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = if wait.is_zero() {
            Wait::Not
        } else {
            Wait::AtMost(wait)
        };
        self
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

    async fn acquire(self) -> Result<Vec<Guard>> {
        self.settings.check()?;
        for (place, Wish { id, access, .. }) in self.wishes.iter().enumerate() {
            access.check()?;
            if self
                .wishes
                .iter()
                .take(place)
                .any(|earlier| earlier.id == *id)
            {
                return Err(Error::InvalidInput {
                    field: "ids",
                    reason: format!("names {id} twice"),
                });
            }
        }
        let ward = self.ward?.anchored();
        let asker = Asker {
            ids: self.wishes.iter().map(|wish| wish.id.clone()).collect(),
            owner: self.settings.holder(),
            is_its_own: true,
        };
        if asker.ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = request(self.wishes, &self.settings, &asker.owner, self.wait);
        let acquired = acquire(&ward, asker, request, self.wait).await?;
        Ok(Guard::all(&ward, acquired, &self.settings))
    }
}

impl IntoFuture for LockAll {
    type Output = Result<Vec<Guard>>;
    type IntoFuture = BackendFuture<'static, Vec<Guard>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.acquire())
    }
}
