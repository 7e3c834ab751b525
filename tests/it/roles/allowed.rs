//! What each role can do: the whole library with application, its views with reader. (The
//! conformance suite runs once more for an admin.)

use std::{future::IntoFuture, pin::pin, time::Duration};

use futures_util::poll;
use pgmutex::{
    Error, MutexQuery, Mutexes, Period, Role, SemaphoreService, SessionFilter, SessionPool,
    SessionUpdate, WaiterQuery,
};
use serde_json::json;

use super::Login;
use crate::{
    guards::{in_line, must},
    support::{Database, mutex_id, owner},
};

#[tokio::test]
async fn an_application_can_use_locks_in_every_way() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let login = Login::new(&database, Role::Application).await;
    let mutexes = login.mutexes().await;
    assert_eq!(mutexes.migrate().await.unwrap().applied, [""; 0]);
    mutexes.verify().await.unwrap();
    assert!(mutexes.schema_status().await.unwrap().is_some());

    let (m, n) = (mutex_id("m"), mutex_id("n"));
    mutexes.capture(&m).owner(owner("a")).await.unwrap();
    mutexes.refresh(&m).owner(owner("a")).await.unwrap();
    let refused = mutexes.capture(&m).owner(owner("b")).await;
    assert!(matches!(refused, Err(Error::Busy { holder, .. }) if holder.owner == owner("a")));
    assert!(!mutexes.request(&m).await.unwrap().is_free());
    let in_the_way = mutexes.holder_in_the_way(&m, &owner("b")).await.unwrap();
    assert!(in_the_way.is_some());
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
    let page = mutexes.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(page.mutexes.len(), 1);
    mutexes.now().await.unwrap();
    mutexes.release(&m).owner(owner("a")).await.unwrap();
    mutexes
        .capture_each([&m, &n])
        .owner(owner("a"))
        .await
        .unwrap();
    mutexes.release_each([&m]).owner(owner("a")).await.unwrap();
    mutexes.release_owner(&owner("a")).await.unwrap();
    assert_eq!(mutexes.sweep().await.unwrap(), 0);

    let guard = must(mutexes.lock(&m).into_future()).await.unwrap();
    let mut second = pin!(mutexes.lock(&m).into_future());
    assert!(poll!(&mut second).is_pending());
    in_line(&s, 1).await;
    assert_eq!(
        mutexes
            .waiters(&WaiterQuery::default())
            .await
            .unwrap()
            .len(),
        1
    );
    let (mut client, connection) = tokio_postgres::connect(&login.url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let transaction = client.transaction().await.unwrap();
    guard.fence(&transaction).await.unwrap();
    mutexes
        .in_transaction(&transaction)
        .capture(&n)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    guard.release().await.unwrap();
    must(second).await.unwrap().release().await.unwrap();

    let attached = must(mutexes.lock(&m).attached().into_future()).await;
    attached.unwrap().release().await.unwrap();
    let both = must(
        mutexes
            .lock_all([mutex_id("x"), mutex_id("y")])
            .into_future(),
    )
    .await
    .unwrap();
    drop(both);
    let board = mutexes.tree("lab").path(["rack1", "board3"]).unwrap();
    drop(must(board.lock().into_future()).await.unwrap());
    let semaphores = SemaphoreService::new(mutexes.clone());
    semaphores
        .acquire("s", "a", Duration::from_secs(300))
        .await
        .unwrap();
    semaphores.release("s", "a").await.unwrap();
    let forced = mutexes.force_release(&n, "it is not its own").await;
    assert!(
        matches!(forced, Err(Error::PermissionDenied { .. })),
        "{forced:?}"
    );
    mutexes.shutdown().await;
}

