//! Time that passes without anybody waiting for it.

use crate::support::Database;

/// For all that is held.
pub(crate) async fn an_hour_passes(database: &Database) {
    let passes =
        "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'";
    database.client().await.batch_execute(passes).await.unwrap();
}
