//! How the pools of sessions stand, as the page shows it.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::picture::Rows;
use crate::{
    domain::{PoolStatistics, Result},
    mutexes::Mutexes,
    pool::SessionPool,
    server::v1::pools::look::Totals,
};

/// Between two times that the database is asked: it reads every session of every pool then.
const PAUSE: Duration = Duration::from_secs(10);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of the pools. It is asked for beside everything else, which must not wait for it.
#[derive(Debug, Default)]
pub(super) struct Pools {
    rows: Rows,
    asking: Option<JoinHandle<Option<Rows>>>,
    answered: Option<Instant>,
}

impl Pools {
    /// As they stood a moment ago; nothing before the first answer.
    pub(super) async fn rows(&mut self, mutexes: &Mutexes, most: u32) -> Rows {
        if let Some(asking) = self.asking.take_if(|asking| asking.is_finished()) {
            // What could not be asked stays as it was.
            if let Ok(Some(rows)) = asking.await {
                self.rows = rows;
            }
            self.answered = Some(Instant::now());
        }
        let is_due = self.answered.is_none_or(|at| at.elapsed() >= PAUSE);
        if is_due && self.asking.is_none() && mutexes.pools().is_ok() {
            self.asking = Some(tokio::spawn(ask(mutexes.clone(), most)));
        }
        self.rows.clone()
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

async fn ask(mutexes: Mutexes, most: u32) -> Option<Rows> {
    let every_pool: SessionPool = SessionPool::new(&mutexes, "");
    let asked = timeout(PATIENCE, every_pool.statistics_of_all()).await;
    let answer: Result<Vec<PoolStatistics>> = asked.ok()?;
    let pools = answer.inspect_err(|error| tracing::debug!(%error, "the pools cannot be shown"));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let rows = pools.ok()?.into_iter().take(most);
    Some(rows.filter_map(row).collect())
}

fn row(statistics: PoolStatistics) -> Option<(String, String)> {
    let key = statistics.collection.clone();
    let row = serde_json::to_string(&Totals::from(statistics)).ok()?;
    Some((key, row))
}
