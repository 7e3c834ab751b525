//! The seam between the verbs and where mutexes are kept.

use std::{fmt, future::Future, pin::Pin};

use chrono::{DateTime, Utc};

use crate::domain::{
    AutoRelease, Captured, FencingToken, ForceReleased, Mutex, MutexId, MutexOwner, MutexQuery,
    MutexState, Page, Released, Result,
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
}

/// An answer with the time of the backend's clock at which it was true.
#[derive(Clone, Debug)]
pub struct Observed<T> {
    /// The answer.
    pub value: T,
    /// The time.
    pub at: DateTime<Utc>,
}

/// What a capture asks for.
#[derive(Clone, Debug)]
pub struct CaptureRequest {
    /// Which mutex.
    pub id: MutexId,
    /// For whom.
    pub owner: MutexOwner,
    /// Under which rule; `None`: a new hold gets the default, a refresh keeps what it has.
    pub auto_release: Option<AutoRelease>,
    /// Free text; `None` or empty leaves what a hold that is refreshed has.
    pub status_data: Option<String>,
}

/// What a refresh asks for.
#[derive(Clone, Debug)]
pub struct RefreshRequest {
    /// Which mutex.
    pub id: MutexId,
    /// Whose.
    pub owner: MutexOwner,
    /// Only the hold with this token.
    pub token: Option<FencingToken>,
    /// Free text; `None` or empty leaves what the hold has.
    pub status_data: Option<String>,
}

/// What a release asks for.
#[derive(Clone, Debug)]
pub struct ReleaseRequest {
    /// Which mutex.
    pub id: MutexId,
    /// Whose.
    pub owner: MutexOwner,
    /// Only the hold with this token.
    pub token: Option<FencingToken>,
}

/// What a request for the state asks.
#[derive(Clone, Debug)]
pub struct StateRequest {
    /// Which mutex.
    pub id: MutexId,
    /// Who asks.
    pub owner: MutexOwner,
}

/// What a forced release asks for.
#[derive(Clone, Debug)]
pub struct ForceReleaseRequest {
    /// Which mutex.
    pub id: MutexId,
    /// Why, for the server's log.
    pub reason: String,
    /// Only the hold with this token.
    pub token: Option<FencingToken>,
}
