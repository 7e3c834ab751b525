//! Bad input: a typed error says what is wrong, and nothing is changed.

use std::future::IntoFuture;

use pgmutex::{Error, Period, SessionFilter, SessionPool, SessionUpdate};
use serde_json::{Value, json};

use super::steps::add;
use crate::{
    guards::must,
    support::{Database, Session},
};

/// All that there is, in every column.
async fn everything(s: &Session) -> String {
    s.ask(
        "select concat((select string_agg(p::text, E'\\n' order by id) from pgmutex.pool_session p),
                       (select count(*) from pgmutex.mutex_model), (select count(*) from pgmutex.mutex_waiter))",
    )
    .await
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    let is_typed = matches!(
        error,
        Error::InvalidInput { .. } | Error::Refused { .. } | Error::UnknownSession { .. }
    );
    assert!(is_typed && !error.is_transient(), "{error:?}");
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }))
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let pool: SessionPool = SessionPool::new(&mutexes, "p");
    add(&s, 2).await;
    let one = pool
        .find(SessionFilter::all(), Some(1), None)
        .await
        .unwrap();
    let id = one[0].id;
    let before = everything(&s).await;

    // Unknown ones, and those of another pool.
    let other = pool.switch_collection("other");
    for (pool, id) in [
        (&pool, id + 1_000),
        (&pool, 0),
        (&pool, -1),
        (&pool, i64::MAX),
        (&other, id),
    ] {
        is_refused(pool.session(id).await);
        is_refused(pool.session_success(id, 1, None).await);
        is_refused(pool.session_lock(id, None).await);
        is_refused(pool.session_block(id, None).await);
        is_refused(pool.session_inactive(id).await);
        is_refused(pool.session_activate(id).await);
        is_refused(
            pool.session_update(id, SessionUpdate::new().set("a", 1))
                .await,
        );
        is_refused(pool.session_delete(id).await);
    }
    for name in [String::new(), "x".repeat(401), "a\0b".to_owned()] {
        let nowhere = pool.switch_collection(name);
        is_refused(nowhere.add(&json!({})).await);
        is_refused(nowhere.count_active().await);
        is_refused(nowhere.get_session().await);
        is_refused(must(nowhere.checkout().into_future()).await);
    }
    // Periods.
    for seconds in [
        -1.0,
        -1e-3,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e300,
        3_153_600_001.0,
    ] {
        let period = Period::seconds(seconds);
        is_refused(pool.session_lock(id, Some(period)).await);
        is_refused(pool.session_block(id, Some(period)).await);
        is_refused(pool.session_success(id, 1, Some(period)).await);
        is_refused(pool.get_session().next_use_delay(period).await);
        is_refused(must(pool.checkout().next_use_delay(period).into_future()).await);
    }
    for count in [1_000_000_001, u64::MAX] {
        is_refused(pool.session_success(id, count, None).await);
        is_refused(pool.get_session().count_use(count).await);
        is_refused(must(pool.checkout().count_use(count).into_future()).await);
    }
    is_refused(pool.get_session().request_id("r".repeat(401)).await);
    is_refused(pool.get_session().request_id("r\0").await);
    // Paths.
    for path in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "n.x",
        "n.x.y",
        "a\0",
        &["a"; 101].join("."),
    ] {
        is_refused(
            pool.session_update(id, SessionUpdate::new().set(path, 1))
                .await,
        );
        is_refused(
            pool.find_one_and_update(SessionFilter::all(), SessionUpdate::new().set(path, 1))
                .await,
        );
        if !path.starts_with('n') {
            is_refused(pool.create_index(path).await);
            is_refused(pool.count(SessionFilter::all().exists(path)).await);
            is_refused(pool.clone().with_projection([path]).get_sessions().await);
            let filtered = pool
                .clone()
                .with_default_filter(SessionFilter::all().exists(path));
            is_refused(filtered.count_active().await);
            is_refused(must(filtered.checkout().into_future()).await);
        }
    }
    is_refused(
        pool.session_update(id, SessionUpdate::new().set("a", 1).unset("a"))
            .await,
    );
    is_refused(
        pool.session_update(id, SessionUpdate::new().set("a.b", 1).unset("a"))
            .await,
    );
    let many = (0..1_001).fold(SessionUpdate::new(), |all, n| all.set(format!("k{n}"), n));
    is_refused(pool.session_update(id, many).await);
    // Documents.
    let noise: String = (0..300_000_u64)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    for document in [
        json!(null),
        json!(7),
        json!([]),
        json!("x"),
        json!({"a": "\0"}),
        json!({"\0": 1}),
        json!({"a": [{"b\0": 1}]}),
        json!({"a": noise}),
        nested(101),
        nested(200),
    ] {
        is_refused(pool.add(&document).await);
        is_refused(pool.insert_one(&document).await);
        if document.is_object() {
            is_refused(
                pool.session_update(id, SessionUpdate::new().set("x", document))
                    .await,
            );
        }
    }
    // Filters.
    let many = (0..101).fold(SessionFilter::all(), |all, n| all.equal("n", n));
    for filter in [
        many,
        SessionFilter::all().equal("a", "\0"),
        SessionFilter::all().contains(json!({"\0": 1})),
        SessionFilter::all().equal("a", nested(101)),
    ] {
        is_refused(pool.count(filter.clone()).await);
        is_refused(pool.delete_one(filter.clone()).await);
        is_refused(pool.get_session().filter(filter.clone()).await);
        is_refused(must(pool.checkout().filter(filter).into_future()).await);
    }
    assert_eq!(everything(&s).await, before);
    // The largest that are accepted.
    pool.session_lock(id, Some(Period::seconds(3_153_600_000.0)))
        .await
        .unwrap();
    pool.session_success(id, 1_000_000_000, None).await.unwrap();
    let deep = pool.add(&nested(100)).await.unwrap();
    assert_eq!(pool.session(deep.id).await.unwrap().payload, nested(100));
}

