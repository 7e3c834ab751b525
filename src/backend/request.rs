//! What is asked of a backend, and what it answers where the domain has no type for it.

use chrono::{DateTime, Utc};

use crate::domain::{
    Access, AutoRelease, Captured, FencingToken, Mutex, MutexId, MutexOwner, Reach, Released,
};

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
    /// Alone, or shared.
    pub access: Access,
    /// For a path of a tree: what is locked beside it. A hold that is refreshed keeps what it has.
    pub reach: Reach,
    /// Under which rule; `None`: a new hold gets the default, a refresh keeps what it has.
    pub auto_release: Option<AutoRelease>,
    /// Free text; `None` or empty leaves what a hold that is refreshed has.
    pub status_data: Option<String>,
}

/// Captures that succeed together or not at all, all for one owner; and whether to wait for them.
#[derive(Clone, Debug)]
pub struct CaptureAllRequest {
    /// The captures, of different mutexes.
    pub captures: Vec<CaptureRequest>,
    /// Whether a place in line is wanted if one of them is busy.
    pub wait: bool,
    /// Holds that the asker keeps until it has been served: who waits for them waits for the asker.
    pub while_holding: Vec<FencingToken>,
}

/// What became of captures that belong together.
#[derive(Clone, Debug)]
pub enum CapturedAll {
    /// All were captured: the holds, in the order of the request.
    Captured(Vec<Captured>),
    /// One of them is busy, and the asker is in line.
    Queued(Ticket),
}

/// A place in line.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Its number: in a line the smallest is served first.
    pub number: i64,
    /// A hold that is in the way; or, with token 0, the waiter whose turn it is.
    pub holder: Box<Mutex>,
    /// The time of the backend's clock.
    pub observed_at: DateTime<Utc>,
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
    /// Only the hold with this token. Without it, the owner's place in line is given up too.
    pub token: Option<FencingToken>,
}

/// One of many releases: given back, or why not.
#[derive(Clone, Debug)]
pub enum ReleasedEach {
    /// As [`Released`] says.
    Done(Released),
    /// Held by another, or kept by a write behind the owner's fence.
    Busy(Box<Mutex>),
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

/// A hold whose time is to start again, together with many others.
#[derive(Clone, Debug)]
pub struct HoldToKeep {
    /// Which mutex.
    pub id: MutexId,
    /// Which hold of it.
    pub token: FencingToken,
}

/// A hold whose time could not be made to start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKept {
    /// Which hold.
    pub token: FencingToken,
    /// Whether it is gone; if not, another transaction has its row at the moment.
    pub is_lost: bool,
}
