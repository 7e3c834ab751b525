use std::sync::Arc;

use tokio::sync::watch;

/// Work that goes on when the request it came from is gone, and that a server waits for before it
/// stops.
#[derive(Clone, Debug, Default)]
pub(super) struct Errands(Arc<watch::Sender<usize>>);

/// Counts as long as it is there.
struct Errand(Arc<watch::Sender<usize>>);

impl Drop for Errand {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Errands {
    /// Has work done, on this runtime.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.send_modify(|count| *count += 1);
        let errand = Errand(Arc::clone(&self.0));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::warn!("the runtime is gone, and what was left to do is not done");
            return;
        };
        drop(runtime.spawn(async move {
            work.await;
            drop(errand);
        }));
    }

    /// Returns when nothing is left to do.
    pub(super) async fn done(&self) {
        let mut count = self.0.subscribe();
        // The sender is here: there is no error.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}
