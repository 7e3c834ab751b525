use std::{future::IntoFuture, pin::pin, time::Duration};

use chrono::DateTime;
use futures_util::poll;
use pgmutex::{Access, AutoRelease, Error, GuardState, MutexQuery, TryLocked, Upgrade};

use super::must;
use crate::support::{Database, mutex_id};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_lock_holds_until_it_is_released() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let guard = must(async { mutexes.lock(&id).timeout(LONG).await })
        .await
        .unwrap();
    assert_eq!(guard.state(), GuardState::Held);
    let TryLocked::Busy(holder) = mutexes.try_lock(&id).await.unwrap() else {
        panic!("two guards");
    };
    assert_eq!(holder.fencing_token, guard.fencing_token());
    let released = guard.release().await.unwrap();
    assert!(released.is_released());
    assert!(mutexes.try_lock(&id).await.unwrap().guard().is_some());
}

#[tokio::test]
async fn whoever_waits_gets_it_when_it_is_released() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let first = mutexes.lock(&id).timeout(LONG).await.unwrap();
    let mut second = pin!(async { mutexes.lock(&id).wait(LONG).await });
    assert!(poll!(&mut second).is_pending());
    let session = database.session().await;
    must(
        session.ask_until("select count(*)::text from pgmutex.waiting", |count| {
            count == "1"
        }),
    )
    .await;
    let token = first.fencing_token();
    first.release().await.unwrap();
    let second = must(second).await.unwrap();
    assert!(second.fencing_token() > token);
    assert_eq!(
        session
            .ask("select count(*)::text from pgmutex.waiting")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_wait_that_is_too_short_ends_with_the_holder_and_leaves_the_line() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let first = mutexes.lock(&id).timeout(LONG).await.unwrap();
    let mut known = None;
    for _ in 0..20 {
        let refused = must(async { mutexes.lock(&id).wait(Duration::from_millis(50)).await }).await;
        let Err(Error::Timeout { holder, .. }) = refused else {
            panic!("{refused:?}");
        };
        // The time may be up before it is known who holds it.
        known = holder;
        if known.is_some() {
            break;
        }
    }
    assert_eq!(known.unwrap().fencing_token, first.fencing_token());
    let session = database.session().await;
    must(
        session.ask_until("select count(*)::text from pgmutex.waiting", |count| {
            count == "0"
        }),
    )
    .await;
}

#[tokio::test]
async fn readers_share_and_a_writer_waits_for_them() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let (a, b) = (
        mutexes.read(&id).timeout(LONG).await.unwrap(),
        mutexes.read(&id).timeout(LONG).await.unwrap(),
    );
    assert!(mutexes.try_lock(&id).await.unwrap().guard().is_none());
    a.release().await.unwrap();
    let Upgrade::Upgraded(b) = b.try_upgrade().await.unwrap() else {
        panic!("it is alone");
    };
    assert!(mutexes.try_read(&id).await.unwrap().guard().is_none());
    let b = b.downgrade().await.unwrap();
    assert!(mutexes.try_read(&id).await.unwrap().guard().is_some());
    drop(b);
}

#[tokio::test]
async fn a_dropped_guard_is_released_in_the_background() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    drop(mutexes.lock(&id).await.unwrap());
    must(mutexes.shutdown()).await;
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
    drop(mutexes.lock(&id).await.unwrap());
    must(async { mutexes.lock(&id).await })
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}

#[tokio::test]
async fn several_are_locked_together() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    let held = mutexes.lock(&b).timeout(LONG).await.unwrap();
    let mut both = pin!(async {
        mutexes
            .lock_all([(&a, Access::Exclusive), (&b, Access::Exclusive)])
            .timeout(LONG)
            .await
    });
    assert!(poll!(&mut both).is_pending());
    let session = database.session().await;
    must(
        session.ask_until("select count(*)::text from pgmutex.waiting", |count| {
            count == "2"
        }),
    )
    .await;
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
    held.release().await.unwrap();
    let guards = must(both).await.unwrap();
    assert_eq!(guards.len(), 2);
    assert_eq!(guards[0].id(), &a);
}

#[tokio::test]
async fn several_are_tried_together_and_none_is_had_if_one_is_busy() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    let both = [(&a, Access::Exclusive), (&b, Access::Exclusive)];
    let held = mutexes.lock(&b).timeout(LONG).await.unwrap();
    let TryLocked::Busy(holder) = mutexes.try_lock_all(both).await.unwrap() else {
        panic!("not busy");
    };
    assert_eq!(holder.fencing_token, held.fencing_token());
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
    // Not willing to wait is another thing: the time is up at once, as with a single one.
    let refused = [
        must(mutexes.lock(&b).wait(Duration::ZERO).into_future())
            .await
            .map(drop),
        must(mutexes.lock_all(both).wait(Duration::ZERO).into_future())
            .await
            .map(drop),
    ];
    for refused in refused {
        let Err(Error::Timeout { .. }) = refused else {
            panic!("{refused:?}");
        };
    }
    // They may have been told before they were out of the line.
    must(mutexes.shutdown()).await;
    held.release().await.unwrap();
    let guards = mutexes.try_lock_all(both).await.unwrap().guard().unwrap();
    let ids: Vec<_> = guards.iter().map(|guard| guard.id()).collect();
    assert_eq!(ids, [&a, &b]);
}

#[tokio::test]
async fn several_are_held_under_the_rule_that_was_asked_for() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    let both = [(&a, Access::Exclusive), (&b, Access::shared())];
    let deadline = DateTime::parse_from_rfc3339("2999-01-01T00:00:00Z").unwrap();
    let guards = mutexes.lock_all(both).deadline(deadline.to_utc());
    for guard in must(guards.into_future()).await.unwrap() {
        let rule = AutoRelease::Deadline(deadline.to_utc());
        assert_eq!(guard.mutex().auto_release, rule);
        guard.release().await.unwrap();
    }
    let contradictory = mutexes.lock_all(both).auto_release(AutoRelease::Never);
    let refused = contradictory.timeout(Duration::from_secs(7)).await;
    assert!(matches!(refused, Err(Error::InvalidRule { .. })));
    let twice = [both[1], both[0], both[1]];
    let refused = mutexes.lock_all(twice).await.unwrap_err().to_string();
    assert_eq!(refused, "ids names tests/step/b twice");
}

#[tokio::test]
async fn work_runs_with_the_guard_and_releases() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let shared = mutexes.clone();
    let token = tokio::spawn(async move {
        let id = mutex_id("m");
        shared
            .lock(&id)
            .with(async |guard| {
                tokio::task::yield_now().await;
                guard.fencing_token()
            })
            .await
    })
    .await
    .unwrap()
    .unwrap();
    assert!(token.get() > 0);
    assert!(mutexes.request(&id).await.unwrap().is_free());
}

#[tokio::test]
async fn an_attached_hold_ends_with_the_session() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    let guard = mutexes.lock(&id).attached().await.unwrap();
    let waiting = tokio::spawn({
        let (mutexes, id) = (database.mutexes().await, id.clone());
        async move { mutexes.lock(&id).wait(LONG).await }
    });
    let session = database.session().await;
    must(
        session.ask_until("select count(*)::text from pgmutex.waiting", |count| {
            count == "1"
        }),
    )
    .await;
    session.run("select pg_terminate_backend(l.pid) from pg_locks l join pgmutex.hold h on l.locktype = 'advisory' and (l.classid::bigint << 32) + l.objid::bigint = h.auto_release_config::bigint").await;
    must(guard.lost()).await;
    assert!(guard.is_lost());
    drop(must(waiting).await.unwrap().unwrap());
}
