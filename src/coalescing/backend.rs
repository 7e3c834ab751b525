use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::lane::{Lane, Limits};
use crate::{
    backend::{
        Attachment, BackendFuture, CaptureAllRequest, CaptureRequest, CapturedAll,
        ForceReleaseRequest, HoldToKeep, MutexBackend, NotKept, Observed, RefreshRequest,
        ReleaseRequest, ReleasedEach, StateRequest, Ticket,
    },
    domain::{
        Captured, Error, FencingToken, ForceReleased, Mutex, MutexId, MutexOwner, MutexQuery,
        MutexState, Page, Reach, Released, Result, Waiter, WaiterQuery, is_path,
    },
};

const LIMITS: Limits = Limits {
    flights: 2,
    most: 128,
    patience: Duration::from_millis(20),
    at_most: 8,
};

/// Lets concurrent captures, refreshes and releases of a process travel together to another backend.
///
/// [`Mutexes`](crate::Mutexes) put it around their [`PostgresBackend`](crate::PostgresBackend) unless
/// [told not to](crate::MutexesBuilder::coalescing); it is here for those who put a backend together
/// by hand. Clones of one share what they have under way.
///
/// Each of the three verbs has a lane of its own on each tokio runtime. A call that finds fewer than
/// two of its lane under way goes at once, as it would without this. Those that come while two are
/// under way queue, and go together in one
/// [`capture_together`](MutexBackend::capture_together),
/// [`refresh_together`](MutexBackend::refresh_together) or
/// [`release_together`](MutexBackend::release_together) as soon as one of them is back, in the order
/// in which they came; after 20 ms they go without waiting any longer, while fewer than eight are
/// under way. One that is still in the queue after 5 seconds goes alone. Captures of several
/// mutexes, and all that concerns paths of trees, go alone.
///
/// Each call has its own answer: what is wrong with one of them is not the others' answer. Those that
/// the backend leaves out, because they would hold up the others, go on their own when the others are
/// back, and so do all if they cannot be decided about together: until then they have no place in the
/// line of their mutex, and one that comes meanwhile may get there first. Only that the backend cannot
/// be reached is the answer to all that travel together. If the outcome is not known, each one asks
/// once more on its own, which may take as long again; it is told
/// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if that does not settle it.
///
/// Cancel safety: a call whose future is dropped in the queue is never made. One that travels
/// with others goes on without the one who asked, for as long as one of them waits: it may be carried
/// out then, also after some time, if there is no connection at the moment. When nobody waits any
/// more, it is dropped as a lone one is, as soon as its runtime is driven again.
#[derive(Clone, Debug)]
pub struct Coalescing {
    around: Arc<dyn MutexBackend>,
    lanes: Arc<Lanes>,
}

#[derive(Debug)]
struct Lanes {
    capture: Lane<CaptureAllRequest, CapturedAll>,
    refresh: Lane<RefreshRequest, Mutex>,
    release: Lane<ReleaseRequest, Released>,
}

impl Coalescing {
    /// Around this backend.
    pub fn new(backend: impl MutexBackend + 'static) -> Self {
        Self::within(Arc::new(backend), LIMITS)
    }

    pub(super) fn within(around: Arc<dyn MutexBackend>, limits: Limits) -> Self {
        let [to_capture, to_refresh, to_release] = std::array::from_fn(|_| Arc::clone(&around));
        let lanes = Lanes {
            capture: Lane::new("capture", limits, move |requests| {
                let backend = Arc::clone(&to_capture);
                Box::pin(async move { backend.capture_together(&requests).await })
            }),
            refresh: Lane::new("refresh", limits, move |requests| {
                let backend = Arc::clone(&to_refresh);
                Box::pin(async move { backend.refresh_together(&requests).await })
            }),
            release: Lane::new("release", limits, move |requests| {
                let backend = Arc::clone(&to_release);
                Box::pin(async move { backend.release_together(&requests).await })
            }),
        };
        Self {
            around,
            lanes: Arc::new(lanes),
        }
    }
}

