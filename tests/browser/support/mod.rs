//! What the tests share: servers that can be stopped and started again, and a browser.

mod browser;
mod serving;

pub(crate) use browser::{Browser, Look};
pub(crate) use serving::Serving;

use pgmutex::{MutexId, MutexOwner};

/// A mutex of the tests'.
pub(crate) fn mutex_id(id: &str) -> MutexId {
    MutexId::new("orders", "edit", id).unwrap()
}

/// An owner with this name.
pub(crate) fn owner(name: &str) -> MutexOwner {
    let owner = MutexOwner::new(format!("session-of-{name}")).unwrap();
    owner.with_name(name).unwrap()
}
