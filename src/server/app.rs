use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::{
    errands::Errands, foreign_page::OwnAddresses, page::Viewers, settings::Limits,
    token_list::TokenList,
};
use crate::{
    mutexes::Mutexes,
    server::problem::{Problem, STOPPING},
};

/// What the handlers share.
#[derive(Debug)]
pub(super) struct App {
    pub(super) mutexes: Mutexes,
    /// Who may use it; `None`: everyone may do everything.
    pub(super) tokens: Option<TokenList>,
    pub(super) own: OwnAddresses,
    pub(super) limits: Limits,
    /// The tree that Locker's calls are about.
    pub(super) tree: String,
    pub(super) at_work: Arc<Semaphore>,
    pub(super) waiting: Arc<Semaphore>,
    pub(super) errands: Errands,
    pub(super) viewers: Viewers,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
}

pub(super) type SharedApp = Arc<App>;

impl App {
    /// Returns when the server is to stop; never, if nobody can tell any more.
    pub(super) async fn stopping(&self) {
        let mut stopping = self.stopping.clone();
        if stopping.wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs something that may take long, until the server is to stop.
    pub(super) async fn unless_stopping<T>(
        &self,
        long: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        tokio::select! {
            done = long => Ok(done),
            () = self.stopping() => {
                Err(Problem::new(STOPPING, "ask again, of another server or in a moment").retry_after(1))
            }
        }
    }
}
