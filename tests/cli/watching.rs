//! `list --watch`.

use serde_json::{Value, json};

use crate::{
    program::run,
    running::{eventually, running},
    support::{Database, mutex_id, owner},
};

/// The sessions of the entries in a line.
fn sessions(line: &str) -> Vec<String> {
    let seen: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
    let entries = seen["entries"].as_array().unwrap();
    let session = |entry: &Value| entry["owner"]["session"].as_str().unwrap().to_owned();
    entries.iter().map(session).collect()
}

#[tokio::test]
async fn it_says_when_something_has_changed_and_nothing_otherwise() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let mut watching = running(database.url(), &["list", "--json", "--watch", "100ms"]);
    assert_eq!(sessions(&watching.line()), Vec::<String>::new());
    mutexes
        .capture(mutex_id("1"))
        .owner(owner("s1"))
        .await
        .unwrap();
    assert_eq!(sessions(&watching.line()), ["s1"]);
    // Refreshed, it is the same hold: although it has looked, the next line is about something else.
    let refreshed = mutexes.refresh(&mutex_id("1")).owner(owner("s1")).await;
    let since = refreshed.unwrap().captured_since;
    let client = database.client().await;
    // Three intervals later it has.
    let looks = "select count(*) from pg_stat_activity
        where datname = current_database() and state = 'idle' and pid <> pg_backend_pid()
          and extract(epoch from query_start)::float8 > $1::float8 + 0.3";
    let since = since.timestamp_micros() as f64 / 1e6;
    eventually(async || {
        client
            .query_one(looks, &[&since])
            .await
            .unwrap()
            .get::<_, i64>(0)
            > 0
    })
    .await;
    mutexes
        .capture(mutex_id("2"))
        .owner(owner("s2"))
        .await
        .unwrap();
    assert_eq!(sessions(&watching.line()), ["s1", "s2"]);
    mutexes
        .release(&mutex_id("1"))
        .owner(owner("s1"))
        .await
        .unwrap();
    assert_eq!(sessions(&watching.line()), ["s2"]);
    watching.signal("INT");
    let ended = watching.ended();
    assert_eq!(
        (ended.code, ended.output.as_str(), ended.said.as_str()),
        (Some(130), "", "")
    );
}

#[tokio::test]
async fn who_waits_can_be_watched_too() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes
        .capture(mutex_id("1"))
        .owner(owner("s1"))
        .await
        .unwrap();
    let mut watching = running(
        database.url(),
        &["list", "--waiting", "--watch", "100ms", "--json"],
    );
    assert_eq!(sessions(&watching.line()), Vec::<String>::new());
    let arguments = ["capture", "tests/step/1", "--wait", "1h", "--session", "s2"];
    let waiting = running(database.url(), &arguments);
    assert_eq!(sessions(&watching.line()), ["s2"]);
    waiting.signal("TERM");
    assert_eq!(waiting.ended().code, Some(143));
    assert_eq!(sessions(&watching.line()), Vec::<String>::new());
}

#[tokio::test]
async fn it_ends_when_nobody_reads_any_more_although_nothing_changes() {
    let database = Database::fresh().await;
    let mut watching = running(database.url(), &["list", "--watch", "100ms"]);
    assert!(watching.line().contains("UTC"));
    assert_eq!(watching.line(), "nothing is held\n");
    watching.stop_reading();
    let ended = watching.ended();
    assert_eq!((ended.code, ended.said.as_str()), (Some(141), ""));
}

#[tokio::test]
async fn a_server_that_goes_away_is_waited_for() {
    let mut server = pgmutex::private_server::PrivatePostgres::start().unwrap();
    let url = server.url("postgres");
    assert_eq!(run(&url, &["migrate"]).code, Some(0));
    let mut watching = running(&url, &["list", "--json", "--watch", "100ms"]);
    assert_eq!(sessions(&watching.line()), Vec::<String>::new());
    server.crash().unwrap();
    let word = watching.word();
    assert!(word.starts_with("pgmutex: "), "{word}");
    watching.signal("TERM");
    assert_eq!(watching.ended().code, Some(143));
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused() {
    let database = Database::fresh().await;
    for wrong in [
        &["--watch", "--limit", "0"][..],
        &["--watch", "1ms"],
        &["--watch", "soon"],
        &["--watch", "--count"],
        &["--waiting", "--login", "x"],
    ] {
        let refused = run(database.url(), &[&["list"][..], wrong].concat());
        assert_eq!(refused.code, Some(2), "{wrong:?}: {refused:?}");
    }
    let count = run(database.url(), &["list", "--count", "--json"]);
    assert_eq!(count.output, format!("{}\n", json!({"count": 0})));
}
