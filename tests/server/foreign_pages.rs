//! What a foreign web page makes a browser send is refused.

use crate::support::Serving;

#[tokio::test]
async fn requests_of_foreign_pages_are_refused() {
    let server = Serving::begin().await;
    let port = server.address.port();
    let own = format!("http://127.0.0.1:{port}");
    let own_page = format!("{own}/?filter=x");
    let by_name = format!("http://localhost:{port}");
    let name = format!("localhost:{port}");
    let other_port = "http://127.0.0.1:1";
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let foreign: [Headers; 15] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ],
        &[("sec-fetch-site", "\u{e9}")],
        &[("sec-fetch-site", "nonsense")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", other_port)],
        &[("origin", "http://127.0.0.1.evil.example")],
        &[("origin", &own), ("host", "evil.example")],
        &[("host", "evil.example")],
        &[("host", "localhost.evil.example")],
        &[("referer", "http://evil.example/page")],
        &[("referer", "\u{e9}")],
    ];
    for headers in foreign {
        for (method, target) in [
            ("GET", "/canhaz/x"),
            ("GET", "/dohaz/x"),
            ("POST", "/canhaz/x"),
            ("GET", "/v1/list"),
            ("OPTIONS", "/v1/capture"),
        ] {
            let refused = server.client().await.ask(method, target, headers, "").await;
            assert_eq!(
                (refused.status, refused.problem().as_str()),
                (403, "foreign-page"),
                "{headers:?}"
            );
            let allowed = refused.head.to_lowercase().contains("access-control");
            assert!(!allowed, "{refused:?}");
        }
    }
    let own_ones: [Headers; 8] = [
        &[],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
        &[("origin", &own)],
        &[("origin", &by_name), ("host", &name)],
        &[("host", "localhost")],
        &[("host", "[::1]:99")],
        &[("referer", &own_page)],
    ];
    for (number, headers) in own_ones.into_iter().enumerate() {
        let target = format!("/canhaz/{number}");
        let answer = server.client().await.ask("GET", &target, headers, "").await;
        assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
    }
    // Nothing was done for the others.
    let held = server.json("/v1/list?count=true").await;
    assert_eq!(held["count"], 8);
}

#[tokio::test]
async fn origins_and_hosts_can_be_allowed() {
    let settings = |server: pgmutex::server::Server| {
        server
            .allow_origin("https://dash.example/")
            .allow_host("locks.example")
    };
    let server = Serving::with(settings).await;
    let port = server.address.port();
    let host = format!("locks.example:{port}");
    for (headers, status) in [
        (
            [("host", host.as_str()), ("origin", "https://dash.example")],
            200,
        ),
        (
            [
                ("host", "LOCKS.example"),
                ("origin", "https://DASH.example"),
            ],
            200,
        ),
        (
            [("host", host.as_str()), ("origin", "http://dash.example")],
            403,
        ),
        (
            [("host", "127.0.0.1"), ("origin", "https://dash.example")],
            403,
        ),
    ] {
        let answer = server
            .client()
            .await
            .ask("GET", "/dohaz/x", &headers, "")
            .await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
}
