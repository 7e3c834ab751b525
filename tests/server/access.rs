//! Tokens and roles.

use std::net::SocketAddr;

use pgmutex::server::{Role, ServeError, Server, TokenList, TokenListError};
use serde_json::json;

use crate::support::{Answer, Database, Serving, path};

/// A token for each role, and the list of them.
struct Tokens {
    list: TokenList,
    of: Vec<(Role, String)>,
}

fn tokens() -> Tokens {
    let roles = [Role::Reader, Role::Application, Role::Admin];
    let made = roles.map(|role| {
        (
            role,
            TokenList::new_token(&format!("the-{role}"), role).unwrap(),
        )
    });
    let lines: Vec<&str> = made.iter().map(|(_, (_, line))| line.as_str()).collect();
    Tokens {
        list: TokenList::parse(&lines.join("\n")).unwrap(),
        of: made
            .iter()
            .map(|(role, (token, _))| (*role, token.reveal().to_owned()))
            .collect(),
    }
}

async fn ask(server: &Serving, token: Option<&str>, method: &str, target: &str) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    if let Some(bearer) = &bearer {
        headers.push(("authorization", bearer));
    }
    let body = match (method, target) {
        ("POST", "/v1/force-release") => {
            json!({"mutex": path(["x"]), "reason": "test"}).to_string()
        }
        ("POST", "/v1/capture-all") => {
            json!({"mutexes": [{"mutex": path(["y"])}], "request_id": "r"}).to_string()
        }
        ("POST", target) if target.starts_with("/v1/") => {
            json!({"mutex": path(["y"]), "request_id": "r"}).to_string()
        }
        _ => {
            headers.retain(|(name, _)| *name != "content-type");
            String::new()
        }
    };
    server
        .client()
        .await
        .ask(method, target, &headers, &body)
        .await
}

