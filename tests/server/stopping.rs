//! A server that stops lets nobody down.

use std::time::Duration;

use pgmutex::server::Limits;
use serde_json::json;

use crate::support::{Client, Serving};

#[tokio::test]
async fn those_who_wait_are_told_and_leave_the_line() {
    // However long it takes until the last answer is read.
    let mut limits = Limits::default();
    limits.body_time = Duration::from_mins(10);
    limits.drain_time = Duration::from_mins(10);
    let mut server = Serving::with(|server| server.limits(limits)).await;
    server.lock("x?id=holder").await;
    let mut waiting = Vec::new();
    for number in 1..=3 {
        let mut client = server.client().await;
        client.begin("GET", "/canhaz/x?wait=60", &[], "").await;
        server.are_waiting(number).await;
        waiting.push(client);
    }
    // At work, not waiting: it is let to its end.
    let mut at_work = server.client().await;
    at_work.send(b"POST /v1/capture HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 22\r\n\r\n").await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/healthz").await.status, 200);

    let address = server.address;
    server.stop();
    for client in &mut waiting {
        let told = client.answer().await.unwrap();
        assert_eq!((told.status, told.problem().as_str()), (503, "stopping"));
        assert_eq!(told.header("retry-after"), Some("1"));
    }
    assert_eq!(idle.answer().await, None);
    at_work.send(br#"{"mutex": {"id": "1"}}"#).await;
    assert_eq!(at_work.answer().await.unwrap().status, 200);

    let mutexes = server.mutexes.clone();
    let _database = server.stopped().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(
        mutexes
            .waiters(&Default::default())
            .await
            .unwrap()
            .is_empty()
    );
    let held = mutexes.list(&Default::default()).await.unwrap().mutexes;
    let names: Vec<&str> = held.iter().map(|hold| hold.id.id()).collect();
    assert_eq!(names, ["1", "/x/"]);
}

#[tokio::test]
async fn who_does_not_come_to_an_end_is_cut_off() {
    let mut limits = Limits::default();
    limits.drain_time = Duration::from_millis(200);
    let mut server = Serving::with(|server| server.limits(limits)).await;
    let mut endless = server.client().await;
    endless.send(b"POST /v1/capture HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 22\r\n\r\n").await;
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop();
    let _database = server.stopped().await;
}

/// One client that is too slow does not keep the server from giving back what others left.
#[tokio::test]
async fn what_is_cut_off_is_given_back_before_the_server_has_stopped() {
    let mut limits = Limits::default();
    limits.drain_time = Duration::from_millis(200);
    let mut server = Serving::with(|server| server.limits(limits)).await;
    let client = server.database.client().await;
    client.batch_execute("begin").await.unwrap();
    client
        .execute(
            "select pgmutex.capture('locker', 'tree', '/slow/', 'step', lock_parents => true, lock_children => true)",
            &[],
        )
        .await
        .unwrap();
    let mut cut_off = server.client().await;
    cut_off.begin("GET", "/canhaz/slow", &[], "").await;
    server.database.somebody_is_blocked().await;
    server.stop();
    assert_eq!(cut_off.answer().await, None);
    let last_token = "select last_value from pgmutex.fencing_token_sequence";
    let before: i64 = client.query_one(last_token, &[]).await.unwrap().get(0);
    // It is captured now, for nobody.
    client.batch_execute("rollback").await.unwrap();
    let mutexes = server.mutexes.clone();
    let _database = server.stopped().await;
    let captured: i64 = client.query_one(last_token, &[]).await.unwrap().get(0);
    assert!(captured > before);
    let held = mutexes.list(&Default::default()).await.unwrap().mutexes;
    assert!(held.is_empty(), "{held:?}");
}

#[tokio::test]
async fn an_application_tells_its_waiters_before_it_stops() {
    use pgmutex::{
        axum::{body::Body, http::Request},
        server::Server,
    };
    use tower::ServiceExt;

    let serving = Serving::begin().await;
    serving.lock("x").await;
    let server = Server::new(serving.mutexes.clone());
    let request = Request::get("/canhaz/x?wait=60")
        .body(Body::empty())
        .unwrap();
    let waiting = tokio::spawn(server.router().oneshot(request));
    serving.are_waiting(1).await;
    server.stop_waiting();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 503);
    serving.are_waiting(0).await;
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let ready = server.router().oneshot(request).await.unwrap();
    assert_eq!(ready.status(), 503);
}

/// One after the other: a server that starts where another has stopped finds the locks.
#[tokio::test]
async fn another_server_on_the_database_knows_the_locks() {
    let first = Serving::begin().await;
    let token = first.lock("x?id=y").await;
    let second = pgmutex::server::Server::new(first.database.mutexes().await);
    let second = second.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = second.address();
    tokio::spawn(second.run(std::future::pending()));
    let mut client = Client::at(address).await;
    assert_eq!(
        client.get("/dohaz/x").await.json(),
        json!({"lockedBy": "y"})
    );
    let unlocked = client.get(&format!("/nowant/x?token={token}")).await;
    assert_eq!(unlocked.json(), json!({"ok": true}));
    assert_eq!(first.json("/dohaz/x").await, json!({"lockedBy": null}));
}
