//! Until when a guard may be relied on, for those who must have stopped by then.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::poll;
use pgmutex::Guard;

use super::{Over, are_kept_alive, holds, in_time, must, over};
use crate::support::{Database, mutex_id};

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// Where trust ends after the next heartbeat.
async fn moved(guard: &Guard, known: Instant) -> Result<Instant, Over> {
    must(async {
        tokio::select! {
            moved = guard.trust_moved(Some(known)) => Ok(moved.unwrap()),
            () = guard.lost() => Err(over(guard)),
        }
    })
    .await
}

#[tokio::test]
async fn each_heartbeat_moves_the_end_of_trust_on() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    in_time(async || -> Result<(), Over> {
        let before = Instant::now();
        let guard = mutexes.lock(mutex_id("m")).timeout(SHORT).await.unwrap();
        let first = guard.trusted_until().unwrap();
        // Counted from the question, and less than the database gives.
        assert!(before + SHORT / 2 < first && first < Instant::now() + SHORT);
        let second = moved(&guard, first).await?;
        assert!(second > first);
        // Who has not heard of it yet need not wait.
        assert!(must(guard.trust_moved(Some(first))).await >= Some(second));
        let third = moved(&guard, second).await?;
        assert!(third > second);
        holds(&guard)
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_no_time_ends_is_trusted_without_end() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let attached = mutexes.lock(mutex_id("a")).attached().await.unwrap();
    assert_eq!(attached.trusted_until(), None);
    let long = mutexes.lock(mutex_id("c")).timeout(LONG).await.unwrap();
    let known = long.trusted_until();
    let mut moved = pin!(long.trust_moved(known));
    assert!(poll!(&mut moved).is_pending());
    mutexes.force_release(long.id(), "test").await.unwrap();
    mutexes.force_release(attached.id(), "test").await.unwrap();
    in_time(async || -> Result<(), Over> {
        // Nothing is kept alive beyond its longest hold, whatever the heartbeats say.
        let bounded = mutexes.lock(mutex_id("b")).timeout(SHORT).max_hold(LONG);
        let bounded = bounded.await.unwrap();
        assert!(bounded.trusted_until().unwrap() < Instant::now() + LONG);
        are_kept_alive(&session).await
    })
    .await;
    assert!(poll!(&mut moved).is_pending());
}
