//! The heartbeat of a process: many holds in one statement, and the truth about each.

use crate::support::{Database, Session};

/// The arguments for the holds of `tests/step/<id>` with these tokens.
fn arguments(holds: &[(&str, String)]) -> String {
    let list = |texts: Vec<&str>| texts.join(",");
    format!(
        "'{{{}}}', '{{{}}}', '{{{}}}', '{{{}}}'",
        list(vec!["tests"; holds.len()]),
        list(vec!["step"; holds.len()]),
        list(holds.iter().map(|(id, _)| *id).collect()),
        list(holds.iter().map(|(_, token)| token.as_str()).collect()),
    )
}

/// Those that could not be kept, by their ids, in order.
async fn keep(session: &Session, holds: &[(&str, String)]) -> String {
    let names: Vec<String> = holds
        .iter()
        .map(|(id, token)| format!("('{id}', {token})"))
        .collect();
    session
        .ask(&format!(
            "select coalesce(string_agg(concat_ws(' ', name.id, kept.outcome), ', ' order by name.id), '') \
             from pgmutex.keep({}) kept join (values {}) name (id, token) on name.token = kept.fencing_token",
            arguments(holds),
            names.join(", ")
        ))
        .await
}

async fn capture<'a>(session: &Session, ids: &[&'a str]) -> Vec<(&'a str, String)> {
    let mut holds = Vec::new();
    for id in ids {
        let token = format!(
            "select fencing_token::text from pgmutex.capture('tests', 'step', '{id}', 'a')"
        );
        holds.push((*id, session.ask(&token).await));
    }
    holds
}

/// The mutexes whose time runs for less than a minute.
const FRESH: &str = "select coalesce(string_agg(mutex_id, ' ' order by mutex_id), '') from pgmutex.hold where captured_since > clock_timestamp() - interval '1 minute'";

async fn age(session: &Session) {
    session
        .run("update pgmutex.mutex_model set captured_since = captured_since - interval '200 seconds'")
        .await;
}

#[tokio::test]
async fn many_holds_begin_anew_and_nothing_is_said() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let holds = capture(&a, &["1", "2", "3", "4"]).await;
    let before = a.ask("select string_agg(concat_ws(' ', fencing_token, held_since, owner_session), ',' order by mutex_id) from pgmutex.hold").await;
    age(&a).await;
    assert_eq!(keep(&a, &holds[..3]).await, "");
    assert_eq!(a.ask(FRESH).await, "1 2 3");
    let after = a.ask("select string_agg(concat_ws(' ', fencing_token, held_since, owner_session), ',' order by mutex_id) from pgmutex.hold").await;
    assert_eq!(after, before);
    // Named twice is kept once.
    let twice = [holds[3].clone(), holds[3].clone()];
    assert_eq!(keep(&a, &twice).await, "");
    assert_eq!(a.ask(FRESH).await, "1 2 3 4");
}

#[tokio::test]
async fn shared_holds_are_kept_one_by_one() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut tokens = Vec::new();
    for owner in ["a", "b"] {
        a.capture_as("m", owner, "access => 'shared'").await;
        let token =
            format!("select fencing_token::text from pgmutex.hold where owner_session = '{owner}'");
        tokens.push(a.ask(&token).await);
    }
    age(&a).await;
    assert_eq!(keep(&a, &[("m", tokens[1].clone())]).await, "");
    let fresh = "select string_agg(owner_session, ' ') from pgmutex.hold where captured_since > clock_timestamp() - interval '1 minute'";
    assert_eq!(a.ask(fresh).await, "b");
}

