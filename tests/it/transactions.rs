//! Captures and releases that commit or roll back with the caller's own data.

use pgmutex::{CaptureOutcome, Error, MutexQuery, Released};

use crate::support::{Database, mutex_id, owner};

#[tokio::test]
async fn a_capture_commits_with_the_callers_data() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let mut client = database.client().await;
    client
        .batch_execute("create table journal (entry text)")
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    let captured = mutexes
        .in_transaction(&transaction)
        .capture(mutex_id("m"))
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(captured.outcome, CaptureOutcome::Captured);
    transaction
        .batch_execute("insert into journal values ('captured')")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let held = mutexes.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(held.mutexes, [captured.mutex]);
}

#[tokio::test]
async fn a_capture_rolls_back_with_the_callers_data() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = mutexes.in_transaction(&transaction);
    inside
        .capture(mutex_id("m"))
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(
        inside.list(&MutexQuery::all()).await.unwrap().mutexes.len(),
        1
    );
    transaction.rollback().await.unwrap();
    assert!(mutexes.request(&mutex_id("m")).await.unwrap().is_free());
}

#[tokio::test]
async fn a_release_that_rolls_back_has_not_happened() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let captured = mutexes.capture(&id).owner(owner("a")).await.unwrap();
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    let released = mutexes
        .in_transaction(&transaction)
        .release(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert!(matches!(released, Released::Released(_)));
    drop(transaction);
    let state = mutexes.request_by(&id, &owner("a")).await.unwrap();
    assert_eq!(state.mutex(), Some(&captured.mutex));
}

#[tokio::test]
async fn a_release_in_a_transaction_does_not_weaken_the_callers_data() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    mutexes.capture(&id).owner(owner("a")).await.unwrap();
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    mutexes
        .in_transaction(&transaction)
        .release(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let row = transaction
        .query_one("show synchronous_commit", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "on");
}

#[tokio::test]
async fn busy_and_lost_leave_the_transaction_as_it_was() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes
        .capture(mutex_id("taken"))
        .owner(owner("a"))
        .await
        .unwrap();
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = mutexes.in_transaction(&transaction);
    let refused = inside.capture(mutex_id("taken")).owner(owner("b")).await;
    assert!(refused.unwrap_err().is_busy());
    let lost = inside.refresh(&mutex_id("free")).owner(owner("b")).await;
    assert!(matches!(lost, Err(Error::Lost { .. })));
    inside
        .capture(mutex_id("free"))
        .owner(owner("b"))
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_savepoint_takes_its_captures_back_and_the_rest_stays() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let mut client = database.client().await;
    let mut transaction = client.transaction().await.unwrap();
    mutexes
        .in_transaction(&transaction)
        .capture(mutex_id("outer"))
        .owner(owner("a"))
        .await
        .unwrap();
    let savepoint = transaction.transaction().await.unwrap();
    mutexes
        .in_transaction(&savepoint)
        .capture(mutex_id("inner"))
        .owner(owner("a"))
        .await
        .unwrap();
    savepoint.rollback().await.unwrap();
    transaction.commit().await.unwrap();
    let held = mutexes.list(&MutexQuery::all()).await.unwrap();
    let ids: Vec<&str> = held.mutexes.iter().map(|mutex| mutex.id.id()).collect();
    assert_eq!(ids, ["outer"]);
}

#[tokio::test]
async fn who_waits_too_long_for_an_open_transaction_is_told_about_it() {
    let database = Database::as_installed().await;
    let mutexes = database.mutexes().await;
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    let id = mutex_id("m");
    mutexes
        .in_transaction(&transaction)
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let refused = mutexes.capture(&id).owner(owner("b")).await.unwrap_err();
    assert!(refused.is_transient());
    let Error::Contended { id: contended } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(contended, id);
}

#[tokio::test]
async fn a_pooled_transaction_of_deadpools_serves_as_well() {
    let database = Database::fresh().await;
    let pool = pgmutex::pool_for_url(database.url()).unwrap();
    let mutexes = pgmutex::Mutexes::new(pool.clone());
    let mut client = pool.get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    mutexes
        .in_transaction(&transaction)
        .capture(mutex_id("m"))
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
}
