//! A checkout that is given up, wherever: no lease, no ticket and no transaction stays.

use std::{future::IntoFuture, pin::pin, time::Duration};

use futures_util::poll;
use pgmutex::{Error, SessionPool};

use super::steps::add;
use crate::{
    guards::cancelling::{at_every_await, nothing_stays},
    support::Database,
};

const LONG: Duration = Duration::from_secs(3600);

async fn with_sessions(database: &Database) -> SessionPool {
    let mutexes = database.mutexes().await;
    add(&database.session().await, 1).await;
    SessionPool::new(&mutexes, "p").with_next_use_delay(Duration::ZERO)
}

#[tokio::test]
async fn of_a_checkout_that_waits() {
    let database = Database::fresh().await;
    let (pool, s) = (with_sessions(&database).await, database.session().await);
    at_every_await(&s, async || {
        let first = pool.checkout().timeout(LONG).wait(LONG).await.unwrap();
        let mut second = pin!(pool.checkout().timeout(LONG).wait_forever().into_future());
        assert!(poll!(&mut second).is_pending());
        first.give_back().await.unwrap();
        second.await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn of_a_checkout_that_is_attached_and_of_one_in_vain() {
    let database = Database::fresh().await;
    let (pool, s) = (with_sessions(&database).await, database.session().await);
    at_every_await(&s, async || {
        let first = pool.checkout().attached().wait(LONG).await.unwrap();
        let late = pool.checkout().wait(Duration::from_millis(30)).await;
        assert!(matches!(late, Err(Error::NoneAvailable { .. })), "{late:?}");
        let none = pool.checkout().await;
        assert!(matches!(none, Err(Error::NoneAvailable { .. })), "{none:?}");
        first
    })
    .await;
}

#[tokio::test]
async fn of_giving_back() {
    let database = Database::fresh().await;
    let (pool, s) = (with_sessions(&database).await, database.session().await);
    at_every_await(&s, async || {
        let session = pool.checkout().timeout(LONG).wait(LONG).await.unwrap();
        session.success(1).await.unwrap();
        session.lock(Duration::ZERO).await.unwrap();
        let session = pool.checkout().timeout(LONG).wait(LONG).await.unwrap();
        session.block(Duration::ZERO).await.unwrap();
    })
    .await;
}

/// A payload that is not of the type that this program expects.
#[tokio::test]
async fn what_cannot_be_read_is_given_back() {
    let database = Database::fresh().await;
    let (pool, s) = (with_sessions(&database).await, database.session().await);
    drop(pool);
    let mutexes = database.mutexes().await;
    let strict: SessionPool<std::collections::BTreeMap<String, String>> =
        SessionPool::new(&mutexes, "p");
    let error = strict.checkout().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidInput {
                field: "payload",
                ..
            }
        ),
        "{error:?}"
    );
    nothing_stays(&s).await;
}
