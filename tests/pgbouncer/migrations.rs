//! Many replicas start at once, behind one pooler.

use pgmutex::embedded_migrations;

use crate::support::Database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_that_migrate_at_once_one_applies_everything_and_all_succeed() {
    let database = Database::empty().await;
    // Whoever migrates keeps a server connection while it waits for its turn, and a newcomer from
    // getting one.
    let mut replicas = Vec::new();
    for _ in 0..16 {
        replicas.push(database.mutexes().await);
    }
    let mut runs = tokio::task::JoinSet::new();
    for mutexes in replicas {
        runs.spawn(async move { mutexes.migrate().await });
    }
    let reports: Vec<_> = runs
        .join_all()
        .await
        .into_iter()
        .map(|report| report.unwrap().applied)
        .filter(|applied| !applied.is_empty())
        .collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(
        reports[0].len(),
        embedded_migrations().get_migrations().len()
    );
    let status = database.mutexes().await.schema_status().await.unwrap();
    assert!(status.unwrap().pending.is_empty());
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}
