//! Guards where sessions are lent: no hold can be attached to one, the rest works by asking again.

use std::{
    future::{Future, IntoFuture},
    thread,
    time::Duration,
};

use pgmutex::{Error, GuardState, Mutexes};
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::support::{Database, USER_AT_REPEATABLE_READ, mutex_id};

const LONG: Duration = Duration::from_secs(3600);

/// Of a hold that has to be kept alive: so long that a heartbeat may come some seconds late.
const LEASE: Duration = Duration::from_secs(12);

/// Waits for what must come, and fails if it does not. Not a measure of anything.
async fn must<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(300), future)
        .await
        .expect("it hangs")
}

async fn ask(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

fn is_no_session(error: &Error) {
    assert!(matches!(error, Error::NoSession { .. }), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("pooler"), "{words}");
    assert!(words.contains("MutexesBuilder::direct_url"), "{words}");
}

#[tokio::test]
async fn nothing_can_be_attached_to_a_session_that_is_lent() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    for _ in 0..2 {
        let refused = must(mutexes.lock(mutex_id("m")).attached().into_future()).await;
        is_no_session(&refused.unwrap_err());
    }
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
    // Past the pooler there is one.
    let builder = Mutexes::builder()
        .direct_url(&database.direct_url())
        .unwrap();
    let mutexes = builder.connect(database.url()).await.unwrap();
    let guard = must(mutexes.lock(mutex_id("m")).attached().into_future())
        .await
        .unwrap();
    assert!(must(guard.release()).await.unwrap().is_released());
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_lent_is_recognized_among_many_who_borrow() {
    let database = Database::fresh().await;
    let mut noise = Vec::new();
    for _ in 0..6 {
        let client = database.pooled_client().await;
        noise.push(tokio::spawn(async move {
            loop {
                client.batch_execute("select 1").await.unwrap();
            }
        }));
    }
    for _ in 0..30 {
        let mutexes = database.mutexes().await;
        let refused = must(mutexes.lock(mutex_id("m")).attached().into_future()).await;
        is_no_session(&refused.unwrap_err());
    }
    for task in noise {
        task.abort();
        let _ = task.await;
    }
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

#[tokio::test]
async fn whoever_waits_asks_again_until_it_is_served() {
    let database = Database::fresh().await;
    let (ours, theirs) = (database.mutexes().await, database.mutexes().await);
    let client = database.client().await;
    let first = must(ours.lock(mutex_id("m")).timeout(LONG).into_future())
        .await
        .unwrap();
    let mut waiting = Vec::new();
    for (place, mutexes) in [&theirs, &ours, &theirs].into_iter().enumerate() {
        let lock = mutexes.lock(mutex_id("m")).timeout(LONG);
        waiting.push(tokio::spawn(lock.into_future()));
        let in_line = "select count(*)::text from pgmutex.waiting";
        must(async { while ask(&client, in_line).await != (place + 1).to_string() {} }).await;
    }
    let mut token = first.fencing_token();
    first.release().await.unwrap();
    for next in waiting {
        let guard = must(next).await.unwrap().unwrap();
        assert!(guard.fencing_token() > token);
        token = guard.fencing_token();
        guard.release().await.unwrap();
    }
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

/// Runs work on a thread and a runtime of its own, and blocks this one meanwhile.
fn elsewhere<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(work)
    };
    thread::spawn(run).join().unwrap()
}

async fn is_kept_alive_while_the_runtime_is_blocked(database: &Database, mutexes: Mutexes) {
    let lock = mutexes.lock(mutex_id("m")).timeout(LEASE);
    let guard = must(lock.into_future()).await.unwrap();
    let url = database.direct_url();
    let lease = LEASE.as_secs();
    elsewhere(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        // Kept alive also after the moment at which it would have been over.
        let outlived = format!(
            "select (max(captured_since) > max(held_since) + interval '{lease} seconds')::text \
             from pgmutex.mutex_model, pg_sleep(0.05)"
        );
        must(async { while ask(&client, &outlived).await != "true" {} }).await;
    });
    assert_eq!(guard.state(), GuardState::Held);
    assert!(must(guard.release()).await.unwrap().is_released());
}

#[tokio::test]
async fn code_that_blocks_does_not_end_a_hold() {
    let database = Database::fresh().await;
    is_kept_alive_while_the_runtime_is_blocked(&database, database.mutexes().await).await;
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

#[tokio::test]
async fn heartbeats_come_whatever_the_default_isolation_level() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes_at_repeatable_read().await;
    let client = database.client().await;
    let lock = mutexes.lock(mutex_id("m")).timeout(LEASE);
    let guard = must(lock.into_future()).await.unwrap();
    let kept = "select (max(captured_since) > max(held_since))::text from pgmutex.mutex_model, pg_sleep(0.05)";
    must(async { while ask(&client, kept).await != "true" {} }).await;
    assert_eq!(guard.state(), GuardState::Held);
    assert!(must(guard.release()).await.unwrap().is_released());
    assert_eq!(database.left_behind(USER_AT_REPEATABLE_READ).await, [""; 0]);
}
