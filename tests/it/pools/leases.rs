//! Checkouts: a session stays with its worker until it is given back or the worker is gone.

use std::{future::IntoFuture, pin::pin, time::Duration};

use futures_util::poll;
use pgmutex::{Error, Period, SessionFilter, SessionPool, SessionUpdate};
use serde::{Deserialize, Serialize};

use crate::{
    guards::{in_line, must},
    support::Database,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    login: String,
}

fn account(login: &str) -> Account {
    Account {
        login: login.to_owned(),
    }
}

#[tokio::test]
async fn what_is_checked_out_comes_back_when_it_is_given_back() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let pool: SessionPool<Account> =
        SessionPool::new(&mutexes, "p").with_next_use_delay(Duration::ZERO);
    let ada = pool.add(&account("ada")).await.unwrap();
    let first = must(pool.checkout().into_future()).await.unwrap();
    assert_eq!(
        (first.session().id, first.payload()),
        (ada.id, &ada.payload)
    );
    let none = pool.checkout().await.unwrap_err();
    assert!(matches!(none, Error::NoneAvailable { .. }), "{none:?}");
    let none = pool.get_session().await.unwrap_err();
    assert!(matches!(none, Error::NoneAvailable { .. }), "{none:?}");
    let other = database.mutexes().await;
    let of_other: SessionPool<Account> = SessionPool::new(&other, "p");
    let late = of_other.checkout().wait(Duration::from_millis(20)).await;
    assert!(matches!(late, Err(Error::NoneAvailable { waited, .. }) if !waited.is_zero()));
    // It may have been told before it was even in line.
    other.shutdown().await;
    in_line(&s, 0).await;

    let mut second = pin!(pool.checkout().wait_forever().into_future());
    assert!(poll!(&mut second).is_pending());
    in_line(&s, 1).await;
    first.success(1).await.unwrap();
    first.give_back().await.unwrap();
    let second = must(second).await.unwrap();
    assert!(second.fencing_token().get() > 0);
    let mut third = pin!(pool.checkout().wait_forever().into_future());
    assert!(poll!(&mut third).is_pending());
    in_line(&s, 1).await;
    drop(second);
    let third = must(third).await.unwrap();
    third.block(Period::hours(1.0)).await.unwrap();
    let statistics = pool.aggregate_statistics().await.unwrap();
    assert_eq!(
        (statistics.total, statistics.blocked, statistics.in_use),
        (1, 1, 0)
    );
    assert_eq!((statistics.uses, statistics.successes), (3, 1));
    mutexes.shutdown().await;
}

#[tokio::test]
async fn documents_and_filters() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let pool: SessionPool = SessionPool::new(&mutexes, "p");
    let one = pool
        .add(&serde_json::json!({"session": {"phone": 1, "mail": "m"}}))
        .await
        .unwrap();
    let update = SessionUpdate::new()
        .set("session.phone", 2)
        .unset("session.mail");
    let updated = pool.session_update(one.id, update).await.unwrap();
    assert_eq!(
        updated.payload,
        serde_json::json!({"session": {"phone": 2}})
    );
    let found = pool
        .find(SessionFilter::all().equal("session.phone", 2), None, None)
        .await
        .unwrap();
    assert_eq!(found, [updated]);
    let nobody = pool.session_lock(one.id + 1, None).await.unwrap_err();
    assert!(matches!(nobody, Error::UnknownSession { .. }), "{nobody:?}");
    assert_eq!(pool.count_active().await.unwrap(), 1);
    pool.session_inactive(one.id).await.unwrap();
    assert_eq!(pool.count_active().await.unwrap(), 0);
    assert_eq!(pool.get_sessions().await.unwrap(), []);
    pool.session_activate(one.id).await.unwrap();
    pool.create_index("session.phone").await.unwrap();
    assert_eq!(pool.index_information().await.unwrap().len(), 1);
    assert!(pool.drop_index("session.phone").await.unwrap());
    pool.session_delete(one.id).await.unwrap();
    assert_eq!(pool.count(SessionFilter::all()).await.unwrap(), 0);
}
