//! Bounds on what clients may send, how slowly, and how many at once.

use std::time::Duration;

use pgmutex::server::Limits;

use crate::support::{Client, Serving};

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let server = Serving::begin().await;
    let long = |length| "a".repeat(length);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let json = [("content-type", "application/json")];

    let path = server.get(&format!("/canhaz/{}", long(9000))).await;
    assert_eq!(
        (path.status, path.problem().as_str()),
        (414, "path-too-long")
    );
    let head = server.get(&format!("/canhaz/x?id={}", long(20_000))).await;
    assert_eq!(head.status, 431);
    let header = [("x-much", long(20_000))];
    let header = [(header[0].0, header[0].1.as_str())];
    assert_eq!(
        server
            .client()
            .await
            .ask("GET", "/healthz", &header, "")
            .await
            .status,
        431
    );
    let many: Vec<(String, &str)> = (0..200).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(
        server
            .client()
            .await
            .ask("GET", "/healthz", &many, "")
            .await
            .status,
        431
    );
    for (target, headers) in [("/canhaz/x", form), ("/v1/capture", json)] {
        let body = server
            .client()
            .await
            .ask("POST", target, &headers, &long(65_537))
            .await;
        assert_eq!(
            (body.status, body.problem().as_str()),
            (413, "too-large"),
            "{target}"
        );
    }
    // Whatever the length is said to be, or not said.
    for framing in ["content-length: 2000000000", "transfer-encoding: chunked"] {
        let mut client = server.client().await;
        let head = format!(
            "POST /v1/capture HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
        );
        client.send(head.as_bytes()).await;
        if framing.starts_with("transfer") {
            let chunk = format!("10000\r\n{}\r\n2\r\nxx\r\n", long(0x10000));
            client.send(chunk.as_bytes()).await;
        }
        let refused = client.answer().await.unwrap();
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (413, "too-large"),
            "{framing}"
        );
    }

    let deep = "/a".repeat(101);
    let refused = server.get(&format!("/canhaz{deep}")).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (400, "invalid")
    );
    let deep = "/a".repeat(100);
    assert_eq!(server.get(&format!("/canhaz{deep}")).await.status, 200);
    let refused = server.get(&format!("/canhaz/{}", long(1599))).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (400, "invalid")
    );
    assert_eq!(
        server.get(&format!("/dohaz/{}", long(1598))).await.status,
        200
    );
    let refused = server.get(&format!("/canhaz/x?id={}", long(401))).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (400, "invalid")
    );
}

#[tokio::test]
async fn so_many_requests_wait_and_no_more_and_the_others_are_served() {
    let limits = limits(|limits| {
        limits.waiting = 2;
        limits.at_work = 2;
    });
    let server = Serving::with(|server| server.limits(limits)).await;
    let token = server.lock("x").await;
    let mut waiting = Vec::new();
    for number in 1..=2 {
        let mut client = server.client().await;
        client.begin("GET", "/canhaz/x?wait=60", &[], "").await;
        server.are_waiting(number).await;
        waiting.push(client);
    }
    let refused = server.get("/canhaz/x?wait=60").await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (503, "overloaded")
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Those who wait are not in the way of those at work.
    let free = server.lock("y").await;
    assert_eq!(
        server.json(&format!("/nowant/y?token={free}")).await["ok"],
        true
    );
    assert_eq!(
        server.json(&format!("/nowant/x?token={token}")).await["ok"],
        true
    );
    assert_eq!(waiting[0].answer().await.unwrap().json()["ok"], true);
    // There is room again.
    waiting
        .remove(0)
        .begin("GET", "/canhaz/x?wait=60", &[], "")
        .await;
}

#[tokio::test]
async fn so_many_requests_are_at_work_and_no_more() {
    let limits = limits(|limits| {
        limits.at_work = 1;
        limits.body_time = Duration::from_mins(10);
    });
    let server = Serving::with(|server| server.limits(limits)).await;
    // At work for as long as its body does not come.
    let mut slow = server.client().await;
    slow.send(b"POST /v1/capture HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n").await;
    let refused = crate::support::eventually_some(async || {
        let answer = server.get("/dohaz/x").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (503, "overloaded")
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.get("/healthz").await.status, 200);
    slow.send(b"wrong").await;
    assert_eq!(slow.answer().await.unwrap().status, 400);
    assert_eq!(server.get("/dohaz/x").await.status, 200);
}

#[tokio::test]
async fn slow_clients_are_cut() {
    let limits = limits(|limits| {
        limits.header_time = Duration::from_millis(200);
        limits.body_time = Duration::from_millis(200);
    });
    let server = Serving::with(|server| server.limits(limits)).await;
    let closed = async |mut client: Client| client.answer().await;
    // Nothing, half a head, and a head without its body.
    assert_eq!(closed(server.client().await).await, None);
    let mut client = server.client().await;
    client.send(b"GET /canhaz/x HTTP/1.1\r\nhost: loc").await;
    let cut = closed(client).await;
    assert!(cut.is_none_or(|answer| answer.status == 408));
    let mut client = server.client().await;
    client.send(b"POST /v1/capture HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{").await;
    let cut = client.answer().await.unwrap();
    assert_eq!((cut.status, cut.problem().as_str()), (408, "too-slow"));
    // A connection that is idle between two requests.
    let mut client = server.client().await;
    assert_eq!(client.get("/dohaz/x").await.status, 200);
    assert_eq!(client.answer().await, None);
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut() {
    let limits = limits(|limits| limits.unread_time = Duration::from_millis(300));
    let server = Serving::with(|server| server.limits(limits)).await;
    let mut client = server.client().await;
    // More answers than the buffers between the two ends can take.
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50);
    let cut = async { while client.has_sent(&request).await {} };
    tokio::time::timeout(Duration::from_secs(90), cut)
        .await
        .expect("it is never cut");
}

#[tokio::test]
async fn so_many_connections_are_open_and_no_more() {
    let limits = limits(|limits| {
        limits.connections = 1;
        limits.header_time = Duration::from_mins(10);
    });
    let server = Serving::with(|server| server.limits(limits)).await;
    let mut first = server.client().await;
    assert_eq!(first.get("/healthz").await.status, 200);
    let mut second = server.client().await;
    second.begin("GET", "/healthz", &[], "").await;
    assert_eq!(first.get("/healthz").await.status, 200);
    drop(first);
    assert_eq!(second.answer().await.unwrap().status, 200);
}
