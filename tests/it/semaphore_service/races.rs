//! Touching and releasing look first and act then. What is in between must not be hit.

use pgmutex::Error;

use super::{secs, service};
use crate::support::{Database, Session};

const SOMEONE_WAITS: &str = "select (count(*) > 0)::text from pg_stat_activity \
     where datname = current_database() and wait_event_type = 'Lock'";

/// A transaction that takes semaphore `s` from whoever has it and gives it to another holder of the
/// same name, and is still open.
async fn passing_it_on(database: &Database) -> Session {
    let session = database.session().await;
    session.run("begin").await;
    session
        .ask("select outcome from pgmutex.force_release('semaphore', '', 's', reason => 'test')")
        .await;
    let outcome = session
        .ask("select outcome from pgmutex.capture('semaphore', '', 's', owner_session => 'ada#later', owner_name => 'ada')")
        .await;
    assert_eq!(outcome, "captured");
    session
}

#[tokio::test]
async fn a_release_does_not_hit_an_acquisition_that_came_after_the_look() {
    let database = Database::fresh().await;
    let service = service(&database.mutexes().await);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    let passing_on = passing_it_on(&database).await;
    let released = tokio::spawn({
        let service = service.clone();
        async move { service.release("s", "ada").await }
    });
    let observer = database.session().await;
    observer.ask_until(SOMEONE_WAITS, |yes| yes == "true").await;
    passing_on.run("commit").await;
    let Err(Error::Busy { holder, .. }) = released.await.unwrap() else {
        panic!("a later acquisition was released");
    };
    assert_eq!(holder.owner.session_id(), "ada#later");
    assert!(service.get("s").await.unwrap().is_some());
}

#[tokio::test]
async fn a_touch_does_not_hit_an_acquisition_that_came_after_the_look() {
    let database = Database::fresh().await;
    let service = service(&database.mutexes().await);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    let passing_on = passing_it_on(&database).await;
    let touched = tokio::spawn({
        let service = service.clone();
        async move { service.touch("s", "ada").await }
    });
    let observer = database.session().await;
    observer.ask_until(SOMEONE_WAITS, |yes| yes == "true").await;
    passing_on.run("commit").await;
    let Err(Error::Busy { holder, .. }) = touched.await.unwrap() else {
        panic!("a later acquisition was touched");
    };
    assert_eq!(holder.captured_since, holder.held_since);
}
