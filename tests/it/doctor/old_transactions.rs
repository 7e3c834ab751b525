//! Transactions that keep vacuum, or others, waiting.

use super::{judged, judged_with};
use crate::support::{Database, session_at};

/// Everything that is there at all counts as old.
const NO_PATIENCE: &str = "'0 seconds'";

#[tokio::test]
async fn an_old_snapshot_is_found_and_named() {
    let database = Database::fresh().await;
    let (old, session) = (database.session().await, database.session().await);
    old.run("begin isolation level repeatable read; select 1")
        .await;
    let (verdict, words) = judged_with(&session, NO_PATIENCE, "old snapshots").await;
    assert_eq!(verdict, "warning", "{words}");
    let process = format!("process {} of role", old.process_id());
    assert!(
        words.contains(&process) && words.contains("idle in transaction"),
        "{words}"
    );
    assert!(
        words.contains(&format!(
            "select pg_terminate_backend({});",
            old.process_id()
        )),
        "{words}"
    );
    // It is not old yet for somebody with patience.
    let (verdict, words) = judged(&session, "old snapshots").await;
    assert_eq!(verdict, "ok", "{words}");
    old.run("rollback").await;
    let (verdict, words) = judged_with(&session, NO_PATIENCE, "old snapshots").await;
    assert_eq!(verdict, "ok", "{words}");
}

#[tokio::test]
async fn a_transaction_that_keeps_a_mutex_locked_is_found_and_named() {
    let database = Database::fresh().await;
    let (idle, session) = (database.session().await, database.session().await);
    for decision in [
        "capture('tests', 'step', 'm', 'a')",
        "release('tests', 'step', 'm', 'a')",
    ] {
        idle.run("begin").await;
        idle.outcome(decision).await;
        let (verdict, words) = judged_with(&session, NO_PATIENCE, "open transactions").await;
        assert_eq!(verdict, "warning", "{decision}: {words}");
        let process = format!("process {} of role", idle.process_id());
        assert!(words.contains(&process), "{words}");
        idle.run("commit").await;
    }
    // So is one behind a fence.
    assert_eq!(session.capture("m", "a").await, "captured");
    idle.run("begin; select pgmutex.fence('tests', 'step', 'm', fencing_token) from pgmutex.held")
        .await;
    let (verdict, _) = judged_with(&session, NO_PATIENCE, "open transactions").await;
    assert_eq!(verdict, "warning");
    // One that only looks is in nobody's way.
    idle.run("rollback; begin; select count(*) from pgmutex.held")
        .await;
    let (verdict, words) = judged_with(&session, NO_PATIENCE, "open transactions").await;
    assert_eq!(verdict, "ok", "{words}");
}

#[tokio::test]
async fn a_table_that_is_locked_as_a_whole_is_a_finding() {
    let database = Database::fresh().await;
    let (locks, session) = (database.session().await, database.session().await);
    locks.run("begin; lock table pgmutex.mutex_model").await;
    let (verdict, words) = judged(&session, "custom rules").await;
    assert_eq!(verdict, "warning", "{words}");
    assert!(words.contains("keeps a whole table locked"), "{words}");
}

/// Where the owner of the schema may not see other roles' transactions, that is said.
#[tokio::test]
async fn what_may_not_be_seen_is_said() {
    let database = Database::empty().await;
    let (role, url) = database.role("").await;
    let session = database.session().await;
    session
        .run(&format!(
            "grant create on database {} to {role}",
            database.name()
        ))
        .await;
    let mutexes = pgmutex::Mutexes::connect(&url).await.unwrap();
    mutexes.migrate().await.unwrap();
    let owner = session_at(&url).await;
    session
        .run("begin; select pgmutex.capture('g', 'm', 'i', 'o')")
        .await;
    for subject in ["old snapshots", "open transactions"] {
        let (verdict, words) = judged_with(&owner, NO_PATIENCE, subject).await;
        assert_eq!(verdict, "note", "{words}");
        assert!(words.contains("not allowed to see"), "{words}");
        assert!(
            words.contains(&format!("grant pg_read_all_stats to {role};")),
            "{words}"
        );
    }
    // The advice helps.
    session.run("rollback").await;
    session
        .run(&format!("grant pg_read_all_stats to {role}"))
        .await;
    session
        .run("begin; select pgmutex.capture('g', 'm', 'i', 'o')")
        .await;
    let (verdict, words) = judged_with(&owner, NO_PATIENCE, "open transactions").await;
    assert_eq!(verdict, "warning", "{words}");
    // A server that reveals less than PostgreSQL does: still an answer to everything else.
    session.run("rollback").await;
    session
        .run("revoke select on pg_stat_all_tables from public")
        .await;
    let (verdict, words) = judged(&owner, "dead rows").await;
    assert_eq!(verdict, "note", "{words}");
    assert!(words.contains("not allowed to see"), "{words}");
    assert_eq!(judged(&owner, "generation").await.0, "ok");
}

#[tokio::test]
async fn patience_must_make_sense() {
    let database = Database::fresh().await;
    let session = database.session().await;
    for patience in ["null", "'-1 second'"] {
        let look = format!("select count(*)::text from pgmutex.doctor({patience})");
        let refused = session.try_ask(&look).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "PM003");
    }
    // It decides nothing, so any transaction will do.
    session
        .run("begin isolation level serializable read only")
        .await;
    assert_eq!(judged(&session, "generation").await.0, "ok");
}