/// What looks like SQL is a value like any other.
#[tokio::test]
async fn nothing_that_is_said_becomes_a_part_of_a_statement() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let pool: SessionPool = SessionPool::new(&mutexes, "it's \"p\"; --");
    for evil in [
        "'",
        "''",
        "\\'",
        "'; drop table pool_session; --",
        "$$",
        "%L",
        "{a}",
        "{\"",
        "$1",
        "\\",
    ] {
        let path = format!("{evil}.x");
        let added = pool.add(&json!({})).await.unwrap();
        let update = SessionUpdate::new().set(path.clone(), evil);
        let updated = pool.session_update(added.id, update).await.unwrap();
        assert_eq!(updated.payload, json!({evil: {"x": evil}}));
        let filter = SessionFilter::all().equal(path.clone(), evil);
        assert_eq!(
            pool.find(filter.clone(), None, None).await.unwrap(),
            [updated]
        );
        pool.create_index(&path).await.unwrap();
        assert_eq!(pool.index_information().await.unwrap()[0].path, path);
        assert_eq!(
            pool.get_session().filter(filter.clone()).await.unwrap().id,
            added.id
        );
        assert!(pool.drop_index(&path).await.unwrap());
        assert_eq!(pool.delete_one(filter).await.unwrap().unwrap().id, added.id);
    }
    assert_eq!(s.ask("select count(*)::text from pgmutex.pool").await, "0");
}

#[tokio::test]
async fn sql_says_what_is_wrong() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 1).await;
    let before = everything(&s).await;
    for (call, words) in [
        (
            "pool_get_session('')",
            "collection is empty: it names the pool",
        ),
        (
            "pool_get_session(null)",
            "collection is empty: it names the pool",
        ),
        (
            "pool_get_session('p', -1)",
            "count_use must be from 0 to 1000000000",
        ),
        (
            "pool_get_session('p', null)",
            "count_use must be from 0 to 1000000000",
        ),
        (
            "pool_get_session('p', 1, '-1 second')",
            "next_use_delay must be from 0 to 100 years",
        ),
        (
            "pool_get_session('p', 1, '101 years')",
            "next_use_delay must be from 0 to 100 years",
        ),
        (
            "pool_get_session('p', filter => '{}')",
            "filter must be an array of conditions",
        ),
        (
            "pool_get_session('p', filter => '[1]')",
            "a condition must be an object",
        ),
        (
            "pool_get_session('p', filter => '[{\"path\": \"a\"}]')",
            "nothing is no test",
        ),
        (
            "pool_get_session('p', filter => '[{\"path\": \"a\", \"test\": \"or 1=1\"}]')",
            "or 1=1 is no test",
        ),
        (
            "pool_get_session('p', filter => '[{\"path\": \"a\", \"test\": \"equal\"}]')",
            "a condition needs a value",
        ),
        (
            "pool_get_session('p', filter => '[{\"test\": \"equal\", \"value\": 1}]')",
            "a condition about the payload needs a path",
        ),
        (
            "pool_get_session('p', filter => '[{\"field\": \"id\", \"test\": \"equal\", \"value\": \"x\"}]')",
            "'x' is no value for id",
        ),
        (
            "pool_get_session('p', filter => '[{\"field\": \"next_use\", \"test\": \"less\", \"value\": \"soon\"}]')",
            "'soon' is no value for next_use",
        ),
        (
            "pool_get_session('p', filter => '[{\"field\": \"xmin\", \"test\": \"equal\", \"value\": 1}]')",
            "'xmin' is no field of a session",
        ),
        (
            "pool_get_session('p', filter => '[{\"field\": \"active\", \"test\": \"contains\", \"value\": true}]')",
            "contains goes with the payload",
        ),
        ("pool_lock('p', 1, null)", "period must not be null"),
        (
            "pool_success('p', 1, -1)",
            "count_success must be from 0 to 1000000000",
        ),
        ("pool_add('p', null)", "payload must be a JSON object"),
        ("pool_add('p', '[]')", "payload must be a JSON object"),
        (
            "pool_update('p', (select min(id) from pgmutex.pool), '[]')",
            "payload must be an object of dotted paths and their new values",
        ),
        (
            "pool_update('p', (select min(id) from pgmutex.pool), '{}', '{NULL}')",
            "unset_payload must be a list of dotted paths",
        ),
        (
            "pool_find('p', page_size => -2)",
            "page_size must be 0 or more, or -1 for all",
        ),
    ] {
        let (code, message) = s.refusal(call).await;
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("PM003", words),
            "{call}"
        );
    }
    for owner in ["''", "null"] {
        let call = format!("select (c.lease).outcome from pgmutex.pool_checkout('p', {owner}) c");
        let error = s.try_ask(&call).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "PM003");
    }
    s.run("begin isolation level repeatable read").await;
    assert_eq!(s.refusal("pool_get_session('p')").await.0, "PM001");
    s.run("rollback").await;
    assert_eq!(everything(&s).await, before);
}
