//! Calls for many are prepared where single ones are.

use pgmutex::{
    CapturedAll, Error, MutexBackend, PostgresBackend, PostgresSettings, PreparedStatements,
    SchemaName, deadpool_postgres::Pool,
};

use super::{giving_back, refreshing, wish};
use crate::{
    prepared::{prepared, reconnect, run, statement_of},
    support::{Database, Proxy, pool_of},
};

const HOT_TOGETHER: [&str; 3] = ["capture_together", "refresh_together", "release_together"];

/// A backend on a pool of one connection that prepares from the first call on, and that pool.
fn backend_on_one_connection(url: &str) -> (PostgresBackend, Pool) {
    let pool = pool_of(url, 1);
    let mut settings = PostgresSettings::default();
    settings.prepared_statements = PreparedStatements::Always;
    let backend = PostgresBackend::new(pool.clone(), SchemaName::default(), settings);
    (backend, pool)
}

/// Captures, refreshes and releases three mutexes together; says how many of these nine requests were
/// left alone.
async fn together(backend: &PostgresBackend) -> usize {
    let ids = ["1", "2", "3"];
    let wishes = ids.map(|id| wish(id, "a"));
    let refreshes = ids.map(|id| refreshing(id, "a"));
    let releases = ids.map(|id| giving_back(id, "a"));
    let captured = backend.capture_together(&wishes).await.unwrap();
    let refreshed = backend.refresh_together(&refreshes).await.unwrap();
    let released = backend.release_together(&releases).await.unwrap();
    let captured_alone = captured.iter().filter(|answer| answer.is_none()).count();
    let alone = captured_alone
        + refreshed.iter().filter(|answer| answer.is_none()).count()
        + released.iter().filter(|answer| answer.is_none()).count();
    for answer in captured.into_iter().flatten() {
        assert!(matches!(answer, Ok(CapturedAll::Captured(_))));
    }
    // What was left alone is not held.
    let are_held = captured_alone == 0;
    for answer in refreshed.into_iter().flatten() {
        match answer {
            Ok(mutex) => assert!(are_held, "{mutex:?}"),
            Err(error) => assert!(!are_held && matches!(error, Error::Lost { .. }), "{error}"),
        }
    }
    for answer in released.into_iter().flatten() {
        assert_eq!(answer.unwrap().is_released(), are_held);
    }
    alone
}

#[tokio::test]
async fn those_who_travel_together_are_prepared_too() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let (backend, pool) = backend_on_one_connection(proxy.url());
    assert_eq!(together(&backend).await, 0);
    let before = proxy.requests();
    assert_eq!(together(&backend).await, 0);
    assert_eq!(proxy.requests() - before, 3);
    assert_eq!(prepared(&pool).await, HOT_TOGETHER);
}

/// The function of that place, in the order in which `together` calls them, is answered for by another
/// statement. How many requests that leaves alone, and whether they are prepared afterwards.
async fn with_another(
    place: usize,
    other: impl Fn(&[(String, String, String)]) -> (String, String),
) -> (usize, bool) {
    let database = Database::fresh().await;
    let (backend, pool) = backend_on_one_connection(database.url());
    assert_eq!(together(&backend).await, 0);
    let mut all = Vec::new();
    for function in HOT_TOGETHER {
        all.push(statement_of(&pool, function).await);
    }
    let (statement, types) = other(&all);
    let (name, before, _) = &all[place];
    assert_ne!(&statement, before);
    let replace = format!("deallocate {name}; prepare {name} ({types}) as {statement}");
    run(&pool, &replace).await;
    let alone = together(&backend).await;
    run(
        &pool,
        "delete from pgmutex.mutex_model where mutex_id in ('1', '2', '3')",
    )
    .await;
    reconnect(&pool).await;
    assert_eq!(together(&backend).await, 0);
    (alone, prepared(&pool).await == HOT_TOGETHER)
}

/// An answer without rows is one that says that all are left alone, and nothing more.
#[tokio::test]
async fn nobody_is_answered_by_a_statement_that_was_not_meant() {
    for place in 0..3 {
        // The same of another schema or version, whose gate is another.
        let of_another_version = with_another(place, |all| {
            let (_, statement, types) = &all[place];
            (statement.replace("'pgmutex/", "'elsewhere/"), types.clone())
        });
        assert_eq!(of_another_version.await, (3, true), "{place}");
        // Another of these.
        let mixed_up = with_another(place, |all| {
            let (_, statement, types) = &all[(place + 1) % 3];
            (statement.clone(), types.clone())
        });
        assert_eq!(mixed_up.await, (0, false), "{place}");
    }
}
