//! Mutexes that commit and roll back with the caller's own data.

use pgmutex::MutexState;

use crate::support::{Database, mutex_id, owner};

const JOURNAL: &str = "create table journal (entry text)";

async fn entries(database: &Database) -> i64 {
    let client = database.client().await;
    let row = client.query_one("select count(*) from journal", &[]).await;
    row.unwrap().get(0)
}

#[tokio::test]
async fn a_capture_in_a_transaction_commits_with_the_callers_data() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let mut client = database.pooled_client().await;
    client.batch_execute(JOURNAL).await.unwrap();

    let transaction = client.transaction().await.unwrap();
    let captured = mutexes
        .in_transaction(&transaction)
        .capture(mutex_id("m"))
        .owner(owner("a"))
        .await
        .unwrap();
    transaction
        .batch_execute("insert into journal values ('captured')")
        .await
        .unwrap();
    transaction.commit().await.unwrap();

    let state = mutexes.request_by(&mutex_id("m"), &owner("a")).await;
    assert_eq!(state.unwrap(), MutexState::CapturedByMe(captured.mutex));
    assert_eq!(entries(&database).await, 1);
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

#[tokio::test]
async fn what_a_transaction_captured_and_released_is_as_before_when_it_rolls_back() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let mut client = database.pooled_client().await;
    client.batch_execute(JOURNAL).await.unwrap();
    let held = mutexes.capture(mutex_id("held")).owner(owner("a")).await;

    let transaction = client.transaction().await.unwrap();
    let inside = mutexes.in_transaction(&transaction);
    inside
        .capture(mutex_id("free"))
        .owner(owner("a"))
        .await
        .unwrap();
    let released = inside.release(&mutex_id("held")).owner(owner("a")).await;
    assert!(released.unwrap().is_released());
    transaction
        .batch_execute("insert into journal values ('captured')")
        .await
        .unwrap();
    transaction.rollback().await.unwrap();

    let state = mutexes.request_by(&mutex_id("free"), &owner("b")).await;
    assert_eq!(state.unwrap(), MutexState::Free);
    let state = mutexes.request_by(&mutex_id("held"), &owner("a")).await;
    assert_eq!(
        state.unwrap(),
        MutexState::CapturedByMe(held.unwrap().mutex)
    );
    assert_eq!(entries(&database).await, 0);
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}
