//! `wait`, and what a signal does to whoever waits.

use pgmutex::{MutexQuery, Mutexes, WaiterQuery};
use serde_json::{Value, json};

use crate::{
    program::run,
    running::{eventually, running},
    snapshot::json_lines,
    support::{Database, mutex_id, owner},
};

const NAME: &str = "tests/step/1";

async fn number_in_line(mutexes: &Mutexes) -> usize {
    mutexes.waiters(&WaiterQuery::all()).await.unwrap().len()
}

#[tokio::test]
async fn whoever_waits_for_a_free_mutex_ends_at_once_and_takes_nothing() {
    let database = Database::fresh().await;
    let ended = run(database.url(), &["wait", NAME]);
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
    let ended = run(database.url(), &["wait", NAME, "--json"]);
    assert_eq!(
        json_lines(&ended),
        [json!({"outcome": "free", "hold": null})]
    );
    let mutexes = database.mutexes().await;
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}

#[tokio::test]
async fn it_ends_when_the_mutex_is_free_and_not_before() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("1");
    mutexes.capture(&id).owner(owner("s1")).await.unwrap();
    let in_vain = run(
        database.url(),
        &["wait", NAME, "--timeout", "300ms", "--json"],
    );
    assert_eq!(in_vain.code, Some(75), "{in_vain:?}");
    assert!(in_vain.said.contains("in vain"), "{in_vain:?}");
    let answer = &json_lines(&in_vain)[0];
    assert_eq!(answer["outcome"], "timeout");
    assert_eq!(answer["hold"]["owner"]["session"], "s1");

    let waiting = running(database.url(), &["wait", NAME, "--timeout", "1h"]);
    mutexes.release(&id).owner(owner("s1")).await.unwrap();
    let ended = waiting.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}

#[tokio::test]
async fn without_time_it_looks_once() {
    let database = Database::fresh().await;
    let once = ["wait", NAME, "--timeout", "0"];
    let once_for_a_hold = ["wait", NAME, "--timeout", "0", "--held"];
    assert_eq!(run(database.url(), &once).code, Some(0));
    assert_eq!(run(database.url(), &once_for_a_hold).code, Some(75));
    let mutexes = database.mutexes().await;
    let capture = mutexes.capture(mutex_id("1")).owner(owner("s1"));
    capture.await.unwrap();
    assert_eq!(run(database.url(), &once).code, Some(75));
    assert_eq!(run(database.url(), &once_for_a_hold).code, Some(0));
}

#[tokio::test]
async fn who_has_seen_nothing_is_not_told_that_it_was_in_vain() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.run("begin").await;
    session.run("lock table pgmutex.mutex_model").await;
    let impatient = format!(
        "alter database {} set statement_timeout = '500ms'",
        database.name()
    );
    let client = database.client().await;
    client.batch_execute(&impatient).await.unwrap();
    for more in [&[][..], &["--held"]] {
        let once = [&["wait", NAME, "--timeout", "0"][..], more].concat();
        let ended = run(database.url(), &once);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.said.contains("statement timeout"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_share_may_be_free_where_the_whole_is_not() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let capture = mutexes.capture(mutex_id("1")).owner(owner("s1"));
    capture.access(pgmutex::Access::permit_of(2)).await.unwrap();
    let wait = |more: &[&str]| {
        run(
            database.url(),
            &[&["wait", NAME, "--timeout", "0"][..], more].concat(),
        )
        .code
    };
    assert_eq!(wait(&["--permits", "2"]), Some(0));
    assert_eq!(wait(&["--permits", "1"]), Some(75));
    assert_eq!(wait(&[]), Some(75));
    assert_eq!(wait(&["--held", "--shared"]), Some(2));
}

#[tokio::test]
async fn it_can_wait_for_a_holder_instead() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let in_vain = run(
        database.url(),
        &["wait", NAME, "--held", "--timeout", "200ms"],
    );
    assert_eq!(in_vain.code, Some(75));
    assert!(
        in_vain.said.contains("nobody has captured tests/step/1"),
        "{in_vain:?}"
    );
    let waiting = running(database.url(), &["wait", NAME, "--held", "--json"]);
    mutexes
        .capture(mutex_id("1"))
        .owner(owner("s1"))
        .await
        .unwrap();
    let ended = waiting.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let answer: &Value = &json_lines(&ended)[0];
    assert_eq!(answer["outcome"], "held");
    assert_eq!(answer["hold"]["owner"]["session"], "s1");
}

#[tokio::test]
async fn a_signal_ends_a_capture_that_waits_and_its_place_in_line_is_given_up() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("1");
    mutexes.capture(&id).owner(owner("s1")).await.unwrap();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let arguments = ["capture", NAME, "--wait", "1h", "--session", "s2"];
        let waiting = running(database.url(), &arguments);
        eventually(async || number_in_line(&mutexes).await == 1).await;
        waiting.signal(signal);
        let ended = waiting.ended();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(ended.output, "");
        assert_eq!(number_in_line(&mutexes).await, 0, "{signal}");
    }
    mutexes.release(&id).owner(owner("s1")).await.unwrap();
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_signal_ends_a_wait() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes
        .capture(mutex_id("1"))
        .owner(owner("s1"))
        .await
        .unwrap();
    let client = database.client().await;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let waiting = running(database.url(), &["wait", NAME]);
        // As soon as it has looked once it minds signals.
        let looks = "select count(*) from pg_stat_activity where datname = current_database() and query ~ 'holder_in_the_way' and pid <> pg_backend_pid()";
        eventually(async || {
            let row = client.query_one(looks, &[]).await.unwrap();
            row.get::<_, i64>(0) > 0
        })
        .await;
        waiting.signal(signal);
        let ended = waiting.ended();
        assert_eq!(
            (ended.code, ended.output.as_str()),
            (Some(code), ""),
            "{ended:?}"
        );
        assert_eq!(ended.said, "");
        eventually(async || client.query_one(looks, &[]).await.unwrap().get::<_, i64>(0) == 0)
            .await;
    }
}
