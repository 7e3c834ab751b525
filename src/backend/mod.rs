//! The seam between the verbs and where mutexes are kept.

mod attachment;
mod pool;
mod request;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use chrono::{DateTime, Utc};

pub use attachment::{Attachment, TrustWindow};
pub(crate) use pool::{
    CheckedOut, CheckoutRequest, PoolAnswer, PoolCall, PoolRequest, SessionStore,
};
pub use request::{
    CaptureAllRequest, CaptureRequest, CapturedAll, ForceReleaseRequest, HoldToKeep, NotKept,
    Observed, RefreshRequest, ReleaseRequest, ReleasedEach, StateRequest, Ticket,
};

use crate::domain::{
    Captured, Error, FencingToken, ForceReleased, Mutex, MutexId, MutexOwner, MutexQuery,
    MutexState, Page, Released, Result, Waiter, WaiterQuery,
};

/// What a backend's methods return: a boxed future, so that backends can be chosen at run time.
pub type BackendFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A place where mutexes are kept.
///
/// [`PostgresBackend`](crate::PostgresBackend) keeps them in PostgreSQL,
/// [`SessionBackend`](crate::SessionBackend) in the process. All backends answer alike; one suite
/// of tests runs against each.
///
/// An application can wrap one of them, or keep mutexes in a place of its own.
///
/// Requests are checked before they come here; a backend may be handed only names, owners and rules
/// that are valid.
///
/// Beside the errors that a method names, each may answer with those of the place itself:
/// [`Error::Unavailable`](crate::Error::Unavailable) if nothing was changed,
/// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if that is not known, and so on. A call
/// whose future is dropped may still be carried out.
pub trait MutexBackend: fmt::Debug + Send + Sync {
    /// Captures a mutex, or refreshes the owner's hold of it.
    ///
    /// # Errors
    /// [`Error::Busy`](crate::Error::Busy) if another holds it.
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured>;

    /// Makes the time of a hold start again.
    ///
    /// # Errors
    /// [`Error::Lost`](crate::Error::Lost) if there is no such hold,
    /// [`Error::Busy`](crate::Error::Busy) if another has the mutex by now.
    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex>;

    /// Gives a mutex back.
    ///
    /// # Errors
    /// [`Error::Busy`](crate::Error::Busy) if another holds it.
    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released>;

    /// Says how a mutex stands towards an owner.
    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>>;

    /// The hold that a capture would be refused for, as things look now, or `None`. With token 0 it
    /// is one who waits and came before. Nothing is changed.
    fn holder_in_the_way<'a>(
        &'a self,
        request: &'a CaptureRequest,
    ) -> BackendFuture<'a, Observed<Option<Mutex>>>;

    /// Lists those who wait, ordered by mutex and place.
    fn waiters<'a>(&'a self, query: &'a WaiterQuery) -> BackendFuture<'a, Vec<Waiter>>;

    /// Lists holds.
    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page>;

    /// Counts the holds that fit a query's filters; its page does not matter.
    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64>;

    /// Removes exactly this hold, which a custom rule has ended, and says whether it did: not if
    /// the hold is gone, if a write behind its fence is under way, or if its rule is built in.
    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool>;

    /// Takes a mutex away from whoever holds it.
    ///
    /// # Errors
    /// [`Error::Busy`](crate::Error::Busy) while the holder writes behind its fence.
    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased>;

    /// Removes the holds whose rule of time has ended them, and says how many.
    fn sweep(&self) -> BackendFuture<'_, u64>;

    /// The time of the backend's clock: the one that decides when a hold is over.
    fn now(&self) -> BackendFuture<'_, DateTime<Utc>>;

    /// Captures all of several mutexes, or none; and if it is wanted, joins the line of those that
    /// are not free. Asking again with the same owner keeps the place in line and, once the turn
    /// has come, captures.
    ///
    /// # Errors
    /// [`Error::Busy`] if one of them is busy and no place in line is wanted;
    /// [`Error::WaitCircle`] if waiting could never end.
    fn capture_all<'a>(&'a self, request: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll>;

    /// Returns when it is worth asking again with this ticket: when its turn may have come, and
    /// now and then without a reason.
    fn turn<'a>(&'a self, ticket: &'a Ticket) -> BackendFuture<'a, ()>;

    /// Gives up an owner's place in the line of a mutex. A hold stays.
    fn leave_line<'a>(&'a self, id: &'a MutexId, owner: &'a MutexOwner) -> BackendFuture<'a, ()>;

    /// Captures many mutexes, each for itself. The answers are in the order of the requests; only
    /// [`Error::Busy`] is an answer of its own, other errors are the answer to all.
    fn capture_each<'a>(
        &'a self,
        requests: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<Result<Captured>>>;

    /// Gives many mutexes back, each for itself. The answers are in the order of the requests.
    fn release_each<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<ReleasedEach>>;

    /// Decides about requests of many callers at once, each for itself: as
    /// [`capture_all`](Self::capture_all) would about each, in their order. Every request is for one
    /// mutex. `None` is no answer: this one is to be asked for on its own. Whoever calls this must do
    /// so then, so a backend may leave out whatever would hold up the others, or all. If the outcome is
    /// unknown, each is to be asked for on its own, too.
    fn capture_together<'a>(
        &'a self,
        requests: &'a [CaptureAllRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<CapturedAll>>>> {
        Box::pin(async { Ok(requests.iter().map(|_| None).collect()) })
    }

    /// Does as [`refresh`](Self::refresh) for many callers at once; `None` as in
    /// [`capture_together`](Self::capture_together).
    fn refresh_together<'a>(
        &'a self,
        requests: &'a [RefreshRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<Mutex>>>> {
        Box::pin(async { Ok(requests.iter().map(|_| None).collect()) })
    }

    /// Does as [`release`](Self::release) for many callers at once; `None` as in
    /// [`capture_together`](Self::capture_together).
    fn release_together<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<Released>>>> {
        Box::pin(async { Ok(requests.iter().map(|_| None).collect()) })
    }

    /// Releases everything that an owner holds, and gives up every place it has in a line. A hold
    /// that a fenced write keeps is answered as busy.
    fn release_owner<'a>(&'a self, owner: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>>;

    /// Makes the time of many holds start again, and says which it could not.
    fn keep<'a>(&'a self, holds: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>>;

    /// A database session for holds to be attached to.
    ///
    /// # Errors
    /// [`Error::NoSession`] if there can be none.
    fn attach(&self) -> BackendFuture<'_, Attachment> {
        Box::pin(async {
            Err(Error::NoSession {
                reason: "these mutexes are not kept in PostgreSQL".to_owned(),
            })
        })
    }

    /// For a backend whose mutexes depend on where it is called: one that has the mutexes of here
    /// and can be called from anywhere.
    fn anchored(&self) -> Option<Arc<dyn MutexBackend>> {
        None
    }
}
