//! Prepared statements: behind a pooler that lends sessions there are none, and where they are forced
//! on nothing comes of it but that they are given up.

use std::collections::BTreeSet;

use pgmutex::{
    MutexId, MutexOwner, MutexQuery, Mutexes, PreparedStatements, SchemaName, pool_for_url,
};
use tokio::task::JoinSet;

use crate::support::{Database, POOL_SIZE, owner};

/// How often each process captures, refreshes and releases.
const ROUNDS: usize = 400;

/// Mutexes with a pool of their own, as another process would have.
fn process(url: &str, schema: &str, prepared_statements: PreparedStatements) -> Mutexes {
    Mutexes::builder()
        .schema(SchemaName::new(schema).unwrap())
        .prepared_statements(prepared_statements)
        .pool(pool_for_url(url).unwrap())
}

/// Captures, refreshes and releases mutexes that only this process does; each time its own, and no
/// other.
async fn work(mutexes: Mutexes, me: MutexOwner, rounds: usize) {
    for number in 0..rounds {
        let id = MutexId::new("tests", me.session_id(), number.to_string()).unwrap();
        let captured = mutexes.capture(&id).owner(me.clone()).await.unwrap();
        assert_eq!((&captured.id, &captured.owner), (&id, &me));
        // With a status and without: both are sent where a release has something else.
        let status = (number % 2 == 0).then(|| format!("status {number}"));
        let mut refresh = mutexes.refresh(&id).owner(me.clone());
        if let Some(status) = &status {
            refresh = refresh.status_data(status);
        }
        let refreshed = refresh.await.unwrap();
        assert_eq!(
            (&refreshed.id, &refreshed.owner, &refreshed.status_data),
            (&id, &me, &status)
        );
        let released = mutexes.release(&id).owner(me.clone()).await.unwrap();
        assert!(released.is_released());
    }
}

async fn statements_left(database: &Database) -> BTreeSet<String> {
    let left = database.left_behind("postgres").await;
    left.into_iter()
        .filter(|finding| finding.starts_with("statement: "))
        .collect()
}

#[tokio::test]
async fn nothing_is_ever_prepared_behind_a_pooler() {
    let database = Database::fresh().await;
    // Alone, and when many borrow and give back.
    for processes in [1, 2 * POOL_SIZE] {
        let mut working = JoinSet::new();
        for number in 0..processes {
            let mutexes = process(database.url(), "pgmutex", PreparedStatements::default());
            working.spawn(work(mutexes, owner(&number.to_string()), ROUNDS));
        }
        while let Some(worked) = working.join_next().await {
            worked.unwrap();
        }
        assert_eq!(statements_left(&database).await, BTreeSet::new());
    }
}

#[tokio::test]
async fn forced_on_behind_a_pooler_they_are_given_up_and_no_call_fails() {
    let database = Database::fresh().await;
    let elsewhere = process(
        &database.direct_url(),
        "elsewhere",
        PreparedStatements::default(),
    );
    elsewhere.migrate().await.unwrap();
    let mut working = JoinSet::new();
    for number in 0..2 * POOL_SIZE {
        let schema = ["pgmutex", "elsewhere"][number % 2];
        let mutexes = process(database.url(), schema, PreparedStatements::Always);
        for task in ["a", "b"] {
            let me = owner(&format!("{number}{task}"));
            working.spawn(work(mutexes.clone(), me, ROUNDS / 10));
        }
    }
    while let Some(worked) = working.join_next().await {
        worked.unwrap();
    }
    let here = database.mutexes().await;
    assert_eq!(here.count(&MutexQuery::all()).await.unwrap(), 0);
    assert_eq!(elsewhere.count(&MutexQuery::all()).await.unwrap(), 0);
    // They had been tried.
    assert_ne!(statements_left(&database).await, BTreeSet::new());
}
