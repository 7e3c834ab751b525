use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::{capturing::InTheWay, line::Prospect, store::Store};
use crate::{
    backend::{
        BackendFuture, CaptureAllRequest, CaptureRequest, CapturedAll, ForceReleaseRequest,
        HoldToKeep, MutexBackend, NotKept, Observed, RefreshRequest, ReleaseRequest, ReleasedEach,
        StateRequest, Ticket,
    },
    domain::{
        Captured, Error, FencingToken, ForceReleased, Mutex, MutexId, MutexOwner, MutexQuery,
        MutexState, Page, Released, Result, Waiter, WaiterQuery,
    },
};

type Shared = Arc<StdMutex<Store>>;
type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

tokio::task_local! {
    static REQUEST: Shared;
}

/// Keeps mutexes in the process: nobody outside sees them, and they end with it.
///
/// [`per_request`](Self::per_request) keeps them for the request that is being served, so that the
/// parts of a program that work on one request exclude each other; [`new`](Self::new) keeps them
/// for as long as the backend lives, which suits unit tests. All verbs answer as PostgreSQL's
/// would, but there is no database session that a hold could be attached to.
///
/// Whoever waits is woken by whoever makes way; one that is given up must leave the line
/// ([`leave_line`](MutexBackend::leave_line), or a release without a token).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), pgmutex::Error> {
/// use pgmutex::{MutexId, MutexOwner, Mutexes, SessionBackend};
///
/// let mutexes = Mutexes::builder().backend(SessionBackend::new());
/// let id = MutexId::new("", "report", "7")?;
/// mutexes.capture(&id).owner(MutexOwner::new("a")?).await?;
/// assert!(mutexes.capture(&id).owner(MutexOwner::new("b")?).await.unwrap_err().is_busy());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionBackend {
    /// `None`: those of the request.
    store: Option<Shared>,
    clock: Clock,
}

impl SessionBackend {
    /// Mutexes that live as long as this backend and its clones.
    pub fn new() -> Self {
        Self {
            store: Some(Shared::default()),
            clock: Arc::new(Utc::now),
        }
    }

    /// Mutexes that live as long as the enclosing [`scope`](Self::scope). Outside of any scope
    /// every verb answers [`Error::OutsideScope`].
    pub fn per_request() -> Self {
        Self {
            store: None,
            clock: Arc::new(Utc::now),
        }
    }

    /// With another clock: what it says is the time that decides when holds are over.
    pub fn with_clock(mut self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Runs a future as one request, with mutexes of its own. They are gone when it ends or is
    /// dropped. Tasks that it spawns are outside.
    pub async fn scope<F: Future>(future: F) -> F::Output {
        REQUEST.scope(Shared::default(), future).await
    }

    /// Runs one decision, alone and at one time.
    fn decide<T>(
        &self,
        decision: impl FnOnce(&mut Store, DateTime<Utc>) -> Result<T>,
    ) -> Result<T> {
        let store = match &self.store {
            Some(store) => Arc::clone(store),
            None => REQUEST
                .try_with(Arc::clone)
                .map_err(|_| Error::OutsideScope)?,
        };
        let mut store: MutexGuard<'_, _> = store.lock().unwrap_or_else(PoisonError::into_inner);
        decision(&mut store, (self.clock)())
    }
}

impl Default for SessionBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SessionBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBackend")
            .field("per_request", &self.store.is_none())
            .finish_non_exhaustive()
    }
}

impl MutexBackend for SessionBackend {
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured> {
        Box::pin(async { self.decide(|store, now| store.capture(request, now)) })
    }

    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex> {
        Box::pin(async { self.decide(|store, now| store.refresh(request, now)) })
    }

    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released> {
        Box::pin(async {
            self.decide(|store, now| {
                let refuse = |other: InTheWay| other.refuse(&request.id, now);
                store.release(request, now).map_err(refuse)
            })
        })
    }

    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>> {
        Box::pin(async {
            self.decide(|store, now| {
                Ok(Observed {
                    value: store.state(request, now),
                    at: now,
                })
            })
        })
    }

    fn holder_in_the_way<'a>(
        &'a self,
        request: &'a CaptureRequest,
    ) -> BackendFuture<'a, Observed<Option<Mutex>>> {
        Box::pin(async {
            self.decide(|store, now| {
                let in_the_way = store.in_the_way(request, now);
                Ok(Observed {
                    value: in_the_way.map(|in_the_way| *in_the_way.holder),
                    at: now,
                })
            })
        })
    }

    fn waiters<'a>(&'a self, query: &'a WaiterQuery) -> BackendFuture<'a, Vec<Waiter>> {
        Box::pin(async { self.decide(|store, now| Ok(store.waiters(query, now))) })
    }

    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page> {
        Box::pin(async { self.decide(|store, now| Ok(Page::new(store.list(query, now), query))) })
    }

    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64> {
        let filters = MutexQuery {
            start: 0,
            page_size: None,
            after: None,
            ..query.clone()
        };
        Box::pin(async move {
            self.decide(|store, now| {
                Ok(u64::try_from(store.list(&filters, now).len()).unwrap_or(u64::MAX))
            })
        })
    }

    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool> {
        Box::pin(async move { self.decide(|store, now| Ok(store.evict(id, token, now))) })
    }

    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased> {
        Box::pin(async { self.decide(|store, now| Ok(store.force_release(request, now))) })
    }

    fn sweep(&self) -> BackendFuture<'_, u64> {
        Box::pin(async { self.decide(|store, now| Ok(store.sweep(now))) })
    }

    fn now(&self) -> BackendFuture<'_, DateTime<Utc>> {
        Box::pin(async { self.decide(|_, now| Ok(now)) })
    }

    fn capture_all<'a>(&'a self, request: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll> {
        Box::pin(async { self.decide(|store, now| store.capture_all(request, now)) })
    }

    fn turn<'a>(&'a self, ticket: &'a Ticket) -> BackendFuture<'a, ()> {
        Box::pin(async {
            let prospect = self.decide(|store, now| Ok(store.prospect(ticket, now)))?;
            if let Prospect::WhenRung { bell, within } = prospect {
                let _ = timeout(within, bell.notified()).await;
            }
            Ok(())
        })
    }

    fn leave_line<'a>(&'a self, id: &'a MutexId, owner: &'a MutexOwner) -> BackendFuture<'a, ()> {
        Box::pin(async {
            self.decide(|store, now| {
                store.leave_line(id, owner, now);
                Ok(())
            })
        })
    }

    fn capture_each<'a>(
        &'a self,
        requests: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<Result<Captured>>> {
        Box::pin(async { self.decide(|store, now| store.capture_each(requests, now)) })
    }

    fn release_each<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<ReleasedEach>> {
        Box::pin(async { self.decide(|store, now| store.release_each(requests, now)) })
    }

    fn release_owner<'a>(&'a self, owner: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>> {
        Box::pin(async { self.decide(|store, now| Ok(store.release_owner(owner, now))) })
    }

    fn keep<'a>(&'a self, holds: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>> {
        Box::pin(async { self.decide(|store, now| Ok(store.keep(holds, now))) })
    }

    fn anchored(&self) -> Option<Arc<dyn MutexBackend>> {
        if self.store.is_some() {
            return None;
        }
        let store = REQUEST.try_with(Arc::clone).ok()?;
        Some(Arc::new(Self {
            store: Some(store),
            clock: Arc::clone(&self.clock),
        }))
    }
}
