//! What the tests share: databases, sessions that take steps, and a proxy that misbehaves.

mod database;
mod listener;
mod proxy;
mod schema_dump;
mod session;

pub(crate) use database::{Database, run_in_private_server, session_at};
pub(crate) use listener::Listener;
pub(crate) use proxy::{Cut, Proxy};
pub(crate) use schema_dump::schema_dump;
pub(crate) use session::Session;

use pgmutex::{MutexId, MutexOwner};

/// A mutex of the tests'.
pub(crate) fn mutex_id(id: &str) -> MutexId {
    MutexId::new("tests", "step", id).unwrap()
}

/// An owner known by this session id.
pub(crate) fn owner(session_id: &str) -> MutexOwner {
    MutexOwner::new(session_id).unwrap()
}
