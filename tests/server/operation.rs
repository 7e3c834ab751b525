//! What operators and their tools see.

use serde_json::Value;

use crate::support::Serving;

#[tokio::test]
async fn answers_say_what_browsers_may_do_with_them() {
    let server = Serving::begin().await;
    for target in [
        "/canhaz/x",
        "/dohaz/%zz",
        "/v1/list",
        "/healthz",
        "/nothing",
    ] {
        let answer = server.get(target).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    }
}

#[tokio::test]
async fn the_description_names_what_is_there() {
    let server = Serving::begin().await;
    let document = server.json("/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let capture = &document["paths"]["/v1/capture"]["post"];
    let answers: Vec<&String> = capture["responses"].as_object().unwrap().keys().collect();
    assert_eq!(answers, ["200", "400", "409", "503"]);
    // Whatever is referred to is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    let open = &document["paths"]["/healthz"]["get"]["security"];
    assert_eq!(open, &serde_json::json!([{}]));
}

#[tokio::test]
async fn metrics_count_what_was_asked_and_what_the_library_did() {
    let server = Serving::with(|server| server.collect_metrics()).await;
    server.lock("secret-path?id=secret-id").await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "pgmutex_http_requests_total{route=\"/canhaz/{*rest}\",method=\"GET\",status=\"200\"}",
        "pgmutex_http_request_seconds_bucket{route=\"/canhaz/{*rest}\",le=\"0.001\"}",
        "pgmutex_http_at_work ",
        "pgmutex_captures_total{outcome=\"captured\"}",
    ] {
        assert!(answer.body.contains(line), "{line}: {}", answer.body);
    }
    assert!(!answer.body.contains("secret"), "{}", answer.body);
}

#[tokio::test]
async fn a_server_is_ready_when_its_database_is() {
    let server = Serving::begin().await;
    assert_eq!(server.get("/readyz").await.status, 200);
    let (client, connection) =
        tokio_postgres::connect(&server.database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("alter schema pgmutex rename to away")
        .await
        .unwrap();
    let not_ready = server.get("/readyz").await;
    assert_eq!(
        (not_ready.status, not_ready.problem().as_str()),
        (503, "not-ready")
    );
    assert_eq!(server.get("/healthz").await.status, 200);
    // What clients read has no SQL in it, and nothing of where the database is.
    for target in ["/canhaz/x", "/dohaz/x", "/v1/list", "/readyz"] {
        let failed = server.get(target).await;
        assert_eq!(
            (failed.status, failed.problem().as_str()),
            (503, "not-ready"),
            "{target}"
        );
        assert_eq!(failed.header("retry-after"), Some("30"));
        let text = failed.body.to_lowercase();
        for inside in [
            "select", "schema", "pgmutex.", "function", "relation", "host",
        ] {
            assert!(!text.contains(inside), "{text}");
        }
    }
    client
        .batch_execute("alter schema away rename to pgmutex")
        .await
        .unwrap();
    let held: Value = server.json("/v1/list?count=true").await;
    assert_eq!(held["count"], 0);
}
