//! Whatever is sent: a clear 4xx, never a 5xx, never a panic, and nothing is captured by accident.

use std::{sync::OnceLock, time::Duration};

use pgmutex::{
    axum::{
        Router,
        body::{Body, to_bytes},
        http::{Method, Request},
    },
    server::{Limits, Server},
};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::support::{Client, Database, Serving};

#[tokio::test]
async fn targets_that_cannot_be_read_are_refused() {
    let server = Serving::begin().await;
    for (target, problem) in [
        ("/canhaz/%", "malformed"),
        ("/canhaz/%4", "malformed"),
        ("/canhaz/%zz", "malformed"),
        ("/canhaz/a/%+1/b", "malformed"),
        ("/canhaz/%ff", "malformed"),
        ("/canhaz/%C3", "malformed"),
        ("/canhaz/%ED%A0%80", "malformed"),
        ("/canhaz/%00", "malformed"),
        ("/canhaz/a%00b", "malformed"),
        ("/dohaz/%zz", "malformed"),
        ("/nowant/%zz?token=x", "malformed"),
        ("/canhaz/a?id=%zz", "malformed"),
        ("/canhaz/a?id=%ff", "malformed"),
        ("/canhaz/a?%zz=1", "malformed"),
        ("/canhaz/a?id=%00", "invalid"),
        ("/canhaz/a?id=x&id=y", "invalid"),
        ("/canhaz/a?lockParents=0&lockParents=0", "invalid"),
        ("/canhaz/a?ttl=1&ttl=1", "invalid"),
        ("/nowant/a?token=x&token=x", "invalid"),
        ("/v1/request", "invalid"),
        ("/v1/request?tree=x&path=nope", "invalid"),
        ("/v1/request?tree=x&path=/a//b", "invalid"),
        ("/v1/request?tree=x&path=/%2500", "invalid"),
        ("/v1/request?tree=x&path=/%25zz", "malformed"),
        ("/v1/request?path=/a", "invalid"),
        ("/v1/request?tree=x&group=y", "invalid"),
        ("/v1/request?group=g&mode=tree&id=x", "invalid"),
        ("/v1/waiters?after=7b7d", "invalid"),
    ] {
        let refused = server.get(target).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (400, problem),
            "{target}"
        );
    }
    assert_eq!(server.json("/v1/list?count=true").await["count"], 0);
}

