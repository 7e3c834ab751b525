use std::future::IntoFuture;

use crate::{
    backend::{BackendFuture, MutexBackend, RefreshRequest},
    current_owner::current_owner,
    domain::{FencingToken, Mutex, MutexId, MutexOwner, Result, check_status_data},
};

/// A refresh in the making: say more, then await it. See
/// [`Mutexes::refresh`](crate::Mutexes::refresh).
///
/// Cancel safety: the request of a future that is dropped may still be carried out; nothing else can
/// come of it than that the time of the hold has started again.
#[derive(Debug)]
#[must_use = "a refresh does nothing until it is awaited"]
pub struct Refresh<'a> {
    backend: &'a dyn MutexBackend,
    id: MutexId,
    owner: Option<MutexOwner>,
    token: Option<FencingToken>,
    status_data: Option<String>,
}

impl<'a> Refresh<'a> {
    pub(super) fn new(backend: &'a dyn MutexBackend, id: &MutexId) -> Self {
        Self {
            backend,
            id: id.clone(),
            owner: None,
            token: None,
            status_data: None,
        }
    }

    /// Of this owner. Default: [`current_owner`](crate::current_owner()).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Only the hold with this token: a later capture by the same owner does not count.
    pub fn token(mut self, token: FencingToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Free text; empty leaves what the hold has.
    pub fn status_data(mut self, status_data: impl Into<String>) -> Self {
        self.status_data = Some(status_data.into());
        self
    }
}

impl<'a> IntoFuture for Refresh<'a> {
    type Output = Result<Mutex>;
    type IntoFuture = BackendFuture<'a, Mutex>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_status_data(self.status_data.as_deref())?;
            let request = RefreshRequest {
                id: self.id,
                owner: self.owner.unwrap_or_else(current_owner),
                token: self.token,
                status_data: self.status_data,
            };
            self.backend.refresh(&request).await
        })
    }
}
