//! Guards: waiting in line, keeping alive, knowing of a loss, giving back.

mod cancelling;
mod holding;

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::support::Session;

/// Waits for what must come, and fails if it does not. Not a measure of anything.
pub(crate) async fn must<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("it hangs")
}

/// Returns when this many are in line.
pub(crate) async fn in_line(session: &Session, count: usize) {
    let count = count.to_string();
    let waiting = "select count(*)::text from pgmutex.waiting";
    must(session.ask_until(waiting, |answer| answer == count)).await;
}

/// Returns when there are this many holds.
pub(crate) async fn held(session: &Session, count: usize) {
    let count = count.to_string();
    let held = "select count(*)::text from pgmutex.mutex_model";
    must(session.ask_until(held, |answer| answer == count)).await;
}
