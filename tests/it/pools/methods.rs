//! Every method under its name, and the functions as other programs rely on them.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use pgmutex::{Error, Period, SessionFilter, SessionPool, SessionUpdate};
use serde_json::json;

use crate::support::Database;

#[tokio::test]
async fn a_session_is_taken_used_locked_and_brought_back() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let pool: SessionPool = SessionPool::new(&mutexes, "p");
    for n in 1..=3 {
        pool.add(&json!({ "n": n })).await.unwrap();
    }
    let used = pool.get_session().await.unwrap();
    assert_eq!((&used.payload, used.use_count), (&json!({"n": 1}), 1));
    let locked_for = used.next_use.unwrap() - used.last_use.unwrap();
    assert_eq!(locked_for, TimeDelta::seconds(3));
    // From here on none becomes ready again while the test lasts.
    let pool = pool.with_next_use_delay(Period::hours(2.0));
    pool.session_lock(used.id, Some(Period::hours(2.0)))
        .await
        .unwrap();
    let used = pool
        .get_session()
        .count_use(5)
        .next_use_delay(Period::hours(1.0))
        .await
        .unwrap();
    assert_eq!(
        (
            used.use_count,
            used.next_use.unwrap() - used.last_use.unwrap()
        ),
        (5, TimeDelta::hours(1))
    );
    let done = pool.session_success(used.id, 2, None).await.unwrap();
    assert_eq!((done.success_count, done.next_use), (2, used.next_use));
    let done = pool
        .session_success(used.id, 0, Some(Period::days(1.0)))
        .await
        .unwrap();
    assert_eq!(done.success_count, 2);
    assert!(done.next_use > used.next_use);
    assert_eq!(pool.count_active().await.unwrap(), 1);
    let off = pool.session_inactive(used.id).await.unwrap();
    assert!(!off.active);
    assert_eq!(pool.get_sessions().await.unwrap().len(), 2);
    assert!(pool.session_activate(used.id).await.unwrap().active);
    let third = pool.get_session().await.unwrap();
    assert_eq!(third.payload, json!({"n": 3}));
    let none = pool.get_session().await.unwrap_err();
    assert!(
        matches!(&none, Error::NoneAvailable { collection, .. } if collection == "p"),
        "{none:?}"
    );
    assert!(none.to_string().contains('p'), "{none}");
}

/// Periods in all units, from now, by the database's clock.
#[tokio::test]
async fn locks_and_blocks_last_as_long_as_is_said() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let pool: SessionPool = SessionPool::new(&mutexes, "p")
        .with_lock_time(Period::minutes(2.0))
        .with_block_time(Period {
            weeks: 1.0,
            ..Period::default()
        });
    let id = pool.add(&json!({})).await.unwrap().id;
    let all = Period {
        weeks: 1.0,
        days: 2.0,
        hours: 3.0,
        minutes: 4.0,
        seconds: 5.0,
        milliseconds: 6.0,
        microseconds: 7.0,
    };
    let all_units = TimeDelta::weeks(1)
        + TimeDelta::days(2)
        + TimeDelta::hours(3)
        + TimeDelta::minutes(4)
        + TimeDelta::seconds(5)
        + TimeDelta::milliseconds(6)
        + TimeDelta::microseconds(7);
    for (period, is_block, wanted) in [
        (None, false, TimeDelta::minutes(2)),
        (None, true, TimeDelta::weeks(1)),
        (Some(all), false, all_units),
        (Some(all), true, all_units),
        (
            Some(Duration::from_millis(3_600_500).into()),
            false,
            TimeDelta::milliseconds(3_600_500),
        ),
    ] {
        let before = pool.session(id).await.unwrap().updated_at;
        let session = if is_block {
            pool.session_block(id, period).await.unwrap()
        } else {
            pool.session_lock(id, period).await.unwrap()
        };
        let after = session.updated_at;
        let next_use = session.next_use.unwrap();
        assert!(
            before + wanted <= next_use && next_use <= after + wanted,
            "{period:?}"
        );
        let state = s.ask("select state from pgmutex.pool").await;
        assert_eq!(state, if is_block { "blocked" } else { "locked" });
    }
}

