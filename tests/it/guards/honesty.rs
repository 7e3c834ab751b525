//! A guard does not say held where the database may have given the mutex away.

use std::time::Duration;

use pgmutex::{AutoRelease, Error, GuardParts, MutexId, Mutexes};

use super::{are_kept_alive, must};
use crate::support::{Database, mutex_id, owner};

const LONG: Duration = Duration::from_secs(3600);

async fn attempt(mutexes: &Mutexes, id: &MutexId) -> bool {
    mutexes.try_lock(id).await.unwrap().guard().is_some()
}

#[tokio::test]
async fn what_a_guard_could_not_keep_is_refused() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let connection = AutoRelease::Connection {
        session: 17,
        timeout: Some(Duration::from_secs(1)),
    };
    let refused = mutexes.lock(&id).auto_release(connection).await;
    assert!(matches!(refused, Err(Error::InvalidRule { .. })));
    for most in [
        Duration::MAX,
        Duration::from_secs(4_000_000_000),
        Duration::ZERO,
    ] {
        let refused = mutexes.lock(&id).attached().max_hold(most).await;
        let Err(Error::InvalidInput { field, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(field, "max_hold");
    }
}

#[tokio::test]
async fn an_adopted_hold_lasts_as_long_as_its_row_says() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let (id, me) = (mutex_id("m"), owner("me"));
    let timeout = |seconds| Duration::from_secs(seconds);
    let first = mutexes
        .capture(&id)
        .owner(me.clone())
        .timeout(timeout(300))
        .await
        .unwrap();
    mutexes
        .capture(&id)
        .owner(me)
        .timeout(timeout(9))
        .await
        .unwrap();
    let guard = mutexes.adopt(GuardParts::new(&first)).await.unwrap();
    // Kept alive often enough for the second: a heartbeat comes within it.
    let session = database.session().await;
    are_kept_alive(&session).await.unwrap();
    assert!(!guard.is_lost());
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_ends_the_guard_when_it_ends_the_hold() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let captured = mutexes.capture(&id).owner(owner("me")).await.unwrap();
    let session = database.session().await;
    // The fallback of 300 seconds, of which one is left.
    session
        .run("update pgmutex.mutex_model set auto_release_rule = 'deadline', auto_release_config = 'soon'")
        .await;
    let guard = mutexes.adopt(GuardParts::new(&captured)).await.unwrap();
    assert!(!guard.is_lost());
    drop(guard);
}

#[tokio::test]
async fn changing_a_hold_that_another_has_by_now_says_lost() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    for upgrades in [true, false] {
        let guard = mutexes.read(&id).timeout(LONG).await.unwrap();
        mutexes.force_release(&id, "for a test").await.unwrap();
        let other = mutexes.lock(&id).timeout(LONG).await.unwrap();
        let outcome = match upgrades {
            true => guard.try_upgrade().await.map(drop),
            false => guard.downgrade().await.map(drop),
        };
        assert!(matches!(outcome, Err(Error::Lost { .. })), "{outcome:?}");
        assert!(!attempt(&mutexes, &id).await);
        other.release().await.unwrap();
    }
    // Also if others share it.
    let guard = mutexes.read(&id).timeout(LONG).await.unwrap();
    mutexes.force_release(&id, "for a test").await.unwrap();
    let other = mutexes.read(&id).timeout(LONG).await.unwrap();
    let outcome = guard.try_upgrade().await;
    assert!(matches!(outcome, Err(Error::Lost { .. })), "{outcome:?}");
    drop(other);
}

#[tokio::test]
async fn what_is_attached_by_way_of_the_applications_pool_is_lost_with_its_session() {
    let database = Database::fresh().await;
    let pool = pgmutex::pool_for_url(database.url()).unwrap();
    let mutexes = Mutexes::new(pool);
    let id = mutex_id("m");
    let guard = mutexes.lock(&id).attached().await.unwrap();
    let session = database.session().await;
    session
        .run(
            "select pg_terminate_backend(l.pid) from pg_locks l join pgmutex.hold h \
             on l.locktype = 'advisory' and (l.classid::bigint << 32) + l.objid::bigint = h.auto_release_config::bigint",
        )
        .await;
    must(guard.lost()).await;
    assert!(guard.is_lost());
    // The server's side of the session ends a moment later.
    drop(must(async { mutexes.lock(&id).await }).await.unwrap());
}
