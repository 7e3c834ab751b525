use std::future::IntoFuture;

use crate::{
    backend::{BackendFuture, ForceReleaseRequest, MutexBackend, ReleaseRequest},
    current_owner::current_owner,
    domain::{FencingToken, ForceReleased, MutexId, MutexOwner, Released, Result, check_reason},
};

/// A release in the making: say more, then await it. See
/// [`Mutexes::release`](crate::Mutexes::release).
///
/// Cancel safety: the request of a future that is dropped may still be carried out, also some time
/// later if it [travels with others](crate::Coalescing), or not at all:
/// then the hold lasts until its rule ends it. Repeating the call is safe; with a
/// [`token`](Self::token) it cannot meet a later hold of the same owner.
#[derive(Debug)]
#[must_use = "a release does nothing until it is awaited"]
pub struct Release<'a> {
    backend: &'a dyn MutexBackend,
    id: MutexId,
    owner: Option<MutexOwner>,
    token: Option<FencingToken>,
}

impl<'a> Release<'a> {
    pub(super) fn new(backend: &'a dyn MutexBackend, id: &MutexId) -> Self {
        Self {
            backend,
            id: id.clone(),
            owner: None,
            token: None,
        }
    }

    /// Of this owner. Default: [`current_owner`](crate::current_owner()).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Only the hold with this token: a later capture by the same owner stays.
    pub fn token(mut self, token: FencingToken) -> Self {
        self.token = Some(token);
        self
    }
}

impl<'a> IntoFuture for Release<'a> {
    type Output = Result<Released>;
    type IntoFuture = BackendFuture<'a, Released>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = ReleaseRequest {
                id: self.id,
                owner: self.owner.unwrap_or_else(current_owner),
                token: self.token,
            };
            self.backend.release(&request).await
        })
    }
}

/// A forced release in the making: say more, then await it. See
/// [`Mutexes::force_release`](crate::Mutexes::force_release).
///
/// Cancel safety: the request of a future that is dropped may still be carried out, or not at all.
/// Repeat it only with a [`token`](Self::token): another may have captured the mutex since.
#[derive(Debug)]
#[must_use = "a forced release does nothing until it is awaited"]
pub struct ForceRelease<'a> {
    backend: &'a dyn MutexBackend,
    request: ForceReleaseRequest,
}

impl<'a> ForceRelease<'a> {
    pub(super) fn new(backend: &'a dyn MutexBackend, id: &MutexId, reason: String) -> Self {
        Self {
            backend,
            request: ForceReleaseRequest {
                id: id.clone(),
                reason,
                token: None,
            },
        }
    }

    /// Only the hold with this token: the one that was looked at, not one that has come since.
    pub fn token(mut self, token: FencingToken) -> Self {
        self.request.token = Some(token);
        self
    }
}

impl<'a> IntoFuture for ForceRelease<'a> {
    type Output = Result<ForceReleased>;
    type IntoFuture = BackendFuture<'a, ForceReleased>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_reason(&self.request.reason)?;
            let outcome = self.backend.force_release(&self.request).await?;
            if let ForceReleased::Released(mutex) = &outcome {
                tracing::warn!(
                    mutex = %mutex.id,
                    holder = %mutex.owner,
                    token = %mutex.fencing_token,
                    reason = %self.request.reason,
                    "release forced"
                );
            }
            Ok(outcome)
        })
    }
}
