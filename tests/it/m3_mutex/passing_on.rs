//! Between what the application reads and what it writes, a mutex may have passed to another: then
//! the write is not about that one's hold.

use super::{Application, TAKEN, with_view};
use crate::support::Database;

/// `first` has read its row or another's; then that hold ended and `second` captured.
async fn passed_on(database: &Database) -> (Application, String) {
    let (first, second) = (
        Application::new(database).await,
        Application::new(database).await,
    );
    first.insert("m", "a").await.unwrap();
    assert!(first.read("m").await.is_some());
    first.0.age("m", "1 hour").await;
    let number = second.insert("m", "b").await.unwrap();
    (first, format!("{number} b"))
}

#[tokio::test]
async fn a_late_eviction_or_release_does_not_remove_the_next_hold() {
    let database = with_view().await;
    let (late, next) = passed_on(&database).await;
    assert_eq!(late.delete("m").await.unwrap(), "0");
    assert_eq!(late.insert("m", "a").await.unwrap_err().0, TAKEN);
    assert_eq!(late.read("m").await.unwrap(), next);
    // What it has read by now is what it means: a release by the same owner in another process.
    assert_eq!(late.delete("m").await.unwrap(), "1");
}

#[tokio::test]
async fn a_late_refresh_fails_and_does_not_lengthen_the_next_hold() {
    let database = with_view().await;
    let (late, next) = passed_on(&database).await;
    let since = "select captured_since::text from pgmutex.held where mutex_id = 'm'".to_owned();
    let before = late.0.ask(&since).await;
    let (code, message) = late.update("m").await.unwrap_err();
    assert_eq!(code, TAKEN);
    assert!(message.contains("is no longer held"), "{message}");
    assert_eq!(late.0.ask(&since).await, before);
    assert_eq!(late.read("m").await.unwrap(), next);
}

/// The package does not look at the count: it would take 'nothing refreshed' for a capture.
#[tokio::test]
async fn a_refresh_of_what_is_gone_fails() {
    let database = with_view().await;
    let application = Application::new(&database).await;
    for ending in [
        "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'",
        "select pgmutex.force_release('tests', 'step', 'm')",
    ] {
        application.insert("m", "a").await.unwrap();
        application.read("m").await.unwrap();
        application.0.run(ending).await;
        assert_eq!(
            application.update("m").await.unwrap_err().0,
            TAKEN,
            "{ending}"
        );
        assert_eq!(application.read("m").await, None, "{ending}");
    }
    // A statement that means none in particular is as free to find nothing as any other.
    let other = Application::new(&database).await;
    assert_eq!(other.update("m").await.unwrap(), "0");
}

#[tokio::test]
async fn what_was_read_is_forgotten_after_a_write_and_with_a_rolled_back_one_it_is_not() {
    let database = with_view().await;
    let (late, _) = passed_on(&database).await;
    late.0.run("begin; savepoint s").await;
    assert_eq!(late.update("m").await.unwrap_err().0, TAKEN);
    late.0.run("rollback to s").await;
    assert_eq!(late.delete("m").await.unwrap(), "0");
    late.0.run("commit").await;
    // Nothing is known of what this one means: it is a hold of an application's.
    assert_eq!(late.delete("m").await.unwrap(), "1");
}

#[tokio::test]
async fn reading_another_mutex_says_nothing_of_this_one() {
    let database = with_view().await;
    let (a, b) = (
        Application::new(&database).await,
        Application::new(&database).await,
    );
    a.insert("m", "a").await.unwrap();
    a.insert("other", "a").await.unwrap();
    a.read("m").await.unwrap();
    a.read("other").await.unwrap();
    b.delete("m").await.unwrap();
    b.insert("m", "b").await.unwrap();
    assert_eq!(a.delete("m").await.unwrap(), "1");
}
