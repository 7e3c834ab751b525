//! What the tests share: databases, sessions that take steps, and a proxy that misbehaves.

mod database;
mod disposable;
mod listener;
mod proxy;
mod schema_dump;
mod session;
mod travel;

pub(crate) use database::{Database, run_in_private_server, session_at};
pub(crate) use listener::Listener;
pub(crate) use proxy::{Cut, Proxy};
pub(crate) use schema_dump::schema_dump;
pub(crate) use session::Session;
pub(crate) use travel::{Travel, both_ways};

use pgmutex::{MutexId, MutexOwner};

/// A mutex of the tests'.
pub(crate) fn mutex_id(id: &str) -> MutexId {
    MutexId::new("tests", "step", id).unwrap()
}

/// A pool of so many connections. (One that is made smaller while it is empty still opens as many as
/// before.)
pub(crate) fn pool_of(url: &str, connections: usize) -> deadpool_postgres::Pool {
    let manager = deadpool_postgres::Manager::new(url.parse().unwrap(), tokio_postgres::NoTls);
    let pool = deadpool_postgres::Pool::builder(manager).max_size(connections);
    pool.build().unwrap()
}

/// An owner known by this session id.
pub(crate) fn owner(session_id: &str) -> MutexOwner {
    MutexOwner::new(session_id).unwrap()
}