/// The hold of a capture that was asked for as all of one.
fn only(captured: CapturedAll) -> Result<Captured> {
    let senseless = |reason: &str| Error::Protocol {
        operation: "capture",
        reason: reason.to_owned(),
    };
    match captured {
        CapturedAll::Captured(holds) => holds
            .into_iter()
            .next()
            .ok_or_else(|| senseless("no hold for one mutex")),
        CapturedAll::Queued(_) => Err(senseless("a place in line, which was not asked for")),
    }
}

/// Whether a decision about it takes more than the lock of one mutex.
fn reaches_further(request: &CaptureRequest) -> bool {
    is_path(request.id.id()) || request.reach != Reach::none()
}

impl MutexBackend for Coalescing {
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured> {
        if reaches_further(request) {
            return self.around.capture(request);
        }
        Box::pin(async move {
            let as_all_of_one = || CaptureAllRequest {
                captures: vec![request.clone()],
                wait: false,
                while_holding: Vec::new(),
            };
            let alone = || self.around.capture(request);
            self.lanes.capture.call(as_all_of_one, alone, only).await
        })
    }

    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex> {
        if is_path(request.id.id()) {
            return self.around.refresh(request);
        }
        let alone = || self.around.refresh(request);
        Box::pin(self.lanes.refresh.call(|| request.clone(), alone, Ok))
    }

    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released> {
        if is_path(request.id.id()) {
            return self.around.release(request);
        }
        let alone = || self.around.release(request);
        Box::pin(self.lanes.release.call(|| request.clone(), alone, Ok))
    }

    fn capture_all<'a>(&'a self, request: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll> {
        match request.captures.as_slice() {
            [only] if !reaches_further(only) => {
                let alone = || self.around.capture_all(request);
                Box::pin(self.lanes.capture.call(|| request.clone(), alone, Ok))
            }
            _ => self.around.capture_all(request),
        }
    }

    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>> {
        self.around.request(request)
    }

    fn holder_in_the_way<'a>(
        &'a self,
        request: &'a CaptureRequest,
    ) -> BackendFuture<'a, Observed<Option<Mutex>>> {
        self.around.holder_in_the_way(request)
    }

    fn waiters<'a>(&'a self, query: &'a WaiterQuery) -> BackendFuture<'a, Vec<Waiter>> {
        self.around.waiters(query)
    }

    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page> {
        self.around.list(query)
    }

    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64> {
        self.around.count(query)
    }

    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool> {
        self.around.evict(id, token)
    }

    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased> {
        self.around.force_release(request)
    }

    fn sweep(&self) -> BackendFuture<'_, u64> {
        self.around.sweep()
    }

    fn now(&self) -> BackendFuture<'_, DateTime<Utc>> {
        self.around.now()
    }

    fn turn<'a>(&'a self, ticket: &'a Ticket) -> BackendFuture<'a, ()> {
        self.around.turn(ticket)
    }

    fn leave_line<'a>(&'a self, id: &'a MutexId, owner: &'a MutexOwner) -> BackendFuture<'a, ()> {
        self.around.leave_line(id, owner)
    }

    fn capture_each<'a>(
        &'a self,
        requests: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<Result<Captured>>> {
        self.around.capture_each(requests)
    }

    fn release_each<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.around.release_each(requests)
    }

    fn capture_together<'a>(
        &'a self,
        requests: &'a [CaptureAllRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<CapturedAll>>>> {
        self.around.capture_together(requests)
    }

    fn refresh_together<'a>(
        &'a self,
        requests: &'a [RefreshRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<Mutex>>>> {
        self.around.refresh_together(requests)
    }

    fn release_together<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<Released>>>> {
        self.around.release_together(requests)
    }

    fn release_owner<'a>(&'a self, owner: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.around.release_owner(owner)
    }

    fn keep<'a>(&'a self, holds: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>> {
        self.around.keep(holds)
    }

    fn attach(&self) -> BackendFuture<'_, Attachment> {
        self.around.attach()
    }

    fn anchored(&self) -> Option<Arc<dyn MutexBackend>> {
        self.around.anchored()
    }
}
