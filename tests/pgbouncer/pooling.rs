//! That these tests could fail: what a pooler in transaction mode breaks is broken here, and what
//! is left behind is found.

use tokio_postgres::error::SqlState;

use crate::support::Database;

#[tokio::test]
async fn a_named_statement_is_lost_here() {
    let database = Database::fresh().await;
    let (client, other) = (
        database.pooled_client().await,
        database.pooled_client().await,
    );
    let statement = client.prepare("select 1").await.unwrap();
    // Takes the one server connection that there is, the one that has the statement.
    other.batch_execute("begin").await.unwrap();
    let error = client.query(&statement, &[]).await.unwrap_err();
    assert_eq!(
        error.code(),
        Some(&SqlState::INVALID_SQL_STATEMENT_NAME),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_left_behind_is_found() {
    let database = Database::fresh().await;
    let client = database.pooled_client().await;
    client
        .batch_execute(
            "set synchronous_commit = off; set search_path = pgmutex; prepare p as select 1; listen c; \
             select pg_advisory_lock(42); create temporary table t (); \
             declare d cursor with hold for select 1",
        )
        .await
        .unwrap();
    assert_eq!(
        database.left_behind("postgres").await,
        [
            "channel: c",
            "cursor: d",
            "lock: 42",
            "setting: search_path",
            "setting: synchronous_commit",
            "statement: p",
            "table: t",
        ]
    );
}
