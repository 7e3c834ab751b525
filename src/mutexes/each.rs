//! Many mutexes in one call, each for itself.

use std::{future::IntoFuture, time::Duration};

use super::capture::at_once;
use crate::{
    backend::{BackendFuture, CaptureRequest, MutexBackend, ReleaseRequest, ReleasedEach},
    current_owner::current_owner,
    domain::{
        Access, AutoRelease, Captured, Error, MutexId, MutexOwner, Result, Wish, check_status_data,
    },
    rules::Rules,
};

/// Most mutexes that go into one call of the database.
const BATCH: usize = 1000;

/// Many captures, each for itself, in the making. See
/// [`Mutexes::capture_each`](crate::Mutexes::capture_each).
///
/// Cancel safety: of a future that is dropped, the request under way may still be carried out; what
/// was captured by then stays until its rule ends it, or until the same owner releases.
#[derive(Debug)]
#[must_use = "a capture does nothing until it is awaited"]
pub struct CaptureEach<'a> {
    places: Vec<(&'a dyn MutexBackend, Wish)>,
    owner: Option<MutexOwner>,
    access: Option<Access>,
    auto_release: Option<AutoRelease>,
    status_data: Option<String>,
    rules: &'a Rules,
}

impl<'a> CaptureEach<'a> {
    pub(super) fn new(places: Vec<(&'a dyn MutexBackend, Wish)>, rules: &'a Rules) -> Self {
        Self {
            rules,
            places,
            owner: None,
            access: None,
            auto_release: None,
            status_data: None,
        }
    }

    /// For this owner. Default: [`current_owner`](crate::current_owner()).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Alone or shared, for all of them. Default: as they are wanted, which is alone if nothing is
    /// said.
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// Each is over when this time has passed since the capture or its last refresh: whole seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.auto_release(AutoRelease::Timeout(timeout))
    }

    /// Under this rule. Default: a new hold gets a timeout of 300 seconds, a hold that is refreshed
    /// keeps its rule.
    pub fn auto_release(mut self, rule: AutoRelease) -> Self {
        self.auto_release = Some(rule);
        self
    }

    /// Free text for people and for the holder itself, up to 65,536 bytes.
    pub fn status_data(mut self, status_data: impl Into<String>) -> Self {
        self.status_data = Some(status_data.into());
        self
    }

    async fn run(self) -> Result<Vec<Result<Captured>>> {
        if let Some(rule) = &self.auto_release {
            rule.check()?;
        }
        check_status_data(self.status_data.as_deref())?;
        let owner = self.owner.unwrap_or_else(current_owner);
        let request = |wish: Wish| CaptureRequest {
            access: self.access.unwrap_or(wish.access),
            id: wish.id,
            owner: owner.clone(),
            reach: wish.reach,
            auto_release: self.auto_release.clone(),
            status_data: self.status_data.clone(),
        };
        let mut outcomes = Vec::with_capacity(self.places.len());
        let places = self.places.into_iter();
        let requests = places.map(|(backend, wish)| (backend, request(wish)));
        let requests: Vec<_> = requests.collect();
        requests
            .iter()
            .try_for_each(|(_, request)| request.access.check())?;
        for (backend, requests) in batches(requests) {
            let answers = backend.capture_each(&requests).await?;
            for (answer, request) in answers.into_iter().zip(&requests) {
                outcomes.push(match answer {
                    Err(Error::Busy { holder, .. }) if self.rules.may_end(&holder) => {
                        at_once(backend, self.rules, request).await
                    }
                    answer => answer,
                });
            }
        }
        Ok(outcomes)
    }
}

/// Many releases, each for itself, in the making. See
/// [`Mutexes::release_each`](crate::Mutexes::release_each).
///
/// Cancel safety: of a future that is dropped, the request under way may still be carried out; what
/// was not given back by then stays. Repeating the call is safe.
#[derive(Debug)]
#[must_use = "a release does nothing until it is awaited"]
pub struct ReleaseEach<'a> {
    places: Vec<(&'a dyn MutexBackend, MutexId)>,
    owner: Option<MutexOwner>,
}

impl<'a> ReleaseEach<'a> {
    pub(super) fn new(places: Vec<(&'a dyn MutexBackend, MutexId)>) -> Self {
        Self {
            places,
            owner: None,
        }
    }

    /// Of this owner. Default: [`current_owner`](crate::current_owner()).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.owner = Some(owner);
        self
    }

    async fn run(self) -> Result<Vec<ReleasedEach>> {
        let owner = self.owner.unwrap_or_else(current_owner);
        let request = |id| ReleaseRequest {
            id,
            owner: owner.clone(),
            token: None,
        };
        let mut outcomes = Vec::with_capacity(self.places.len());
        let places = self.places.into_iter();
        let requests = places.map(|(backend, id)| (backend, request(id)));
        for (backend, requests) in batches(requests.collect()) {
            outcomes.extend(backend.release_each(&requests).await?);
        }
        Ok(outcomes)
    }
}

/// The requests in their order, cut where the backend changes or a call would become too large.
fn batches<R>(requests: Vec<(&dyn MutexBackend, R)>) -> Vec<(&dyn MutexBackend, Vec<R>)> {
    let mut batches: Vec<(&dyn MutexBackend, Vec<R>)> = Vec::new();
    for (backend, request) in requests {
        match batches.last_mut() {
            Some((last, batch)) if std::ptr::addr_eq(*last, backend) && batch.len() < BATCH => {
                batch.push(request);
            }
            _ => batches.push((backend, vec![request])),
        }
    }
    batches
}

impl<'a> IntoFuture for CaptureEach<'a> {
    type Output = Result<Vec<Result<Captured>>>;
    type IntoFuture = BackendFuture<'a, Vec<Result<Captured, Error>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<'a> IntoFuture for ReleaseEach<'a> {
    type Output = Result<Vec<ReleasedEach>>;
    type IntoFuture = BackendFuture<'a, Vec<ReleasedEach>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
