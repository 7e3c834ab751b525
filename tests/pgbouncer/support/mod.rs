//! What `tests/it/support` is for the other tests: here the library reaches its databases through a
//! pooler.

mod database;
#[path = "../../it/support/disposable.rs"]
mod disposable;
mod pooler;

pub(crate) use database::{Database, POOL_SIZE, USER_AT_REPEATABLE_READ};

use pgmutex::{MutexId, MutexOwner};

/// A mutex of the tests'.
pub(crate) fn mutex_id(id: &str) -> MutexId {
    MutexId::new("tests", "step", id).unwrap()
}

/// An owner known by this session id.
pub(crate) fn owner(session_id: &str) -> MutexOwner {
    MutexOwner::new(session_id).unwrap()
}