#[tokio::test]
async fn other_methods_and_places_are_refused() {
    let server = Serving::begin().await;
    for (method, target, status) in [
        ("HEAD", "/canhaz/x", 405),
        ("HEAD", "/nowant/x", 405),
        ("PUT", "/canhaz/x", 405),
        ("DELETE", "/nowant/x", 405),
        ("PATCH", "/dohaz", 405),
        ("OPTIONS", "/canhaz/x", 405),
        ("BREW", "/canhaz", 405),
        ("GET", "/v1/capture", 405),
        ("GET", "/v1/force-release", 405),
        ("POST", "/v1/list", 405),
        ("GET", "/v1/pools/checkout", 405),
        ("GET", "/v1/pools/get-session", 405),
        ("POST", "/v1/pools/sessions", 405),
        ("GET", "/v1/pools", 404),
        ("DELETE", "/v1/list", 405),
        ("POST", "/healthz", 405),
        ("GET", "/canhazard", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/capture/", 404),
        ("GET", "//canhaz/x", 404),
        ("POST", "/", 405),
        ("POST", "/nowhere", 404),
    ] {
        let refused = server.client().await.ask(method, target, &[], "").await;
        assert_eq!(refused.status, status, "{method} {target}");
        if status == 405 {
            assert!(refused.header("allow").is_some(), "{method} {target}");
        }
        if method != "HEAD" {
            let problem = if status == 405 {
                "method-not-allowed"
            } else {
                "not-found"
            };
            assert_eq!(refused.problem(), problem, "{method} {target}");
        }
    }
    assert_eq!(server.json("/v1/list?count=true").await["count"], 0);
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused() {
    let server = Serving::begin().await;
    let mut client = server.client().await;
    let mutex = r#"{"id": "1"}"#;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_member = format!(r#"{{"mutex": {}{}}}"#, r#"{"mutex":"#.repeat(5_000), "1}");
    for (body, problem) in [
        (String::new(), "malformed"),
        ("{".to_owned(), "malformed"),
        ("null".to_owned(), "malformed"),
        ("[]".to_owned(), "malformed"),
        ("\"x\"".to_owned(), "malformed"),
        (deep, "malformed"),
        (deep_member, "malformed"),
        ("{}".to_owned(), "malformed"),
        (
            format!(r#"{{"mutex": {mutex}, "mutex": {mutex}}}"#),
            "malformed",
        ),
        (
            r#"{"mutex": {"id": "1", "id": "1"}}"#.to_owned(),
            "malformed",
        ),
        (format!(r#"{{"mutex": {mutex}, "wait": 1}}"#), "malformed"),
        (format!(r#"{{"mutex": {mutex}}} x"#), "malformed"),
        (
            format!(r#"{{"mutex": {mutex}, "permits": "2"}}"#),
            "malformed",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "permits": -1}}"#),
            "malformed",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "permits": 99999999999}}"#),
            "malformed",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "timeout_seconds": 1.5}}"#),
            "malformed",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "wait_seconds": NaN}}"#),
            "malformed",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "wait_seconds": 1e999}}"#),
            "malformed",
        ),
        (r#"{"mutex": {"id": "\ud800"}}"#.to_owned(), "malformed"),
        (r#"{"mutex": {}}"#.to_owned(), "invalid"),
        (r#"{"mutex": {"id": "\u0000"}}"#.to_owned(), "invalid"),
        (
            r#"{"mutex": {"id": "1", "tree": "x"}}"#.to_owned(),
            "invalid",
        ),
        (r#"{"mutex": {"path": ["x"]}}"#.to_owned(), "invalid"),
        (
            r#"{"mutex": {"tree": "x", "path": [""]}}"#.to_owned(),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {{"id": "{}"}}}}"#, "x".repeat(1601)),
            "invalid",
        ),
        (format!(r#"{{"mutex": {mutex}, "permits": 0}}"#), "invalid"),
        (
            format!(r#"{{"mutex": {mutex}, "permits": 4294967295}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "access": "mine"}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "access": "exclusive", "permits": 1}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "lock_parents": true}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "timeout_seconds": 0}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "timeout_seconds": 18446744073709551615}}"#),
            "invalid",
        ),
        (
            format!(
                r#"{{"mutex": {mutex}, "timeout_seconds": 1, "auto_release": {{"rule": "never"}}}}"#
            ),
            "invalid",
        ),
        (
            format!(
                r#"{{"mutex": {mutex}, "auto_release": {{"rule": "timeout", "config": "soon"}}}}"#
            ),
            "invalid",
        ),
        (
            format!(
                r#"{{"mutex": {mutex}, "auto_release": {{"rule": "connection", "config": "1"}}}}"#
            ),
            "invalid",
        ),
        (
            format!(
                r#"{{"mutex": {mutex}, "auto_release": {{"rule": "deadline", "config": "2026"}}}}"#
            ),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "wait_seconds": -1}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "status_data": "\u0000"}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "request_id": ""}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "owner": {{"session": ""}}}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "owner": {{"name": "\u0000"}}}}"#),
            "invalid",
        ),
        (
            format!(r#"{{"mutex": {mutex}, "owner": {{"login": "root"}}}}"#),
            "malformed",
        ),
    ] {
        let headers = [("content-type", "application/json")];
        let refused = client.ask("POST", "/v1/capture", &headers, &body).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (400, problem),
            "{body:.200}"
        );
    }
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "\u{e9}",
        "",
    ] {
        let headers = [("content-type", media_type)];
        let body = format!(r#"{{"mutex": {mutex}}}"#);
        let refused = client.ask("POST", "/v1/capture", &headers, &body).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (415, "media-type"),
            "{media_type}"
        );
    }
    for (media_type, body, status) in [
        ("application/json", "{}", 415),
        ("text/plain", "id=x", 415),
        ("application/x-www-form-urlencoded", "id=%zz", 400),
        ("application/x-www-form-urlencoded", "id=x&id=y", 400),
        ("application/x-www-form-urlencoded", "id=\u{e9}\u{0}", 400),
    ] {
        let headers = [("content-type", media_type)];
        let refused = client.ask("POST", "/canhaz/x", &headers, body).await;
        assert_eq!(refused.status, status, "{body}");
        refused.problem();
    }
    assert_eq!(server.json("/v1/list?count=true").await["count"], 0);
    let json = [("content-type", "Application/JSON ; charset=utf-8")];
    let captured = client
        .ask(
            "POST",
            "/v1/capture",
            &json,
            &format!(r#"{{"mutex": {mutex}}}"#),
        )
        .await;
    assert_eq!(captured.status, 200, "{captured:?}");
}

