//! What counts is the database's clock at the moment of the decision: neither when the transaction
//! began, nor when the call did.

use crate::support::Database;

#[tokio::test]
async fn a_hold_begins_when_it_is_captured_in_however_old_a_transaction() {
    let database = Database::fresh().await;
    let session = database.session().await;
    // What is written in one statement, what is not, and what travels together: of one mode, and of two.
    for (captures, begun) in [
        ("capture('tests', 'step', 'm', 'a')", "true"),
        (
            "capture('tests', 'step', 'm', 'a', access => 'shared')",
            "true",
        ),
        ("capture('tests', 'step', '/m/', 'a')", "true"),
        (
            "capture_together('{tests}', '{step}', '{m,n}', '{a}', '{\"\"}', '{\"\"}', '{\"\"}', '{\"\"}', '{timeout}', '{300}', \
             '{null}', '{exclusive}', '{null}', '{false}', '{false}')",
            "true true",
        ),
        (
            "capture_together('{tests}', '{step,other}', '{m,n}', '{a}', '{\"\"}', '{\"\"}', '{\"\"}', '{\"\"}', '{timeout}', '{300}', \
             '{null}', '{exclusive}', '{null}', '{false}', '{false}')",
            "true true",
        ),
    ] {
        session.run("begin").await;
        let before = session.ask("select clock_timestamp()::text").await;
        let captured = format!("select string_agg(outcome, ' ') from pgmutex.{captures}");
        assert_eq!(
            session.ask(&captured).await,
            begun.replace("true", "captured")
        );
        let since = format!(
            "select string_agg((captured_since > '{before}' and held_since > '{before}')::text, ' ') from pgmutex.held"
        );
        assert_eq!(session.ask(&since).await, begun, "{captures}");
        session.run("rollback").await;
    }
}

#[tokio::test]
async fn a_hold_begins_after_the_wait_for_the_lock() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    assert_eq!(a.release("m", "a").await, "released");
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    let meanwhile = a.ask("select clock_timestamp()::text").await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "captured");
    let since = format!("select (captured_since > '{meanwhile}')::text from pgmutex.held");
    assert_eq!(b.ask(&since).await, "true");
}

#[tokio::test]
async fn a_refresh_that_waits_for_the_row_comes_too_late_if_its_time_is_over_then() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    a.ask("select owner_session from pgmutex.mutex_model for update")
        .await;
    let waiting = b.begin_outcome("refresh('tests', 'step', 'm', 'a')");
    b.is_blocked().await;
    // It ends now: after the call began.
    a.run("update pgmutex.mutex_model set auto_release_config = '1', captured_since = clock_timestamp() - interval '1 second'; commit")
        .await;
    assert_eq!(waiting.text().await, "not_held");
}

#[tokio::test]
async fn a_fence_that_waits_for_the_row_fails_if_its_time_is_over_then() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    let token = a
        .ask("select fencing_token::text from pgmutex.mutex_model for update")
        .await;
    let fenced = b.begin(&format!(
        "select pgmutex.fence('tests', 'step', 'm', {token})::text"
    ));
    b.is_blocked().await;
    // It ends now: after the call began.
    a.run("update pgmutex.mutex_model set auto_release_config = '1', captured_since = clock_timestamp() - interval '1 second'; commit")
        .await;
    let error = fenced.result().await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM005");
}
