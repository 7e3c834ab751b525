//! Guards: waiting in line, keeping alive, knowing of a loss, giving back.

mod holding;

use std::{future::Future, time::Duration};

use tokio::time::timeout;

/// Waits for what must come, and fails if it does not. Not a measure of anything.
pub(crate) async fn must<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("it hangs")
}
