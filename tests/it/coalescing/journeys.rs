//! What travels in one transaction.

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use pgmutex::{Access, Coalescing, Error, MutexId, Mutexes, Result};

use crate::support::{Database, Session, Travel, both_ways, mutex_id, owner};

const MANY: usize = 64;

/// In how many transactions the rows were written that are there now.
async fn transactions(session: &Session, rows: &str) -> usize {
    let count = format!("select count(distinct xmin::text)::text from pgmutex.{rows}");
    session.ask(&count).await.parse().unwrap()
}

fn ids() -> impl Iterator<Item = MutexId> {
    (0..MANY).map(|number| mutex_id(&number.to_string()))
}

async fn capture_all_at_once(mutexes: &Mutexes) {
    let captures = ids().map(|id| mutexes.capture(id).owner(owner("me")).into_future());
    let captured: Result<Vec<_>> = join_all(captures).await.into_iter().collect();
    let captured = captured.unwrap();
    assert!(
        captured
            .iter()
            .map(|captured| captured.id.clone())
            .eq(ids())
    );
}

/// The first two go at once. All others came meanwhile.
#[tokio::test]
async fn many_travel_in_three_transactions() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    mutexes.enable_audit().await.unwrap();
    capture_all_at_once(&mutexes).await;
    assert_eq!(transactions(&session, "mutex_model").await, 3);

    let refreshes = ids().map(|id| mutexes.refresh(&id).owner(owner("me")).into_future());
    let refreshed: Result<Vec<_>> = join_all(refreshes).await.into_iter().collect();
    let refreshed = refreshed.unwrap();
    assert!(refreshed.iter().map(|mutex| mutex.id.clone()).eq(ids()));
    assert_eq!(transactions(&session, "mutex_model").await, 3);

    let releases = ids().map(|id| mutexes.release(&id).owner(owner("me")).into_future());
    for released in join_all(releases).await {
        assert!(released.unwrap().is_released());
    }
    assert_eq!(
        transactions(&session, "audit where event = 'released'").await,
        3
    );
    let left = session
        .ask("select count(*)::text from pgmutex.mutex_model")
        .await;
    assert_eq!(left, "0");
}

#[tokio::test]
async fn each_travels_alone_where_that_is_wanted() {
    let database = Database::fresh().await;
    let mutexes = Travel::Alone.mutexes(&database).await;
    capture_all_at_once(&mutexes).await;
    let session = database.session().await;
    assert_eq!(transactions(&session, "mutex_model").await, MANY);
}

#[tokio::test]
async fn a_backend_put_together_by_hand_travels_too() {
    let database = Database::fresh().await;
    let mutexes = Mutexes::builder().backend(Coalescing::new(database.backend()));
    capture_all_at_once(&mutexes).await;
    let session = database.session().await;
    assert_eq!(transactions(&session, "mutex_model").await, 3);
}

#[tokio::test]
async fn one_after_the_other_each_travels_alone() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    for id in ids() {
        mutexes.capture(id).owner(owner("me")).await.unwrap();
    }
    let session = database.session().await;
    assert_eq!(transactions(&session, "mutex_model").await, MANY);
}

/// Requests of every kind, each with the answer that it would have had alone.
async fn what_is_wrong_with_one_is_not_the_others_answer(travel: Travel) {
    let database = Database::fresh().await;
    let mutexes = travel.mutexes(&database).await;
    let (me, another) = (owner("me"), owner("another"));
    let (busy, shared, path) = (mutex_id("busy"), mutex_id("shared"), mutex_id("/a/b/"));
    mutexes.capture(&busy).owner(another.clone()).await.unwrap();
    let mine = mutexes.capture(mutex_id("mine")).owner(me.clone()).await;
    let mine = mine.unwrap();
    let capture = |id: &MutexId| mutexes.capture(id).owner(me.clone());
    let past = Utc::now() - TimeDelta::hours(1);
    let many: Vec<_> = ids().map(|id| capture(&id).into_future()).collect();
    let others = ["x", "y"].map(|id| {
        let capture = mutexes.capture(&shared).access(Access::shared());
        capture.owner(owner(id)).into_future()
    });
    let (many, others, refused, senseless, path, again) = tokio::join!(
        join_all(many),
        join_all(others),
        capture(&busy).into_future(),
        capture(&mutex_id("late")).deadline(past).into_future(),
        capture(&path).into_future(),
        capture(&mine.id).into_future(),
    );
    for (captured, id) in many.into_iter().zip(ids()) {
        assert_eq!(captured.unwrap().id, id);
    }
    for other in others {
        assert_eq!(other.unwrap().id, shared);
    }
    match refused {
        Err(Error::Busy { id, holder, .. }) => {
            assert_eq!((id, &holder.owner), (busy.clone(), &another));
        }
        other => panic!("{other:?}"),
    }
    assert!(senseless.is_err(), "{senseless:?}");
    path.unwrap();
    assert_eq!(again.unwrap().fencing_token, mine.fencing_token);

    let refresh = |id: &MutexId| mutexes.refresh(id).owner(me.clone()).into_future();
    let missing = mutex_id("missing");
    let (many, lost, refused) = tokio::join!(
        join_all(ids().map(|id| refresh(&id))),
        refresh(&missing),
        refresh(&busy),
    );
    assert!(many.into_iter().all(|refreshed| refreshed.is_ok()));
    assert!(matches!(lost, Err(Error::Lost { id, .. }) if id == missing));
    assert!(matches!(refused, Err(Error::Busy { id, .. }) if id == busy));

    let release = |id: &MutexId| mutexes.release(id).owner(me.clone()).into_future();
    let (many, not_held, refused) = tokio::join!(
        join_all(ids().map(|id| release(&id))),
        release(&missing),
        release(&busy),
    );
    assert!(
        many.into_iter()
            .all(|released| released.unwrap().is_released())
    );
    assert!(!not_held.unwrap().is_released());
    assert!(matches!(refused, Err(Error::Busy { id, .. }) if id == busy));
}

both_ways! {
    what_is_wrong_with_one_is_not_the_others_answer
}