#[tokio::test]
async fn each_role_may_do_what_it_is_for_and_no_more() {
    let tokens = tokens();
    let list = tokens.list.clone();
    let server = Serving::with(|server| server.tokens(list).collect_metrics()).await;
    let routes = [
        ("GET", "/canhaz/x", Some(Role::Application)),
        ("GET", "/canhaz", Some(Role::Application)),
        ("POST", "/canhaz/", Some(Role::Application)),
        ("GET", "/nowant/x", Some(Role::Application)),
        ("POST", "/nowant/x", Some(Role::Application)),
        ("GET", "/dohaz/x", Some(Role::Reader)),
        ("POST", "/dohaz", Some(Role::Reader)),
        ("POST", "/v1/capture", Some(Role::Application)),
        ("POST", "/v1/capture-all", Some(Role::Application)),
        ("POST", "/v1/refresh", Some(Role::Application)),
        ("POST", "/v1/release", Some(Role::Application)),
        ("GET", "/v1/request?tree=locker&path=/", Some(Role::Reader)),
        ("GET", "/v1/list", Some(Role::Reader)),
        ("GET", "/v1/waiters", Some(Role::Reader)),
        ("POST", "/v1/pools/get-session", Some(Role::Application)),
        ("POST", "/v1/pools/checkout", Some(Role::Application)),
        ("POST", "/v1/pools/refresh", Some(Role::Application)),
        ("POST", "/v1/pools/give-back", Some(Role::Application)),
        ("POST", "/v1/pools/success", Some(Role::Application)),
        ("POST", "/v1/pools/lock", Some(Role::Application)),
        ("POST", "/v1/pools/block", Some(Role::Application)),
        ("POST", "/v1/pools/inactive", Some(Role::Application)),
        ("POST", "/v1/pools/activate", Some(Role::Application)),
        ("POST", "/v1/pools/add", Some(Role::Application)),
        ("POST", "/v1/pools/update", Some(Role::Application)),
        ("POST", "/v1/pools/delete", Some(Role::Application)),
        ("GET", "/v1/pools/statistics", Some(Role::Reader)),
        ("GET", "/v1/pools/sessions", Some(Role::Application)),
        ("GET", "/metrics", Some(Role::Reader)),
        ("POST", "/v1/force-release", Some(Role::Admin)),
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("GET", "/openapi.json", None),
    ];
    for (method, target, needed) in routes {
        let nobody = ask(&server, None, method, target).await;
        match needed {
            None => assert_eq!(nobody.status, 200, "{target}: {nobody:?}"),
            Some(_) => {
                assert_eq!(nobody.problem(), "unauthenticated", "{target}");
                assert!(
                    nobody
                        .header("www-authenticate")
                        .unwrap()
                        .starts_with("Bearer")
                );
                assert_eq!(nobody.status, 401);
            }
        }
        for (role, token) in &tokens.of {
            let answer = ask(&server, Some(token), method, target).await;
            match needed {
                Some(needed) if *role < needed => {
                    assert_eq!(
                        (answer.status, answer.problem().as_str()),
                        (403, "forbidden"),
                        "{role} {target}"
                    );
                }
                _ => assert!(
                    ![401, 403].contains(&answer.status),
                    "{role} {target}: {answer:?}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_known_token_is_refused_whatever_it_looks_like() {
    let tokens = tokens();
    let list = tokens.list.clone();
    let server = Serving::with(|server| server.tokens(list)).await;
    let (_, admin) = tokens.of.last().unwrap();
    for wrong in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer guess".to_owned(),
        format!("Basic {admin}"),
        admin.clone(),
        format!("Bearer {}", admin.to_uppercase()),
        format!("Bearer {admin}x"),
        "Bearer \u{e9}".to_owned(),
    ] {
        let headers = [("authorization", wrong.as_str())];
        let refused = server
            .client()
            .await
            .ask("GET", "/v1/list", &headers, "")
            .await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (401, "unauthenticated"),
            "{wrong}"
        );
        assert!(!refused.body.contains("guess"));
    }
    let headers = [("authorization", format!("bearer {admin}"))];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    assert_eq!(
        server
            .client()
            .await
            .ask("GET", "/v1/list", &headers, "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn one_application_cannot_use_the_holds_of_another() {
    let (one, one_line) = TokenList::new_token("one", Role::Application).unwrap();
    let (two, two_line) = TokenList::new_token("two", Role::Application).unwrap();
    let list = TokenList::parse(&format!("{one_line}\n{two_line}")).unwrap();
    let server = Serving::with(|server| server.tokens(list)).await;
    let body =
        json!({"mutex": {"id": "1"}, "request_id": "r", "owner": {"session": "s"}}).to_string();
    let ask = async |token: &str, target: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        server
            .client()
            .await
            .ask("POST", target, &headers, body)
            .await
    };
    let captured = ask(one.reveal(), "/v1/capture", &body).await;
    assert_eq!(captured.json()["hold"]["owner"]["login"], "one");
    assert_eq!(
        ask(two.reveal(), "/v1/capture", &body).await.problem(),
        "busy"
    );
    let body = json!({"mutex": {"id": "1"}, "request_id": "r", "owner_session": "s"}).to_string();
    assert_eq!(
        ask(two.reveal(), "/v1/release", &body).await.problem(),
        "busy"
    );
    assert_eq!(
        ask(one.reveal(), "/v1/release", &body).await.json()["outcome"],
        "released"
    );
}

#[tokio::test]
async fn an_application_that_knows_its_users_says_who_asks() {
    use pgmutex::axum::{Extension, body::Body, http::Request};
    use pgmutex::server::Principal;
    use tower::ServiceExt;

    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let router = Server::new(mutexes).tokens(tokens().list).router();
    for (role, expected) in [(Role::Reader, 403), (Role::Application, 200)] {
        let router = router.clone().layer(Extension(Principal::new("ada", role)));
        let request = Request::get("/canhaz/x").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn a_mounted_router_serves_below_its_prefix() {
    use pgmutex::axum::{Router, body::Body, http::Request};
    use tower::ServiceExt;

    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let router = Router::new().nest("/locks", pgmutex::server::router(mutexes));
    let request = Request::get("/locks/canhaz/a/b?id=x")
        .body(Body::empty())
        .unwrap();
    let locked = router.clone().oneshot(request).await.unwrap();
    assert_eq!(locked.status(), 200);
    let body = pgmutex::axum::body::to_bytes(locked.into_body(), 1000)
        .await
        .unwrap();
    assert!(body.starts_with(b"{\"ok\":true"));
    let request = Request::get("/locks/dohaz/a").body(Body::empty()).unwrap();
    let held = router.oneshot(request).await.unwrap();
    let body = pgmutex::axum::body::to_bytes(held.into_body(), 1000)
        .await
        .unwrap();
    assert_eq!(body, "{\"lockedBy\":\"x\"}");
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served_unless_it_is_said() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let everywhere: SocketAddr = ([0, 0, 0, 0], 0).into();
    let refused = Server::new(mutexes.clone()).bind(everywhere).await;
    assert!(matches!(refused, Err(ServeError::Open { .. })));
    let _ = Server::new(mutexes.clone())
        .open_to_all()
        .bind(everywhere)
        .await
        .unwrap();
    let _ = Server::new(mutexes.clone())
        .tokens(tokens().list)
        .bind(everywhere)
        .await
        .unwrap();
    let local: SocketAddr = "[::1]:0".parse().unwrap();
    let _ = Server::new(mutexes).bind(local).await.unwrap();
}

#[test]
fn a_token_list_says_which_line_is_wrong_and_never_what_stands_there() {
    let hash = "ab".repeat(32);
    for wrong in [
        format!("reader {hash}"),
        format!("boss x {hash}"),
        "reader x secret-token".to_owned(),
        format!("reader x {hash} more"),
        format!("reader {} {hash}", "x".repeat(101)),
        format!("admin y {hash}\nreader x {hash}"),
    ] {
        let text = format!("# remark\n\nadmin a {} # fine\n{wrong}\n", "cd".repeat(32));
        let error = TokenList::parse(&text).unwrap_err();
        let TokenListError::Line { line, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(line, if wrong.contains('\n') { 5 } else { 4 }, "{wrong}");
        assert!(!error.to_string().contains("secret-token"));
    }
    assert_eq!(
        TokenList::parse("# none\n").unwrap_err(),
        TokenListError::Empty
    );
    assert_eq!(
        TokenList::new_token("two words", Role::Admin).unwrap_err(),
        TokenListError::Name
    );
    assert_eq!(
        TokenList::new_token("", Role::Admin).unwrap_err(),
        TokenListError::Name
    );
}

#[test]
fn nothing_secret_is_shown() {
    let (token, line) = TokenList::new_token("x", Role::Admin).unwrap();
    let hash = line.split(' ').next_back().unwrap();
    let list = TokenList::parse(&line).unwrap();
    for shown in [
        format!("{token:?}"),
        format!("{list:?}"),
        format!("{:?}", list.holder_of(token.reveal())),
    ] {
        assert!(
            !shown.contains(token.reveal()) && !shown.contains(hash),
            "{shown}"
        );
    }
}