#[tokio::test]
async fn what_ends_too_early_captures_nothing() {
    let server = Serving::begin().await;
    for truncated in [
        "GET",
        "GET /canhaz/x HTTP/1.1\r\n",
        "GET /canhaz/x HTTP/1.1\r\nhost: localhost\r\n",
        "POST /canhaz/x HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 10\r\n\r\nid=x",
        "POST /v1/capture HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"mutex\": {\"id\": \"1\"}}",
        "POST /v1/capture HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n16\r\n{\"mutex\": {\"id\": \"1\"}}\r\n",
    ] {
        let mut client = server.client().await;
        client.send(truncated.as_bytes()).await;
        client.say_no_more().await;
        let answer = client.answer().await;
        assert!(
            answer.is_none_or(|answer| answer.status / 100 == 4),
            "{truncated}"
        );
    }
    assert_eq!(server.json("/v1/list?count=true").await["count"], 0);
}

/// A router, and a runtime to ask it in.
fn router() -> &'static (Runtime, Router) {
    static DATABASE: OnceLock<Database> = OnceLock::new();
    static ROUTER: OnceLock<(Runtime, Router)> = OnceLock::new();
    ROUTER.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let fresh = runtime.block_on(Database::fresh());
        let mutexes = runtime.block_on(DATABASE.get_or_init(|| fresh).mutexes());
        let mut limits = Limits::default();
        limits.wait = Duration::from_millis(5);
        limits.body_bytes = 2000;
        limits.path_bytes = 500;
        (runtime, Server::new(mutexes).limits(limits).router())
    })
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,3}",
        "[ -~é\u{1}]{0,6}"
            .prop_map(|text| { text.bytes().map(|byte| format!("%{byte:02x}")).collect() }),
        "(%[0-9a-fzZ]{0,2}|[+.~!$'()*,;:@-]){0,4}",
        Just("%00".to_owned()),
        Just(String::new()),
        "[a-z]{300}",
    ]
}

fn pool_call() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/v1/pools/get-session",
        "/v1/pools/checkout",
        "/v1/pools/refresh",
        "/v1/pools/give-back",
        "/v1/pools/success",
        "/v1/pools/lock",
        "/v1/pools/block",
        "/v1/pools/inactive",
        "/v1/pools/activate",
        "/v1/pools/add",
        "/v1/pools/update",
        "/v1/pools/delete",
        "/v1/pools/statistics",
        "/v1/pools/sessions",
    ])
}

