//! I3: a fenced transaction commits only while its hold is there, and until then nobody can capture
//! the mutex.

use pgmutex::{Error, Mutexes, Released, ReleasedEach, SessionBackend};

use crate::support::{Database, Session, mutex_id, owner};

/// Captures for a session, and gives the token.
async fn captured(session: &Session, id: &str, owner_session: &str) -> String {
    session
        .ask(&format!(
            "select fencing_token::text from pgmutex.capture('tests', 'step', '{id}', '{owner_session}')"
        ))
        .await
}

fn fence(id: &str, token: &str) -> String {
    format!("select pgmutex.fence('tests', 'step', '{id}', {token})::text")
}

async fn report(database: &Database) {
    let statement = "create table report (body text)";
    database
        .client()
        .await
        .batch_execute(statement)
        .await
        .unwrap();
}

#[tokio::test]
async fn nobody_gets_in_between_a_fence_and_its_commit() {
    let database = Database::fresh().await;
    report(&database).await;
    let (a, b) = (database.session().await, database.session().await);
    let token = captured(&a, "m", "a").await;
    a.run("begin").await;
    a.ask(&fence("m", &token)).await;
    a.run("insert into report values ('by a')").await;
    // Its time runs out while it writes; everyone who could take it away is told that it is busy.
    b.age("m", "1 hour").await;
    assert_eq!(b.capture("m", "b").await, "busy");
    for other in [
        "select outcome from pgmutex.force_release('tests', 'step', 'm', 'test')",
        "select case pgmutex.sweep() when 0 then 'busy' end",
    ] {
        assert_eq!(b.ask(other).await, "busy");
    }
    a.run("commit").await;
    assert_eq!(b.capture("m", "b").await, "evicted");
    assert_eq!(b.ask("select body from report").await, "by a");
}

#[tokio::test]
async fn a_stale_holder_cannot_commit() {
    let database = Database::fresh().await;
    report(&database).await;
    let (a, b) = (database.session().await, database.session().await);
    let token = captured(&a, "m", "a").await;
    a.age("m", "1 hour").await;
    assert_eq!(b.capture("m", "b").await, "evicted");
    a.run("begin; insert into report values ('too late')").await;
    let error = a.try_ask(&fence("m", &token)).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM005");
    a.run("commit").await;
    assert_eq!(b.ask("select count(*)::text from report").await, "0");
}

#[tokio::test]
async fn a_hold_that_is_over_is_stale_even_if_nobody_has_taken_it() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let token = captured(&a, "m", "a").await;
    a.age("m", "1 hour").await;
    let error = a.try_ask(&fence("m", &token)).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM005");
}

#[tokio::test]
async fn an_earlier_token_of_the_same_owner_is_stale() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let old = captured(&a, "m", "a").await;
    a.ask("select outcome from pgmutex.release('tests', 'step', 'm', 'a')")
        .await;
    let new = captured(&a, "m", "a").await;
    assert!(a.try_ask(&fence("m", &old)).await.is_err());
    a.ask(&fence("m", &new)).await;
}

#[tokio::test]
async fn a_fence_waits_for_an_eviction_under_way_and_then_fails() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let token = captured(&a, "m", "a").await;
    b.run("begin").await;
    b.ask("select outcome from pgmutex.force_release('tests', 'step', 'm', 'test')")
        .await;
    a.run("begin").await;
    let fenced = a.begin(&fence("m", &token));
    a.is_blocked().await;
    b.run("commit").await;
    let error = fenced.result().await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM005");
}

#[tokio::test]
async fn time_spent_waiting_for_the_row_counts() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let token = captured(&a, "m", "a").await;
    b.run("begin").await;
    b.ask("select owner_session from pgmutex.mutex_model where mutex_id = 'm' for update")
        .await;
    a.run("begin").await;
    let fenced = a.begin(&fence("m", &token));
    a.is_blocked().await;
    // The row is as it was, but its time is over when the fence gets it.
    b.run("update pgmutex.mutex_model set captured_since = clock_timestamp() - interval '1 hour'; commit")
        .await;
    let error = fenced.result().await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM005");
}

