//! Two who keep what the other waits for: refused, with both mutexes named, instead of waiting for
//! ever.

use std::{future::IntoFuture, time::Duration};

use pgmutex::{Error, Guard, Lock, MutexId, Mutexes};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{held, in_line, must};
use crate::support::{Database, mutex_id};

const LONG: Duration = Duration::from_secs(3600);

fn lock(mutexes: &Mutexes, id: &MutexId) -> Lock {
    mutexes.lock(id).timeout(LONG)
}

fn wait_for(lock: Lock) -> JoinHandle<Result<Guard, Error>> {
    tokio::spawn(lock.into_future())
}

fn names_both(refused: &Error) {
    let Error::WaitCircle { circle, .. } = refused else {
        panic!("{refused:?}");
    };
    for name in ["tests/step/a", "tests/step/b"] {
        assert!(circle.contains(name), "{circle}");
    }
    assert!(
        refused.to_string().contains("release what you hold"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_circle_that_was_told_of_is_refused_and_the_other_goes_on() {
    let database = Database::fresh().await;
    let (ours, theirs) = (database.mutexes().await, database.mutexes().await);
    let (session, a, b) = (database.session().await, mutex_id("a"), mutex_id("b"));
    let has_a = must(lock(&ours, &a).into_future()).await.unwrap();
    let has_b = must(lock(&theirs, &b).into_future()).await.unwrap();
    let wants_b = wait_for(lock(&ours, &b).while_holding(&has_a));
    in_line(&session, 1).await;
    let refused = must(lock(&theirs, &a).while_holding(&has_b).into_future()).await;
    names_both(&refused.unwrap_err());
    // Also for several at once, and by the token alone.
    let both = [
        (&a, pgmutex::Access::Exclusive),
        (&mutex_id("c"), pgmutex::Access::Exclusive),
    ];
    let refused = must(theirs.lock_all(both).while_holding(&has_b).into_future()).await;
    names_both(&refused.unwrap_err());
    let by_token = theirs
        .lock_all(both)
        .while_holding_token(has_b.fencing_token());
    names_both(&must(by_token.into_future()).await.unwrap_err());
    let by_token = lock(&theirs, &a).while_holding_token(has_b.fencing_token());
    names_both(&must(by_token.into_future()).await.unwrap_err());
    in_line(&session, 1).await;
    // The one who was refused makes way, and then waits its turn.
    has_b.release().await.unwrap();
    let got_b = must(wants_b).await.unwrap().unwrap();
    let wants_a = wait_for(lock(&theirs, &a));
    in_line(&session, 1).await;
    drop((got_b, has_a));
    drop(must(wants_a).await.unwrap().unwrap());
    held(&session, 0).await;
}

#[tokio::test]
async fn inside_of_work_a_circle_is_known_without_being_told_of() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    for with in [true, false] {
        let (a, b) = (mutex_id("a"), mutex_id("b"));
        let guard = must(lock(&mutexes, &a).into_future()).await.unwrap();
        let (has_b, may_go_on) = oneshot::channel();
        let other = tokio::spawn({
            let (mutexes, a, b) = (mutexes.clone(), a.clone(), b.clone());
            async move {
                let guard = lock(&mutexes, &b).await.unwrap();
                let work = async {
                    has_b.send(()).unwrap();
                    lock(&mutexes, &a).await.unwrap().release().await.unwrap();
                };
                match with {
                    true => guard.with(async |_| work.await).await,
                    false => guard.run_until_lost(work).await.unwrap(),
                }
            }
        });
        let work = async {
            may_go_on.await.unwrap();
            in_line(&session, 1).await;
            must(lock(&mutexes, &b).into_future()).await
        };
        let refused = match with {
            true => guard.with(async |_| work.await).await,
            false => guard.run_until_lost(work).await.unwrap(),
        };
        names_both(&refused.unwrap_err());
        // The mutex was released with the work: the other goes on.
        must(other).await.unwrap();
        held(&session, 0).await;
    }
}

#[tokio::test]
async fn what_is_no_circle_is_not_refused() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    // Nobody said that these guards are kept: two tasks may well release them.
    let has_a = must(lock(&mutexes, &a).into_future()).await.unwrap();
    let has_b = must(lock(&mutexes, &b).into_future()).await.unwrap();
    let wants_b = wait_for(lock(&mutexes, &b));
    let wants_a = wait_for(lock(&mutexes, &a));
    in_line(&session, 2).await;
    drop((has_a, has_b));
    drop((
        must(wants_a).await.unwrap().unwrap(),
        must(wants_b).await.unwrap().unwrap(),
    ));
    held(&session, 0).await;
    // Who waits while keeping something waits for someone who waits for nothing.
    let has_a = must(lock(&mutexes, &a).into_future()).await.unwrap();
    let has_b = must(lock(&mutexes, &b).into_future()).await.unwrap();
    let wants_b = wait_for(lock(&mutexes, &b).while_holding(&has_a));
    in_line(&session, 1).await;
    drop(has_b);
    drop(must(wants_b).await.unwrap().unwrap());
    // One of two permits comes free without the one who waits for the first.
    let permit = |id| mutexes.acquire(id, 2).timeout(LONG).into_future();
    let one = must(permit(&b)).await.unwrap();
    let two = must(permit(&b)).await.unwrap();
    let wants_a = wait_for(lock(&mutexes, &a).while_holding(&one));
    in_line(&session, 1).await;
    let wants_permit = wait_for(mutexes.acquire(&b, 2).timeout(LONG).while_holding(&has_a));
    in_line(&session, 2).await;
    drop(two);
    drop(must(wants_permit).await.unwrap().unwrap());
    drop(has_a);
    drop(must(wants_a).await.unwrap().unwrap());
}
