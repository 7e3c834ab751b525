//! A client that goes away leaves nothing behind that it could not know of.

use serde_json::json;

use crate::support::{Serving, eventually};

#[tokio::test]
async fn who_goes_away_leaves_the_line() {
    let server = Serving::begin().await;
    let token = server.lock("lab?id=holder").await;
    let mut gone = server.client().await;
    gone.begin("GET", "/canhaz/lab?wait=60&id=gone", &[], "")
        .await;
    server.are_waiting(1).await;
    let mut stays = server.client().await;
    stays
        .begin("GET", "/canhaz/lab?wait=60&id=stays", &[], "")
        .await;
    server.are_waiting(2).await;

    drop(gone);
    server.are_waiting(1).await;
    assert_eq!(server.waiters().await, ["stays"]);
    assert_eq!(
        server.json(&format!("/nowant/lab?token={token}")).await["ok"],
        true
    );
    assert_eq!(stays.answer().await.unwrap().json()["ok"], true);
}

#[tokio::test]
async fn who_waits_in_the_modern_way_leaves_the_line_too() {
    let server = Serving::begin().await;
    server.lock("lab").await;
    let body =
        json!({"mutex": {"tree": "locker", "path": ["lab"]}, "wait_seconds": 60}).to_string();
    let mut gone = server.client().await;
    let headers = [("content-type", "application/json")];
    gone.begin("POST", "/v1/capture", &headers, &body).await;
    server.are_waiting(1).await;
    drop(gone);
    server.are_waiting(0).await;
}

/// Whenever the client goes away: a lock that it was not told of is not left behind.
#[tokio::test]
async fn no_lock_stays_that_nobody_was_told_of() {
    let server = Serving::begin().await;
    let client = server.database.client().await;
    let last_token = "select last_value from pgmutex.fencing_token_sequence";
    // The capture of this path is decided only when this transaction is over.
    client.batch_execute("begin").await.unwrap();
    client
        .execute(
            "select pgmutex.capture('locker', 'tree', '/slow/', 'step', lock_parents => true, lock_children => true)",
            &[],
        )
        .await
        .unwrap();
    let mut gone = server.client().await;
    gone.begin("GET", "/canhaz/slow?id=gone", &[], "").await;
    server.database.somebody_is_blocked().await;
    drop(gone);
    let before: i64 = client.query_one(last_token, &[]).await.unwrap().get(0);
    client.batch_execute("rollback").await.unwrap();
    // It is captured now, for nobody; and given back.
    eventually(async || {
        let captured: i64 = client.query_one(last_token, &[]).await.unwrap().get(0);
        captured > before && server.json("/dohaz/slow").await == json!({"lockedBy": null})
    })
    .await;
}

/// What clients leave behind counts until it is done: they cannot pile up more than is allowed.
#[tokio::test]
async fn who_comes_and_goes_is_counted_until_all_is_done() {
    let mut limits = pgmutex::server::Limits::default();
    limits.at_work = 1;
    // Whoever comes next is let in when the connection of the one before is gone.
    limits.connections = 1;
    let server = Serving::with(|server| server.limits(limits)).await;
    let client = server.database.client().await;
    client.batch_execute("begin").await.unwrap();
    client
        .execute(
            "select pgmutex.capture('locker', 'tree', '/slow/', 'step', lock_parents => true, lock_children => true)",
            &[],
        )
        .await
        .unwrap();
    let mut gone = server.client().await;
    gone.begin("GET", "/canhaz/slow?id=gone", &[], "").await;
    server.database.somebody_is_blocked().await;
    drop(gone);
    assert_eq!(server.get("/canhaz/other").await.problem(), "overloaded");
    client.batch_execute("rollback").await.unwrap();
    eventually(async || server.get("/dohaz/slow").await.status == 200).await;
}

/// What the router hands out and nobody reads has reached nobody.
#[tokio::test]
async fn an_answer_that_is_never_sent_gives_its_lock_back() {
    use pgmutex::axum::{body::Body, http::Request};
    use tower::ServiceExt;

    let server = Serving::begin().await;
    let router = pgmutex::server::router(server.mutexes.clone());
    for target in ["/canhaz/x", "/canhaz/x?wait=5"] {
        let request = Request::get(target).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(server.json("/dohaz/x").await, json!({"lockedBy": "?"}));
        drop(answer);
        eventually(async || server.json("/dohaz/x").await == json!({"lockedBy": null})).await;
    }
}
