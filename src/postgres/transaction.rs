use std::fmt;

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;

use super::{Repository, operation::*};
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

/// Mutexes as seen from inside a caller's transaction: what is captured and released here commits
/// or rolls back with the caller's own data.
///
/// Nothing is repeated, and an error of the database ends the transaction, as any error does in
/// PostgreSQL ([`Error::Busy`](crate::Error::Busy) and [`Error::Lost`](crate::Error::Lost) are
/// answers, not errors of the database). Until the transaction ends, everyone else's calls about
/// the same mutex wait, for at most 5 seconds: keep it short.
pub struct TransactionBackend<'a> {
    repository: Repository,
    transaction: &'a Transaction<'a>,
}

impl<'a> TransactionBackend<'a> {
    /// Mutexes within this transaction.
    pub fn new(repository: Repository, transaction: &'a Transaction<'a>) -> Self {
        Self {
            repository,
            transaction,
        }
    }

    /// Makes this transaction fail unless the hold with this token is still there, and keeps
    /// everyone from capturing the mutex until the transaction ends.
    ///
    /// # Errors
    /// [`Error::Lost`](crate::Error::Lost): the transaction has failed; roll it back.
    pub async fn fence(&self, id: &MutexId, token: FencingToken) -> Result<()> {
        self.repository.fence(self.transaction, id, token).await
    }

    fn call<'s, O: Operation + 's>(&'s self, operation: O) -> BackendFuture<'s, O::Output> {
        Box::pin(async move {
            operation
                .run(&self.repository, self.transaction, true)
                .await
        })
    }
}

impl fmt::Debug for TransactionBackend<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionBackend")
            .field("schema", self.repository.schema())
            .finish_non_exhaustive()
    }
}

impl MutexBackend for TransactionBackend<'_> {
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured> {
        self.call(Capture(request))
    }

    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex> {
        self.call(Refresh(request))
    }

    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released> {
        self.call(Release(request))
    }

    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>> {
        self.call(Request(request))
    }

    fn holder_in_the_way<'a>(
        &'a self,
        request: &'a CaptureRequest,
    ) -> BackendFuture<'a, Observed<Option<Mutex>>> {
        self.call(HolderInTheWay(request))
    }

    fn waiters<'a>(&'a self, query: &'a WaiterQuery) -> BackendFuture<'a, Vec<Waiter>> {
        self.call(ListWaiting(query))
    }

    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page> {
        self.call(List(query))
    }

    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64> {
        self.call(Count(query))
    }

    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool> {
        self.call(Evict(id, token))
    }

    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased> {
        self.call(ForceRelease(request))
    }

    /// One batch only: every swept mutex stays locked until the transaction ends.
    fn sweep(&self) -> BackendFuture<'_, u64> {
        self.call(Sweep)
    }

    fn now(&self) -> BackendFuture<'_, DateTime<Utc>> {
        self.call(Now)
    }

    /// A transaction does not wait in line: nobody would see its ticket before the commit.
    fn capture_all<'a>(&'a self, request: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll> {
        if request.wait {
            return Box::pin(async { Err(no_waiting()) });
        }
        self.call(CaptureAll {
            request,
            listener: None,
        })
    }

    fn turn<'a>(&'a self, _: &'a Ticket) -> BackendFuture<'a, ()> {
        Box::pin(async { Err(no_waiting()) })
    }

    fn leave_line<'a>(&'a self, id: &'a MutexId, owner: &'a MutexOwner) -> BackendFuture<'a, ()> {
        let left = self.call(LeaveLine { id, owner });
        Box::pin(async { left.await.map(drop) })
    }

    fn capture_each<'a>(
        &'a self,
        requests: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<Result<Captured>>> {
        self.call(CaptureEach { requests })
    }

    fn release_each<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.call(ReleaseEach { requests })
    }

    fn release_owner<'a>(&'a self, owner: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>> {
        self.call(ReleaseOwner { owner })
    }

    fn keep<'a>(&'a self, holds: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>> {
        self.call(Keep { holds })
    }
}

fn no_waiting() -> Error {
    Error::InvalidInput {
        field: "wait",
        reason: "is not possible inside a transaction: nobody would see the place in line before its commit".to_owned(),
    }
}
