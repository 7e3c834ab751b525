//! Work under a semaphore, as it can be seen in PostgreSQL only.

use pgmutex::{Error, SemaphoreStatus};

use super::{secs, service};
use crate::{guards::must, support::Database};

const WAITING: &str = "select count(*)::text from pgmutex.waiting";

#[tokio::test]
async fn waiting_that_is_cancelled_leaves_the_line() {
    let database = Database::fresh().await;
    let service = service(&database.mutexes().await);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    let work = service.isolate_work("s", "bob", secs(60), |_| async {});
    let work = tokio::spawn(work.into_future());
    let session = database.session().await;
    session.ask_until(WAITING, |count| count == "1").await;
    work.abort();
    session.ask_until(WAITING, |count| count == "0").await;
}

#[tokio::test]
async fn a_holder_that_died_is_waited_for_until_its_timeout() {
    let database = Database::fresh().await;
    let service = service(&database.mutexes().await);
    service.acquire("s", "ada", secs(1)).await.unwrap();
    let work = service.isolate_work("s", "bob", secs(60), async |info| info.owner);
    let work = work.sleep_between_attempts(secs(3600));
    assert_eq!(must(work.into_future()).await.unwrap(), "bob");
}

/// A short hold is lost where the machine stands still for a moment: then another must do.
#[tokio::test]
async fn it_is_kept_alive_while_the_work_goes_on() {
    let database = Database::fresh().await;
    let service = service(&database.mutexes().await);
    let session = database.session().await;
    let kept = "select (captured_since > held_since + interval '1 second')::text from pgmutex.hold";
    for _ in 0..10 {
        let work = service.isolate_work("s", "ada", secs(1), async |_| {
            session.ask_until(kept, |kept| kept == "true").await;
        });
        match must(work.into_future()).await {
            Ok(()) => return,
            Err(Error::Lost { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it is lost each time");
}

#[tokio::test]
async fn whoever_comes_while_another_stands_in_line_is_told_of_that_one() {
    let database = Database::fresh().await;
    let service = service(&database.mutexes().await);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    let in_line = database.session().await;
    let outcome = in_line
        .ask("select outcome from pgmutex.capture('semaphore', '', 's', owner_session => 'psql', owner_name => 'bob', wait => true)")
        .await;
    assert_eq!(outcome, "queued");
    service.release("s", "ada").await.unwrap();
    let info = service.acquire("s", "cid", secs(60)).await.unwrap();
    assert_eq!(info.status, SemaphoreStatus::OwnedBySomeoneElse);
    assert_eq!(info.owner, "bob");
    assert_eq!((info.timeout, info.expires_at_utc), (None, None));
    assert_eq!(service.get("s").await.unwrap(), None);
}