fn target() -> impl Strategy<Value = String> {
    let call = prop_oneof![
        Just("/canhaz"),
        Just("/nowant"),
        Just("/dohaz"),
        Just("/v1/capture"),
        Just("/v1/capture-all"),
        Just("/v1/refresh"),
        Just("/v1/release"),
        Just("/v1/request"),
        Just("/v1/list"),
        Just("/v1/waiters"),
        Just("/v1/force-release"),
        pool_call(),
        pool_call(),
        Just("/metrics"),
        Just("/openapi.json"),
        Just("/else"),
    ];
    let name = prop_oneof![
        Just("id".to_owned()),
        Just("token".to_owned()),
        Just("ttl".to_owned()),
        Just("wait".to_owned()),
        Just("lockParents".to_owned()),
        Just("tree".to_owned()),
        Just("path".to_owned()),
        Just("group".to_owned()),
        Just("mode".to_owned()),
        Just("limit".to_owned()),
        Just("after".to_owned()),
        Just("prefix".to_owned()),
        Just("collection".to_owned()),
        Just("filter".to_owned()),
        piece(),
    ];
    let value = prop_oneof![
        piece(),
        "[0-9]{1,25}".prop_map(|text| text),
        "/[a-b]/?".prop_map(|text| text),
        Just("tree".to_owned()),
        // A place in a list, of a number that no permit has.
        Just(
            "7b226964223a7b226964223a2278227d2c227065726d6974223a343239343936373239357d".to_owned()
        ),
        Just("5b7b226964223a2278227d2c2d393232333337323033363835343737353830385d".to_owned()),
    ];
    let query = prop::collection::vec((name, value), 0..4);
    (call, prop::collection::vec(piece(), 0..4), query).prop_map(|(call, path, query)| {
        let mut target = call.to_owned();
        for segment in path {
            target.push('/');
            target.push_str(&segment);
        }
        for (number, (name, value)) in query.iter().enumerate() {
            target.push(if number == 0 { '?' } else { '&' });
            target.push_str(&format!("{name}={value}"));
        }
        target
    })
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop_oneof![
            Just("timeout"),
            Just("60"),
            Just("shared"),
            Just("a"),
            Just("never"),
            Just("\0")
        ]
        .prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("mutex"),
        Just("mutexes"),
        Just("owner"),
        Just("request_id"),
        Just("owner_session"),
        Just("access"),
        Just("permits"),
        Just("wait_seconds"),
        Just("timeout_seconds"),
        Just("auto_release"),
        Just("rule"),
        Just("config"),
        Just("status_data"),
        Just("reason"),
        Just("fencing_token"),
        Just("group"),
        Just("mode"),
        Just("id"),
        Just("tree"),
        Just("path"),
        Just("session"),
        Just("name"),
        Just("lock_parents"),
        Just("collection"),
        Just("payload"),
        Just("set"),
        Just("unset"),
        Just("filter"),
        Just("period_seconds"),
        Just("next_use_delay_seconds"),
        Just("x"),
    ]
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Mostly right, so that it comes further.
fn wish() -> impl Strategy<Value = Value> {
    let text = prop_oneof![Just("a".to_owned()), any::<String>()];
    let name = prop_oneof![
        text.clone().prop_map(|id| serde_json::json!({"id": id})),
        prop::collection::vec(text.clone(), 0..4)
            .prop_map(|path| serde_json::json!({"tree": "t", "path": path})),
    ];
    (
        name,
        text,
        prop::option::of(any::<u32>()),
        prop::option::of(any::<f64>()),
        json(),
    )
        .prop_map(|(mutex, request_id, permits, wait, more)| {
            let mut wish = serde_json::json!({"mutex": mutex, "request_id": request_id});
            let members = wish.as_object_mut().unwrap();
            if let Some(permits) = permits {
                members.insert("permits".to_owned(), permits.into());
            }
            if let Some(wait) = wait {
                members.insert("wait_seconds".to_owned(), wait.into());
            }
            if let Value::Object(more) = more {
                members.extend(more);
            }
            wish
        })
}

