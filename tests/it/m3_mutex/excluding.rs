//! Two never both capture, whoever they are.

use super::{Application, TAKEN, insert, refusal, with_view};

#[tokio::test]
async fn two_that_have_both_read_nothing_do_not_both_capture() {
    let database = with_view().await;
    let (a, b) = (
        Application::new(&database).await,
        Application::new(&database).await,
    );
    assert_eq!(a.read("m").await, None);
    assert_eq!(b.read("m").await, None);
    let number = a.insert("m", "a").await.unwrap();
    let (code, message) = b.insert("m", "b").await.unwrap_err();
    assert_eq!(code, TAKEN);
    assert!(
        message.starts_with("mutex 'tests'/'step'/'m' is held by name since "),
        "{message}"
    );
    assert_eq!(b.read("m").await, Some(format!("{number} a")));
}

#[tokio::test]
async fn the_second_waits_for_the_first_ones_transaction() {
    let database = with_view().await;
    let (a, b) = (
        Application::new(&database).await,
        Application::new(&database).await,
    );
    a.0.run("begin").await;
    a.insert("m", "a").await.unwrap();
    let second = b.0.begin(&insert("m", "b", "timeout", "300"));
    b.0.is_blocked().await;
    a.0.run("commit").await;
    assert_eq!(refusal(second.result().await.unwrap_err()).0, TAKEN);

    a.0.run("begin").await;
    a.insert("n", "a").await.unwrap();
    let second = b.0.begin(&insert("n", "b", "timeout", "300"));
    b.0.is_blocked().await;
    a.0.run("rollback").await;
    second.text().await;
    assert_eq!(a.insert("n", "a").await.unwrap_err().0, TAKEN);
}

#[tokio::test]
async fn an_application_and_those_who_call_the_functions_exclude_each_other() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    application.insert("theirs", "a").await.unwrap();
    assert_eq!(session.capture("theirs", "s").await, "busy");
    let holder = "select concat_ws(' ', owner_session, owner_host, owner_id, owner_login, owner_name, auto_release_rule, auto_release_config, \
                  expires_at - captured_since, captured_since > now() - interval '1 hour') from pgmutex.held where mutex_id = 'theirs'";
    assert_eq!(
        session.ask(holder).await,
        "a host 7 login name timeout 300 00:05:00 t"
    );

    assert_eq!(session.capture("ours", "s").await, "captured");
    assert!(application.read("ours").await.unwrap().ends_with(" s"));
    assert_eq!(application.insert("ours", "a").await.unwrap_err().0, TAKEN);
    assert_eq!(session.release("ours", "s").await, "released");
    application.insert("ours", "a").await.unwrap();
}

#[tokio::test]
async fn each_capture_has_a_larger_token_than_the_one_before() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    let token = async || -> u64 {
        let token = "select fencing_token::text from pgmutex.held where mutex_id = 'm'";
        session.ask(token).await.parse().unwrap()
    };
    session.capture("m", "s").await;
    let first = token().await;
    session.release("m", "s").await;
    application.insert("m", "a").await.unwrap();
    let second = token().await;
    assert!(second > first);
    application.update("m").await.unwrap();
    assert_eq!(token().await, second);
    application.delete("m").await.unwrap();
    session.capture("m", "s").await;
    assert!(token().await > second);
}

#[tokio::test]
async fn what_is_over_by_the_databases_clock_is_free_for_both() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    session.capture("m", "s").await;
    session.age("m", "1 hour").await;
    assert_eq!(application.read("m").await, None);
    application.insert("m", "a").await.unwrap();
    assert_eq!(session.capture("m", "s").await, "busy");
    session.age("m", "1 hour").await;
    assert_eq!(session.capture("m", "s").await, "evicted");
}

#[tokio::test]
async fn a_newcomer_does_not_pass_those_who_wait() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    application.insert("m", "a").await.unwrap();
    assert_eq!(
        session.capture_as("m", "waits", "wait => true").await,
        "queued"
    );
    // It stays in line, however long the next steps take.
    session
        .run("update pgmutex.mutex_waiter set seen_at = clock_timestamp() + interval '1 hour'")
        .await;
    application.delete("m").await.unwrap();
    let (code, message) = application.insert("m", "b").await.unwrap_err();
    assert_eq!(code, TAKEN);
    assert!(message.contains("is waited for by "), "{message}");
    assert_eq!(
        session.capture_as("m", "waits", "wait => true").await,
        "captured"
    );
}

#[tokio::test]
async fn the_same_owner_session_gets_its_own_hold_again() {
    let database = with_view().await;
    let (a, b) = (
        Application::new(&database).await,
        Application::new(&database).await,
    );
    let number = a.insert("m", "a").await.unwrap();
    assert_eq!(b.insert("m", "a").await.unwrap(), number);
}
