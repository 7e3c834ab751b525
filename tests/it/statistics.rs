//! How all mutexes together stand.

use pgmutex::{Error, Mutexes, SessionBackend};

use crate::support::Database;

#[tokio::test]
async fn holds_and_waiters_are_counted_and_the_oldest_are_found() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let nothing = mutexes.statistics().await.unwrap();
    assert_eq!((nothing.holds, nothing.waiters), (0, Some(0)));
    assert_eq!(nothing.oldest_hold_age(), None);
    assert_eq!(nothing.oldest_waiter_age(), None);

    for id in ["old", "over", "new"] {
        session
            .capture_as(id, "me", "auto_release_config => '7200'")
            .await;
    }
    session
        .run("update pgmutex.mutex_model set held_since = held_since - interval '1 hour' where mutex_id = 'old'")
        .await;
    // Over, and older than all.
    session.age("over", "1 day").await;
    session
        .run("update pgmutex.mutex_model set held_since = held_since - interval '1 day' where mutex_id = 'over'")
        .await;
    session
        .run(
            "select pgmutex.capture('tests', 'step', 'new', 'first', wait => true); \
             select pgmutex.capture('tests', 'step', 'new', 'second', wait => true); \
             select pgmutex.capture('tests', 'step', 'new', 'dead', wait => true); \
             update pgmutex.mutex_waiter set seen_at = clock_timestamp() + interval '1 hour'; \
             update pgmutex.mutex_waiter set queued_since = queued_since - interval '10 hours' where owner_session = 'first'; \
             update pgmutex.mutex_waiter set queued_since = queued_since - interval '1 day', \
                                             seen_at = clock_timestamp() - interval '1 minute' \
             where owner_session = 'dead'",
        )
        .await;
    let found = mutexes.statistics().await.unwrap();
    assert_eq!((found.holds, found.holds_over), (3, 1));
    assert!(!found.holds_are_estimated);
    assert_eq!(found.oldest_hold_age().unwrap().num_hours(), 1);
    assert_eq!(found.waiters, Some(2));
    assert_eq!(found.oldest_waiter_age().unwrap().num_hours(), 10);
    assert_eq!(mutexes.sweep().await.unwrap(), 1);
    assert_eq!(mutexes.statistics().await.unwrap().holds_over, 0);
}

#[tokio::test]
async fn no_more_is_looked_at_than_is_allowed() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run(
            "select count(*) from generate_series(1, 50) n, lateral pgmutex.capture('g', 'm', n::text, 's') c; \
             analyze pgmutex.mutex_model",
        )
        .await;
    let statistics = |most: &str| {
        format!("select concat_ws(' ', holds, holds_are_estimated) from pgmutex.statistics({most})")
    };
    assert_eq!(session.ask(&statistics("")).await, "50 f");
    // What is not counted is estimated.
    assert_eq!(session.ask(&statistics("10")).await, "50 t");
    let refused = session.try_ask(&statistics("0")).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "PM003", "{refused}");
}

#[tokio::test]
async fn foreign_rows_do_not_disturb_the_statistics() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    session.capture("strange", "me").await;
    session
        .run("update pgmutex.mutex_model set held_since = '-infinity', captured_since = 'infinity'")
        .await;
    let found = mutexes.statistics().await.unwrap();
    assert_eq!((found.holds, found.oldest_hold_since), (1, None));
}

#[tokio::test]
async fn without_postgresql_there_are_no_statistics() {
    let mutexes = Mutexes::builder().backend(SessionBackend::new());
    let refused = mutexes.statistics().await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
}