#[tokio::test]
async fn an_application_can_use_pools_and_an_admin_their_indexes() {
    let database = Database::fresh().await;
    let mutexes = Login::new(&database, Role::Application)
        .await
        .mutexes()
        .await;
    let pool: SessionPool = SessionPool::new(&mutexes, "p").with_next_use_delay(Duration::ZERO);
    let one = pool.add(&json!({"n": 1})).await.unwrap();
    pool.insert_one(&json!({"n": 2})).await.unwrap();
    pool.get_session().await.unwrap();
    pool.session_success(one.id, 1, None).await.unwrap();
    let lease = must(pool.checkout().into_future()).await.unwrap();
    lease.success(1).await.unwrap();
    lease.give_back().await.unwrap();
    pool.session_update(one.id, SessionUpdate::new().set("n", 3))
        .await
        .unwrap();
    assert!(
        pool.update_one(SessionFilter::all(), SessionUpdate::new().set("n", 4))
            .await
            .unwrap()
    );
    assert_eq!(
        pool.find(SessionFilter::all(), None, None)
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(pool.count(SessionFilter::all()).await.unwrap(), 2);
    pool.count_active().await.unwrap();
    pool.session(one.id).await.unwrap();
    pool.get_sessions().await.unwrap();
    pool.session_lock(one.id, Some(Period::minutes(1.0)))
        .await
        .unwrap();
    pool.session_block(one.id, None).await.unwrap();
    pool.session_inactive(one.id).await.unwrap();
    pool.session_activate(one.id).await.unwrap();
    assert_eq!(pool.aggregate_statistics().await.unwrap().total, 2);
    pool.statistics_of_all().await.unwrap();
    assert!(pool.index_information().await.unwrap().is_empty());
    pool.session_delete(one.id).await.unwrap();
    assert!(
        pool.delete_one(SessionFilter::all())
            .await
            .unwrap()
            .is_some()
    );
    let denied = pool.create_index("n").await.unwrap_err();
    assert!(
        matches!(denied, Error::PermissionDenied { .. }),
        "{denied:?}"
    );

    let admin: Mutexes = Login::new(&database, Role::Admin).await.mutexes().await;
    let pool: SessionPool = SessionPool::new(&admin, "p");
    pool.create_index("n").await.unwrap();
    assert_eq!(pool.index_information().await.unwrap().len(), 1);
    assert!(pool.drop_index("n").await.unwrap());
    mutexes.shutdown().await;
}

/// An application may build on our functions, with functions of its own that take and give what
/// ours do.
#[tokio::test]
async fn what_functions_answer_can_be_passed_on() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for login in &Login::all(&database).await[1..] {
        let (name, own) = (&login.name, format!("own_{}", login.name));
        s.run(&format!("create schema {own} authorization {name}"))
            .await;
        let them = login.session().await;
        them.run(&format!(
            "create function {own}.edit(document text) returns pgmutex.hold_outcome language sql \
             as $$ select * from pgmutex.capture('own', 'edit', document, session_user::text) $$; \
             create table {own}.journal as select * from {own}.edit('1')"
        ))
        .await;
        let journal = format!("select outcome from {own}.journal");
        assert_eq!(them.ask(&journal).await, "captured");
        them.run("select pgmutex.release_owner(session_user::text)")
            .await;
    }
}

#[tokio::test]
async fn a_reader_sees_what_there_is_to_see() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.capture_as("m", "a", "owner_name => 'Ada'").await;
    s.capture_as("m", "b", "owner_name => 'Bob', wait => true")
        .await;
    s.run("select pgmutex.pool_add('p', '{}')").await;
    let reader = Login::new(&database, Role::Reader).await;
    let them = reader.session().await;
    for transaction in [
        "begin",
        "begin read only",
        "begin isolation level serializable read only",
    ] {
        them.run(transaction).await;
        for (query, answer) in [
            (
                "select string_agg(concat_ws(' ', mutex_id, owner_name, permit), ', ') from pgmutex.held",
                "m Ada 0",
            ),
            (
                "select string_agg(concat_ws(' ', place, owner_name, behind_owner_name), ', ') from pgmutex.waiting",
                "1 Bob Ada",
            ),
            (
                "select string_agg(concat_ws(' ', owner_name, blocked_by, blocker_owner_name), ', ') from pgmutex.blocking",
                "Bob holder Ada",
            ),
            (
                "select string_agg(concat_ws(' ', collection, total), ', ') from pgmutex.pool_statistics",
                "p 1",
            ),
        ] {
            assert_eq!(them.ask(query).await, answer, "{transaction}: {query}");
        }
        them.run("commit").await;
    }
    let history = "select max(version)::text from pgmutex.refinery_schema_history";
    assert_eq!(them.ask(history).await, s.ask(history).await);
    // The library calls functions, and begins with one.
    let denied = Mutexes::connect(&reader.url).await.unwrap_err();
    assert!(
        matches!(denied, Error::PermissionDenied { .. }),
        "{denied:?}"
    );
}