#[tokio::test]
async fn refreshing_goes_on_behind_a_fence() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let token = captured(&a, "m", "a").await;
    a.run("begin").await;
    a.ask(&fence("m", &token)).await;
    for _ in 0..2 {
        assert_eq!(
            b.ask("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')")
                .await,
            "refreshed"
        );
        assert_eq!(b.capture("m", "a").await, "refreshed");
    }
    a.run("commit").await;
}

#[tokio::test]
async fn two_transactions_of_one_holder_can_be_fenced_at_once() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let token = captured(&a, "m", "a").await;
    a.run("begin").await;
    a.ask(&fence("m", &token)).await;
    b.run("begin").await;
    b.ask(&fence("m", &token)).await;
    a.run("commit").await;
    b.age("m", "1 hour").await;
    b.run("commit").await;
}

#[tokio::test]
async fn every_isolation_level_is_served_and_fails_closed() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for level in ["read committed", "repeatable read", "serializable"] {
        let token = captured(&a, level, "a").await;
        a.run(&format!("begin isolation level {level}")).await;
        a.ask(&fence(level, &token)).await;
        b.age(level, "1 hour").await;
        assert_eq!(b.capture(level, "b").await, "busy", "{level}");
        a.run("commit").await;
        assert_eq!(b.capture(level, "b").await, "evicted", "{level}");
    }
    // A snapshot from before the loss still shows the hold: the row must not be believed.
    let token = captured(&a, "old", "a").await;
    a.run("begin isolation level repeatable read").await;
    a.ask("select count(*)::text from pgmutex.held").await;
    b.age("old", "1 hour").await;
    assert_eq!(b.capture("old", "b").await, "evicted");
    let error = a.try_ask(&fence("old", &token)).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "40001");
    a.run("rollback").await;
}

#[tokio::test]
async fn from_rust_a_fence_is_a_call_on_the_transaction() {
    let database = Database::fresh().await;
    report(&database).await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let mine = mutexes.capture(&id).owner(owner("a")).await.unwrap();
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = mutexes.in_transaction(&transaction);
    inside.fence(&id, mine.fencing_token).await.unwrap();
    let write = "insert into report values ('by a')";
    transaction.batch_execute(write).await.unwrap();
    // The holder cannot give it back while it writes.
    let release = mutexes.release(&id).owner(owner("a")).await;
    assert!(release.unwrap_err().is_busy());
    transaction.commit().await.unwrap();

    mutexes.force_release(&id, "test").await.unwrap();
    mutexes.capture(&id).owner(owner("b")).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let refused = mutexes
        .in_transaction(&transaction)
        .fence(&id, mine.fencing_token)
        .await;
    let Err(Error::Lost { id: lost, token }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((lost, token), (id, Some(mine.fencing_token)));
    // The transaction has failed: nothing more can be done in it.
    let error = transaction.batch_execute(write).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25P02");
}

#[tokio::test]
async fn whoever_gives_everything_back_is_told_once_what_a_fence_keeps() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let (fenced, other) = (mutex_id("m"), mutex_id("other"));
    let mine = mutexes.capture(&fenced).owner(owner("a")).await.unwrap();
    mutexes.capture(&other).owner(owner("a")).await.unwrap();
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = mutexes.in_transaction(&transaction);
    inside.fence(&fenced, mine.fencing_token).await.unwrap();
    let answers = mutexes.release_owner(&owner("a")).await.unwrap();
    let [
        ReleasedEach::Done(Released::Released(released)),
        ReleasedEach::Busy(busy),
    ] = answers.as_slice()
    else {
        panic!("{answers:?}");
    };
    assert_eq!((&released.id, &busy.id), (&other, &fenced));
    transaction.commit().await.unwrap();
    let answers = mutexes.release_owner(&owner("a")).await.unwrap();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn what_is_not_in_postgresql_cannot_be_fenced() {
    let database = Database::fresh().await;
    let mutexes = Mutexes::builder()
        .route("tests", SessionBackend::new())
        .connect(database.url())
        .await
        .unwrap();
    let id = mutex_id("m");
    let mine = mutexes.capture(&id).await.unwrap();
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    let refused = mutexes
        .in_transaction(&transaction)
        .fence(&id, mine.fencing_token)
        .await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })));
}