#[tokio::test]
async fn the_generic_operations_do_as_their_names_say() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let pool: SessionPool<BTreeMap<String, i64>> = SessionPool::new(&mutexes, "p")
        .with_default_filter(SessionFilter::all().at_least("n", 2))
        .with_next_use_delay(Period::hours(1.0))
        .with_operation_timeout(Duration::from_secs(30));
    for n in 1..=3 {
        pool.insert_one(&[("n".to_owned(), n), ("m".to_owned(), 0)].into())
            .await
            .unwrap();
    }
    // The default filter is for those who take and list.
    assert_eq!(pool.count(SessionFilter::all()).await.unwrap(), 3);
    assert_eq!(pool.count_active().await.unwrap(), 2);
    assert_eq!(pool.get_session().await.unwrap().payload["n"], 2);
    let projected = pool
        .clone()
        .with_projection(["n"])
        .get_sessions()
        .await
        .unwrap();
    let projected: Vec<_> = projected.into_iter().map(|one| one.payload).collect();
    assert_eq!(
        projected,
        [2, 3].map(|n| BTreeMap::from([("n".to_owned(), n)]))
    );
    let first = pool
        .find(SessionFilter::all(), Some(2), None)
        .await
        .unwrap();
    let rest = pool
        .find(SessionFilter::all(), Some(2), Some(first[1].id))
        .await
        .unwrap();
    assert_eq!((first.len(), rest.len(), rest[0].payload["n"]), (2, 1, 3));
    let three = SessionFilter::all().equal("n", 3);
    let update = SessionUpdate::new().set("m", 7).unset("x");
    let updated = pool
        .find_one_and_update(three.clone(), update.clone())
        .await
        .unwrap();
    assert_eq!(updated.unwrap().payload["m"], 7);
    assert!(
        pool.update_one(three.clone(), update.clone())
            .await
            .unwrap()
    );
    let nobody = SessionFilter::all().id(-5);
    assert!(!pool.update_one(nobody.clone(), update).await.unwrap());
    assert_eq!(pool.delete_one(nobody).await.unwrap(), None);
    assert_eq!(
        pool.delete_one(three).await.unwrap().unwrap().payload["n"],
        3
    );
    let name = pool.create_index("n").await.unwrap();
    assert_eq!(pool.create_index("n").await.unwrap(), name);
    let other = pool.switch_collection("other");
    assert_eq!(other.collection(), "other");
    assert_eq!(other.default_filter(), pool.default_filter());
    assert_eq!(other.index_information().await.unwrap(), []);
    assert!(!other.drop_index("n").await.unwrap());
    let indexes = pool.index_information().await.unwrap();
    assert_eq!(
        (indexes[0].name.as_str(), indexes[0].path.as_str()),
        (name.as_str(), "n")
    );
    assert!(pool.drop_index("n").await.unwrap());
    assert_eq!(other.count(SessionFilter::all()).await.unwrap(), 0);
    let statistics = other.aggregate_statistics().await.unwrap();
    assert_eq!((statistics.total, statistics.success_rate), (0, None));
    assert_eq!(
        pool.statistics_of_all().await.unwrap(),
        [pool.aggregate_statistics().await.unwrap()]
    );
}

/// A call that takes longer than is allowed has an outcome that nobody knows.
#[tokio::test]
async fn operations_end_at_their_limit() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let pool: SessionPool = SessionPool::new(&mutexes, "p");
    let id = pool.add(&json!({})).await.unwrap().id;
    s.run("begin; select from pgmutex.pool_session for update")
        .await;
    let hurried = pool.with_operation_timeout(Duration::from_millis(100));
    let error = hurried.session_lock(id, None).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    s.run("commit").await;
}

#[tokio::test]
async fn statistics_tell_how_a_pool_stands() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let pool: SessionPool = SessionPool::new(&mutexes, "p").with_next_use_delay(Period::hours(1.0));
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(pool.add(&json!({})).await.unwrap().id);
    }
    let leased = pool
        .checkout()
        .next_use_delay(Duration::ZERO)
        .await
        .unwrap();
    leased.success(1).await.unwrap();
    pool.get_session().await.unwrap();
    pool.session_lock(ids[2], None).await.unwrap();
    pool.session_block(ids[3], None).await.unwrap();
    pool.session_inactive(ids[4]).await.unwrap();
    let statistics = pool.aggregate_statistics().await.unwrap();
    assert_eq!(
        (
            statistics.total,
            statistics.active,
            statistics.inactive,
            statistics.ready,
            statistics.in_use,
            statistics.locked,
            statistics.blocked
        ),
        (6, 5, 1, 1, 1, 2, 1)
    );
    assert_eq!(
        (
            statistics.uses,
            statistics.successes,
            statistics.success_rate
        ),
        (2, 1, Some(0.5))
    );
    let states = "select string_agg(state, ', ' order by id) from pgmutex.pool";
    assert_eq!(
        s.ask(states).await,
        "in use, locked, locked, blocked, inactive, ready"
    );
    let sql = "select concat_ws(' ', total, active, inactive, ready, in_use, locked, blocked, uses, successes, success_rate) from pgmutex.pool_statistics";
    assert_eq!(s.ask(sql).await, "6 5 1 1 1 2 1 2 1 0.5");
    assert_eq!(s.ask(&format!("{sql}('p')")).await, s.ask(sql).await);
    leased.give_back().await.unwrap();
}
