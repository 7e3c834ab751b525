//! Calls that are given up among others.

use std::time::Duration;

use futures_util::{future::join_all, poll};
use pgmutex::{Captured, Error, Mutexes, deadpool_postgres::Pool};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    guards::{
        cancelling::{give_up, nothing_stays},
        must,
    },
    support::{Database, Session, Travel, both_ways, mutex_id, owner, pool_of},
};

/// One of many: after so many looks it is given up.
async fn visit(mutexes: &Mutexes, number: usize) {
    let id = mutex_id(&(number % 4).to_string());
    for polls in 0..6 {
        let lock = mutexes.lock(&id).timeout(Duration::from_secs(3600));
        let visit = async {
            let guard = lock.await.unwrap();
            tokio::task::yield_now().await;
            guard.release().await.unwrap()
        };
        let polls = (polls + number) % 6;
        if let Some(released) = give_up(visit, polls, number.is_multiple_of(3)).await {
            assert!(released.is_released());
        }
    }
}

async fn nothing_stays_of_many_that_are_given_up(travel: Travel) {
    let database = Database::fresh().await;
    let mutexes = travel.mutexes(&database).await;
    let session = database.session().await;
    for _ in 0..3 {
        must(join_all((0..24).map(|number| visit(&mutexes, number)))).await;
        nothing_stays(&session).await;
    }
}

/// Of captures that are given up, others at the same time are not harmed.
async fn the_others_get_their_answers(travel: Travel) {
    let database = Database::fresh().await;
    let mutexes = travel.mutexes(&database).await;
    for round in 0..20 {
        let me = owner(&format!("round {round}"));
        let capture = |number: usize| {
            let id = mutex_id(&format!("{round} {number}"));
            let capture = mutexes.capture(id).owner(me.clone());
            async move {
                match number % 2 {
                    0 => Some(capture.await),
                    _ => give_up(IntoFuture::into_future(capture), number / 2 % 4, false).await,
                }
            }
        };
        let answers = must(join_all((0..24).map(capture))).await;
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Some(answer) => {
                    let id = mutex_id(&format!("{round} {number}"));
                    assert_eq!(answer.unwrap().id, id);
                }
                None => assert_eq!(number % 2, 1),
            }
        }
    }
}

/// Mutexes with one connection, which waits for another transaction on behalf of a capture.
async fn with_the_connection_taken(
    travel: Travel,
    database: &Database,
    blocker: &Session,
) -> (Mutexes, Pool, JoinHandle<pgmutex::Result<Captured>>) {
    blocker.run("begin").await;
    blocker.capture("slow", "blocker").await;
    let pool = pool_of(database.url(), 1);
    let mutexes = travel.builder().pool(pool.clone());
    let asking = mutexes.clone();
    let slow = tokio::spawn(async move {
        let id = mutex_id("slow");
        asking.capture(&id).owner(owner("slow")).await
    });
    let observer = database.session().await;
    let blocked = "select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    must(observer.ask_until(blocked, |count| count == "1")).await;
    (mutexes, pool, slow)
}

/// Captures that are given up at once, while those before and after them go on.
async fn those_not_sent_are_not_made(travel: Travel) {
    let database = Database::fresh().await;
    let blocker = database.session().await;
    let (mutexes, _, slow) = with_the_connection_taken(travel, &database, &blocker).await;
    let mut asking: Vec<_> = (0..6)
        .map(|number: usize| {
            let capture = mutexes.capture(mutex_id(&number.to_string()));
            capture.owner(owner("me")).into_future()
        })
        .collect();
    for each in &mut asking {
        assert!(poll!(each).is_pending());
    }
    drop(asking.remove(3));
    blocker.run("rollback").await;
    must(slow).await.unwrap().unwrap();
    for captured in must(join_all(asking)).await {
        captured.unwrap();
    }
    let held = "select string_agg(mutex_id, ' ' order by mutex_id) from pgmutex.mutex_model";
    assert_eq!(blocker.ask(held).await, "0 1 2 4 5 slow");
}

/// They have left their queue, and wait for a connection when they are given up.
async fn nothing_is_made_that_nobody_waits_for(travel: Travel) {
    let database = Database::fresh().await;
    let blocker = database.session().await;
    let (mutexes, pool, slow) = with_the_connection_taken(travel, &database, &blocker).await;
    let capture = |id: &str| {
        let capture = mutexes.capture(mutex_id(id));
        capture.owner(owner("me")).into_future()
    };
    let mut second = capture("second");
    assert!(poll!(&mut second).is_pending());
    let mut asking = join_all(["3", "4", "5"].map(capture));
    let wait_for_connections = async {
        while pool.status().waiting < 2 {
            assert!(poll!(&mut asking).is_pending());
            sleep(Duration::from_millis(1)).await;
        }
    };
    must(wait_for_connections).await;
    drop(asking);
    blocker.run("rollback").await;
    must(slow).await.unwrap().unwrap();
    must(second).await.unwrap();
    // It comes after them for the connection, if they still wait for it.
    must(capture("last")).await.unwrap();
    let held = "select string_agg(mutex_id, ' ' order by mutex_id) from pgmutex.mutex_model";
    assert_eq!(blocker.ask(held).await, "last second slow");
}

/// What an application holds and does not look at, because it does something else in between,
/// stops none of its other calls.
async fn one_that_nobody_looks_at_stops_nobody(travel: Travel) {
    let database = Database::fresh().await;
    let mutexes = travel.mutexes(&database).await;
    let (me, held, other) = (owner("me"), mutex_id("held"), mutex_id("other"));
    let mut capturing = mutexes.capture(&held).owner(me.clone()).into_future();
    assert!(poll!(&mut capturing).is_pending());
    must(IntoFuture::into_future(
        mutexes.capture(&other).owner(me.clone()),
    ))
    .await
    .unwrap();
    let mut releasing = IntoFuture::into_future(mutexes.release(&held).owner(me.clone()));
    assert!(poll!(&mut releasing).is_pending());
    let released = must(IntoFuture::into_future(mutexes.release(&other).owner(me))).await;
    assert!(released.unwrap().is_released());
    must(capturing).await.unwrap();
}

/// A mutex that another transaction decides about, for as long as it likes.
async fn one_that_is_slow_stops_nobody(travel: Travel) {
    let database = Database::fresh().await;
    let mutexes = travel.mutexes(&database).await;
    let blocker = database.session().await;
    blocker.run("begin").await;
    blocker.capture("m", "blocker").await;
    let slow = mutexes.clone();
    let slow = tokio::spawn(async move {
        let id = mutex_id("m");
        slow.capture(&id).owner(owner("slow")).await
    });
    let observer = database.session().await;
    let blocked = "select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    must(observer.ask_until(blocked, |count| count == "1")).await;
    let captures = (0..24).map(|number| {
        let id = mutex_id(&number.to_string());
        let capture = mutexes.capture(id).owner(owner("quick"));
        IntoFuture::into_future(capture)
    });
    for captured in must(join_all(captures)).await {
        captured.unwrap();
    }
    assert!(!slow.is_finished(), "they have waited for it");
    blocker.run("commit").await;
    let refused = must(slow).await.unwrap();
    assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
}

both_ways! {
    nothing_stays_of_many_that_are_given_up
    the_others_get_their_answers
    those_not_sent_are_not_made
    nothing_is_made_that_nobody_waits_for
    one_that_nobody_looks_at_stops_nobody
    one_that_is_slow_stops_nobody
}
