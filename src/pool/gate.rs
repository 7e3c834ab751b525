use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::{
    backend::{
        Attachment, BackendFuture, CaptureAllRequest, CaptureRequest, CapturedAll, CheckoutRequest,
        ForceReleaseRequest, HoldToKeep, MutexBackend, NotKept, Observed, RefreshRequest,
        ReleaseRequest, ReleasedEach, SessionStore, StateRequest, Ticket,
    },
    domain::{
        Captured, Error, FencingToken, ForceReleased, Mutex, MutexId, MutexOwner, MutexQuery,
        MutexState, Page, PooledSession, Released, Result, SessionFilter, Waiter, WaiterQuery,
    },
    random,
};

/// The group of the mutexes that are sessions; the mode is the pool, the id the session's number.
pub(super) const GROUP: &str = "pgmutex.pool";

/// What a checkout takes from the pool.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) collection: String,
    pub(super) count_use: u64,
    /// In seconds.
    pub(super) next_use_delay: f64,
    pub(super) filter: SessionFilter,
}

/// The way into a pool for one checkout, as the guards see it: a backend on which capturing the
/// pool's gate gives a lease of one of its sessions. Everything else is as it is.
#[derive(Debug)]
pub(super) struct Gate {
    id: MutexId,
    terms: Terms,
    store: Arc<dyn SessionStore>,
    mutexes: Arc<dyn MutexBackend>,
    taken: StdMutex<Option<PooledSession>>,
}

impl Gate {
    pub(super) fn new(
        terms: Terms,
        store: Arc<dyn SessionStore>,
        mutexes: Arc<dyn MutexBackend>,
    ) -> Result<Self> {
        // A name that no session has, and no other checkout.
        let number = u64::from_ne_bytes(random::bytes());
        let id = MutexId::new(GROUP, terms.collection.as_str(), format!("gate {number}"))?;
        Ok(Self {
            id,
            terms,
            store,
            mutexes,
            taken: StdMutex::default(),
        })
    }

    pub(super) fn id(&self) -> &MutexId {
        &self.id
    }

    /// The session of the last lease.
    pub(super) fn session(&self) -> Option<PooledSession> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.take()
    }

    pub(super) async fn check_out(&self, request: &CaptureAllRequest) -> Result<CapturedAll> {
        let Some(lease) = request.captures.first() else {
            return Ok(CapturedAll::Captured(Vec::new()));
        };
        let terms = self.terms.clone();
        let checkout = CheckoutRequest {
            collection: terms.collection,
            lease: lease.clone(),
            count_use: terms.count_use,
            next_use_delay: terms.next_use_delay,
            filter: terms.filter,
            wait: request.wait,
            while_holding: request.while_holding.clone(),
        };
        match self.store.checkout(&checkout).await? {
            Some((answer, session)) => {
                *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = session;
                Ok(answer)
            }
            None => Err(Error::NoneAvailable {
                collection: self.terms.collection.clone(),
                waited: std::time::Duration::ZERO,
            }),
        }
    }
}

impl MutexBackend for Gate {
    fn capture_all<'a>(&'a self, request: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll> {
        Box::pin(self.check_out(request))
    }

    /// Of the gate: the owner of a checkout owns nothing else, so whatever it holds or waits for goes.
    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released> {
        if request.id != self.id {
            return self.mutexes.release(request);
        }
        Box::pin(async move {
            let released = self.mutexes.release_owner(&request.owner).await?;
            match released.into_iter().next() {
                Some(ReleasedEach::Done(released)) => Ok(released),
                Some(ReleasedEach::Busy(holder)) => Err(Error::Busy {
                    id: holder.id.clone(),
                    observed_at: holder.captured_since,
                    holder,
                }),
                None => Ok(Released::NotHeld),
            }
        })
    }

    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured> {
        self.mutexes.capture(request)
    }

    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex> {
        self.mutexes.refresh(request)
    }

    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>> {
        self.mutexes.request(request)
    }

    fn holder_in_the_way<'a>(
        &'a self,
        request: &'a CaptureRequest,
    ) -> BackendFuture<'a, Observed<Option<Mutex>>> {
        self.mutexes.holder_in_the_way(request)
    }

    fn waiters<'a>(&'a self, query: &'a WaiterQuery) -> BackendFuture<'a, Vec<Waiter>> {
        self.mutexes.waiters(query)
    }

    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page> {
        self.mutexes.list(query)
    }

    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64> {
        self.mutexes.count(query)
    }

    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool> {
        self.mutexes.evict(id, token)
    }

    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased> {
        self.mutexes.force_release(request)
    }

    fn sweep(&self) -> BackendFuture<'_, u64> {
        self.mutexes.sweep()
    }

    fn now(&self) -> BackendFuture<'_, DateTime<Utc>> {
        self.mutexes.now()
    }

    fn turn<'a>(&'a self, ticket: &'a Ticket) -> BackendFuture<'a, ()> {
        self.mutexes.turn(ticket)
    }

    /// Of the gate: that of whichever filter the owner waits with.
    fn leave_line<'a>(&'a self, id: &'a MutexId, owner: &'a MutexOwner) -> BackendFuture<'a, ()> {
        if *id != self.id {
            return self.mutexes.leave_line(id, owner);
        }
        Box::pin(async move {
            let query = WaiterQuery::all().group(GROUP);
            let query = query.mode(self.terms.collection.as_str());
            let query = query.session_id(owner.session_id());
            for waiter in self.mutexes.waiters(&query).await? {
                self.mutexes.leave_line(&waiter.id, owner).await?;
            }
            Ok(())
        })
    }

    fn capture_each<'a>(
        &'a self,
        requests: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<Result<Captured>>> {
        self.mutexes.capture_each(requests)
    }

    fn release_each<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.mutexes.release_each(requests)
    }

    fn release_owner<'a>(&'a self, owner: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.mutexes.release_owner(owner)
    }

    fn keep<'a>(&'a self, holds: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>> {
        self.mutexes.keep(holds)
    }

    fn attach(&self) -> BackendFuture<'_, Attachment> {
        self.mutexes.attach()
    }
}