/// The same, of a pool.
fn pool_wish() -> impl Strategy<Value = Value> {
    let text = prop_oneof![Just("a".to_owned()), any::<String>()];
    let member = prop_oneof![
        Just("request_id"),
        Just("id"),
        Just("payload"),
        Just("set"),
        Just("unset"),
        Just("filter"),
        Just("count_use"),
        Just("count_success"),
        Just("period_seconds"),
        Just("next_use_delay_seconds"),
        Just("fencing_token"),
    ];
    let condition = (
        prop::option::of(prop_oneof![
            Just("id"),
            Just("active"),
            Just("next_use"),
            Just("use_count"),
            Just("x")
        ]),
        prop::option::of(text.clone()),
        prop_oneof![
            Just("equal"),
            Just("less"),
            Just("contains"),
            Just("exists"),
            Just("x")
        ],
        prop::option::of(json()),
    )
        .prop_map(|(field, path, test, value)| {
            let all =
                serde_json::json!({"field": field, "path": path, "test": test, "value": value});
            let Value::Object(mut all) = all else {
                return all;
            };
            all.retain(|_, value| !value.is_null());
            Value::Object(all)
        });
    let value = prop_oneof![
        json(),
        Just(Value::from("a")),
        Just(Value::from(1)),
        any::<f64>().prop_map(Value::from),
        prop::collection::btree_map(text.clone(), json(), 0..3)
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        prop::collection::vec(condition, 0..3).prop_map(Value::from),
    ];
    (text, prop::collection::btree_map(member, value, 0..4)).prop_map(|(collection, members)| {
        let mut wish = serde_json::json!({"collection": collection});
        let entries = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        wish.as_object_mut().unwrap().extend(entries);
        wish
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        json().prop_map(|json| json.to_string().into_bytes()),
        wish().prop_map(|json| json.to_string().into_bytes()),
        wish().prop_map(|json| json.to_string().into_bytes()),
        pool_wish().prop_map(|json| json.to_string().into_bytes()),
        // Cut off somewhere.
        (wish(), any::<prop::sample::Index>()).prop_map(|(json, cut)| {
            let mut text = json.to_string().into_bytes();
            text.truncate(cut.index(text.len()));
            text
        }),
        target().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..100),
        Just(vec![b'['; 3000]),
        Just(vec![b'['; 1500]),
    ]
}

fn request() -> impl Strategy<Value = Request<Body>> {
    let method = prop_oneof![
        4 => Just(Method::GET),
        6 => Just(Method::POST),
        1 => prop_oneof![Just(Method::HEAD), Just(Method::PUT), Just(Method::OPTIONS), Just(Method::TRACE)],
    ];
    let media_type = prop_oneof![
        6 => Just("application/json"),
        2 => Just("application/x-www-form-urlencoded"),
        1 => Just("text/plain"),
    ];
    let header = (
        prop_oneof![
            Just("idempotency-key"),
            Just("authorization"),
            Just("host"),
            Just("accept"),
            Just("content-encoding")
        ],
        prop::collection::vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8], 0..20),
    );
    (
        method,
        target(),
        media_type,
        prop::option::of(header),
        body(),
    )
        .prop_map(|(method, target, media_type, header, body)| {
            let mut request = Request::builder()
                .method(method)
                .uri(target)
                .header("content-type", media_type);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            request.body(Body::from(body)).unwrap()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_is_a_fault_of_the_servers(request in request()) {
        let (runtime, router) = router();
        let shown = format!("{request:?}");
        let (status, kind, body) = runtime.block_on(async {
            let answer = router.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            let kind = answer.headers().get("content-type").cloned();
            (status, kind, to_bytes(answer.into_body(), 1_000_000).await.unwrap())
        });
        prop_assert!(status < 500, "{status} {shown}: {body:?}");
        if status >= 400 && !body.is_empty() {
            prop_assert_eq!(kind.unwrap(), "application/problem+json");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            prop_assert!(problem["detail"].is_string());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes as they come, over a real connection.
    #[test]
    fn no_bytes_are_a_fault_of_the_servers(
        line in prop_oneof![
            "(GET|POST|PRI|CONNECT|\\*|G\u{0}T) (/canhaz/x|\\*|http://other/canhaz/x|/%00|[ -~]{0,10}) HTTP/(1.1|1.0|2.0|9)\r\n",
            "[ -~\r\n]{0,60}",
        ],
        headers in "((host: localhost|content-length: (5|-1|99999999999999999999)|transfer-encoding: (chunked|gzip)|expect: 100-continue|upgrade: h2c|connection: upgrade|[a-z:\u{0}]{0,8})\r\n){0,4}",
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        static SERVER: OnceLock<std::net::SocketAddr> = OnceLock::new();
        let (runtime, _) = router();
        let address = *SERVER.get_or_init(|| runtime.block_on(async {
            let server = Box::leak(Box::new(Serving::begin().await));
            server.address
        }));
        let answer = runtime.block_on(async {
            let mut client = Client::at(address).await;
            client.send(format!("{line}{headers}\r\n").as_bytes()).await;
            client.send(&rest).await;
            client.say_no_more().await;
            client.answer().await
        });
        prop_assert!(answer.is_none_or(|answer| answer.status < 500));
    }
}