#[tokio::test]
async fn what_is_lost_is_named_and_never_comes_back() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut holds = capture(&a, &["kept", "over", "released", "taken"]).await;
    a.release("released", "a").await;
    a.release("taken", "a").await;
    a.capture("taken", "b").await;
    age(&a).await;
    a.age("over", "1 hour").await;
    // A token is good only for its mutex.
    holds.push(("elsewhere", holds[0].1.clone()));
    let lost = keep(&a, &holds[1..4]).await;
    assert_eq!(lost, "over not_held, released not_held, taken not_held");
    assert_eq!(a.ask(FRESH).await, "");
    assert_eq!(keep(&a, &holds[4..]).await, "elsewhere not_held");
    assert_eq!(
        keep(&a, &holds[..4]).await,
        "over not_held, released not_held, taken not_held"
    );
    assert_eq!(a.ask(FRESH).await, "kept");
    assert_eq!(a.ask("select count(*)::text from pgmutex.hold").await, "3");
}

#[tokio::test]
async fn a_row_that_is_locked_is_named_and_the_others_are_kept() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let holds = capture(&a, &["1", "2", "3"]).await;
    age(&a).await;
    a.run("begin").await;
    a.ask("select mutex_id from pgmutex.mutex_model where mutex_id = '2' for update")
        .await;
    assert_eq!(keep(&b, &holds).await, "2 locked");
    assert_eq!(b.ask(FRESH).await, "1 3");
    a.run("rollback").await;
    assert_eq!(keep(&b, &holds).await, "");
    // One whose time runs out while it is locked is lost.
    a.run("begin").await;
    a.ask("select mutex_id from pgmutex.mutex_model where mutex_id = '3' for no key update")
        .await;
    assert_eq!(keep(&b, &holds).await, "3 locked");
    a.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where mutex_id = '3'; commit").await;
    assert_eq!(keep(&b, &holds).await, "3 not_held");
}

#[tokio::test]
async fn two_heartbeats_at_once_do_not_wait_for_each_other() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let holds = capture(&a, &["1", "2"]).await;
    a.run("begin").await;
    assert_eq!(keep(&a, &holds).await, "");
    assert_eq!(keep(&b, &holds).await, "1 locked, 2 locked");
    a.run("commit").await;
}

#[tokio::test]
async fn a_heartbeat_goes_on_behind_a_fence_and_beside_a_decision() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let holds = capture(&a, &["m"]).await;
    age(&a).await;
    a.run("begin").await;
    a.ask(&format!(
        "select pgmutex.fence('tests', 'step', 'm', {})::text",
        holds[0].1
    ))
    .await;
    // It keeps the lock of the mutex to the end of the transaction.
    assert_eq!(a.capture("m", "other").await, "busy");
    assert_eq!(keep(&b, &holds).await, "");
    assert_eq!(b.ask(FRESH).await, "m");
    a.run("commit").await;
}

#[tokio::test]
async fn a_hold_that_is_evicted_meanwhile_is_lost() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let holds = capture(&a, &["m"]).await;
    b.run("begin").await;
    b.outcome("force_release('tests', 'step', 'm')").await;
    assert_eq!(keep(&a, &holds).await, "m locked");
    b.run("commit").await;
    assert_eq!(keep(&a, &holds).await, "m not_held");
}

#[tokio::test]
async fn heartbeats_leave_the_indexes_alone() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let ids: Vec<String> = (10..40).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let holds = capture(&a, &ids).await;
    a.run("begin").await;
    assert_eq!(keep(&a, &holds).await, "");
    let updated = "select concat_ws(' ', pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid)) from pg_class where oid = 'pgmutex.mutex_model'::regclass";
    assert_eq!(a.ask(updated).await, "30 30");
    a.run("commit").await;
}

#[tokio::test]
async fn what_is_kept_is_durable_and_a_stale_snapshot_is_refused() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let holds = capture(&a, &["m"]).await;
    a.run("set synchronous_commit = off; begin").await;
    keep(&a, &holds).await;
    assert_eq!(a.ask("show synchronous_commit").await, "on");
    a.run("commit; begin isolation level repeatable read").await;
    let call = format!("keep({})", arguments(&holds));
    assert_eq!(a.refusal(&call).await.0, "PM001");
    a.run("rollback").await;
}
