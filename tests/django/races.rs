//! Two processes of the application, stopped between what they read and what they write.

use serde_json::{Value, json};

use crate::{
    history::{Held, violations},
    support::{Application, Clock, Database, manage},
};

fn of(verb: &str, session: &str) -> Value {
    json!({ "do": verb, "name": "m", "session": session })
}

fn is_done(answer: &Value) -> bool {
    answer.get("done").is_some()
}

/// Both have read nothing; then both save.
fn both_have_read_nothing(database: &Database) -> (Value, Value) {
    let mut first = Application::start(database, Clock::NAIVE);
    let mut second = Application::start(database, Clock::NAIVE);
    first.stop_before("_add_mutex", of("capture", "a"));
    second.stop_before("_add_mutex", of("capture", "b"));
    (first.go_on(), second.go_on())
}

#[tokio::test]
async fn on_the_old_table_two_that_read_nothing_both_capture() {
    let database = Database::empty().await;
    let migrated = manage(&database, &["migrate", "m3_mutex"]);
    assert!(migrated.status.success(), "{migrated:?}");
    let (first, second) = both_have_read_nothing(&database);
    assert!(is_done(&first) && is_done(&second), "{first} {second}");
    // The checker of histories sees it, too.
    let rows = database
        .client()
        .await
        .query(
            "select owner_session, id::bigint, (extract(epoch from captured_since) * 1000000)::bigint from m3_mutex",
            &[],
        )
        .await
        .unwrap();
    let history: Vec<Held> = rows
        .iter()
        .map(|row| Held {
            mutex: "m".to_owned(),
            owner: row.get(0),
            token: row.get(1),
            begins: row.get(2),
            ends: row.get::<_, i64>(2) + 300_000_000,
        })
        .collect();
    assert_eq!(violations(&history).len(), 1, "{history:?}");
}

#[tokio::test]
async fn on_the_view_the_second_of_them_fails() {
    let database = Database::with_view().await;
    let (first, second) = both_have_read_nothing(&database);
    assert!(is_done(&first), "{first}");
    assert_eq!(second["error"], "IntegrityError", "{second}");
    let message = second["message"].as_str().unwrap();
    assert!(
        message.starts_with("mutex 'tests'/'step'/'m' is held by Name of a since"),
        "{message}"
    );
}

/// Makes the hold of the mutex one that is over.
async fn an_hour_passes(database: &Database) {
    let client = database.client().await;
    let age = "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'";
    client.batch_execute(age).await.unwrap();
}

/// One that has decided to evict, release or refresh, and is late: the hold has ended meanwhile, and
/// another has captured.
async fn late(step: &str, verb: &str) -> (Value, Database) {
    let database = Database::with_view().await;
    let mut late = Application::start(&database, Clock::NAIVE);
    let mut next = Application::start(&database, Clock::NAIVE);
    assert!(is_done(&late.ask(&of("capture", "a"))));
    late.stop_before(step, of(verb, "a"));
    an_hour_passes(&database).await;
    assert!(is_done(&next.ask(&of("capture", "b"))));
    let answer = late.go_on();
    let request = next.ask(&of("request", "b"));
    assert_eq!(
        request["done"][0],
        json!(2),
        "the next hold is gone: {request}"
    );
    (answer, database)
}

#[tokio::test]
async fn a_late_release_leaves_the_next_hold() {
    let (answer, _) = late("_remove_mutex", "release").await;
    assert!(is_done(&answer), "{answer}");
}

#[tokio::test]
async fn a_late_refresh_is_no_capture() {
    let (answer, _) = late("_refresh_mutex", "capture").await;
    assert_eq!(answer["error"], "IntegrityError", "{answer}");
}

#[tokio::test]
async fn a_late_eviction_is_no_capture() {
    let database = Database::with_view().await;
    let mut late = Application::start(&database, Clock::NAIVE);
    let mut next = Application::start(&database, Clock::NAIVE);
    // A hold that is over by the application's clock, and not yet by the database's.
    assert!(is_done(&next.ask(&of("capture", "a"))));
    let client = database.client().await;
    client
        .batch_execute(
            "alter table pgmutex.mutex_model alter expires_at drop expression; \
             update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour', expires_at = 'infinity'",
        )
        .await
        .unwrap();
    late.stop_before("_remove_mutex", of("capture", "b"));
    client
        .batch_execute("update pgmutex.mutex_model set expires_at = '-infinity'")
        .await
        .unwrap();
    next.stop_before("_add_mutex", of("capture", "c"));
    assert!(is_done(&next.go_on()));
    client
        .batch_execute("update pgmutex.mutex_model set expires_at = 'infinity'")
        .await
        .unwrap();
    let answer = late.go_on();
    assert_eq!(answer["error"], "IntegrityError", "{answer}");
    let holder = client
        .query_one("select owner_session from m3_mutex", &[])
        .await
        .unwrap();
    assert_eq!(holder.get::<_, String>(0), "c");
}
