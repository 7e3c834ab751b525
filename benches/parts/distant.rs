use pgmutex::{
    BackendFuture, CaptureAllRequest, CaptureRequest, Captured, CapturedAll, FencingToken,
    ForceReleaseRequest, ForceReleased, HoldToKeep, Mutex, MutexBackend, MutexId, MutexOwner,
    MutexQuery, MutexState, NotKept, Observed, Page, RefreshRequest, ReleaseRequest, Released,
    ReleasedEach, SessionBackend, StateRequest, Ticket, Waiter, WaiterQuery, chrono,
};
use tokio::task::yield_now;

/// Decides in the process, but answers later: as of a database, others come while one is asked. It can be
/// asked for many callers at once.
#[derive(Clone, Debug)]
pub(crate) struct Distant(SessionBackend);

impl Distant {
    pub(crate) fn new() -> Self {
        Self(SessionBackend::new())
    }
}

impl MutexBackend for Distant {
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured> {
        Box::pin(async move {
            yield_now().await;
            self.0.capture(request).await
        })
    }

    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released> {
        Box::pin(async move {
            yield_now().await;
            self.0.release(request).await
        })
    }

    fn capture_all<'a>(&'a self, request: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll> {
        Box::pin(async move {
            yield_now().await;
            self.0.capture_all(request).await
        })
    }

    fn capture_together<'a>(
        &'a self,
        requests: &'a [CaptureAllRequest],
    ) -> BackendFuture<'a, Vec<Option<pgmutex::Result<CapturedAll>>>> {
        Box::pin(async move {
            yield_now().await;
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                answers.push(Some(self.0.capture_all(request).await));
            }
            Ok(answers)
        })
    }

    fn release_together<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<Option<pgmutex::Result<Released>>>> {
        Box::pin(async move {
            yield_now().await;
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                answers.push(Some(self.0.release(request).await));
            }
            Ok(answers)
        })
    }

    // The others are not measured.

    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex> {
        self.0.refresh(request)
    }

    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>> {
        self.0.request(request)
    }

    fn holder_in_the_way<'a>(
        &'a self,
        request: &'a CaptureRequest,
    ) -> BackendFuture<'a, Observed<Option<Mutex>>> {
        self.0.holder_in_the_way(request)
    }

    fn waiters<'a>(&'a self, query: &'a WaiterQuery) -> BackendFuture<'a, Vec<Waiter>> {
        self.0.waiters(query)
    }

    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page> {
        self.0.list(query)
    }

    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64> {
        self.0.count(query)
    }

    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool> {
        self.0.evict(id, token)
    }

    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased> {
        self.0.force_release(request)
    }

    fn sweep(&self) -> BackendFuture<'_, u64> {
        self.0.sweep()
    }

    fn now(&self) -> BackendFuture<'_, chrono::DateTime<chrono::Utc>> {
        self.0.now()
    }

    fn turn<'a>(&'a self, ticket: &'a Ticket) -> BackendFuture<'a, ()> {
        self.0.turn(ticket)
    }

    fn leave_line<'a>(&'a self, id: &'a MutexId, owner: &'a MutexOwner) -> BackendFuture<'a, ()> {
        self.0.leave_line(id, owner)
    }

    fn capture_each<'a>(
        &'a self,
        requests: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<pgmutex::Result<Captured>>> {
        self.0.capture_each(requests)
    }

    fn release_each<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.0.release_each(requests)
    }

    fn release_owner<'a>(&'a self, owner: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.0.release_owner(owner)
    }

    fn keep<'a>(&'a self, holds: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>> {
        self.0.keep(holds)
    }
}
