//! Pools of sessions over HTTP.

use pgmutex::server::{Role, TokenList};
use serde_json::{Value, json};

use crate::support::{Serving, eventually};

/// A session with this payload, and its number.
async fn add(server: &Serving, payload: Value) -> i64 {
    let wish = json!({"collection": "accounts", "payload": payload});
    let added = server.post("/v1/pools/add", wish).await;
    assert_eq!(added.status, 200, "{added:?}");
    added.json()["id"].as_i64().unwrap()
}

async fn done(server: &Serving, call: &str, wish: Value) -> Value {
    let answer = server.post(&format!("/v1/pools/{call}"), wish).await;
    assert_eq!(answer.status, 200, "{call}: {answer:?}");
    answer.json()
}

async fn refused(server: &Serving, call: &str, wish: Value) -> (u16, String) {
    let answer = server
        .post(&format!("/v1/pools/{call}"), wish.clone())
        .await;
    assert!(answer.status >= 400, "{call} {wish}: {answer:?}");
    (answer.status, answer.problem())
}

#[tokio::test]
async fn a_session_is_leased_refreshed_and_given_back() {
    let server = Serving::begin().await;
    let id = add(&server, json!({"login": "mole"})).await;
    let wish = json!({
        "collection": "accounts", "request_id": "r-1", "owner": {"name": "Ada"},
        "timeout_seconds": 60, "next_use_delay_seconds": 0,
    });
    let first = done(&server, "checkout", wish.clone()).await;
    assert_eq!(first["outcome"], "captured");
    assert_eq!(
        (&first["session"]["id"], &first["session"]["payload"]),
        (&json!(id), &json!({"login": "mole"}))
    );
    let hold = &first["hold"];
    assert_eq!(
        (&hold["group"], &hold["mode"], &hold["id"]),
        (
            &json!("pgmutex.pool"),
            &json!("accounts"),
            &json!(id.to_string())
        )
    );
    assert_eq!(hold["owner"]["name"], "Ada");
    assert_eq!(hold["auto_release"]["config"], "60");

    // The same request gets the same lease; any other none.
    let again = done(&server, "checkout", wish.clone()).await;
    assert_eq!(again["outcome"], "refreshed");
    assert_eq!(again["session"]["id"], first["session"]["id"]);
    assert_eq!(again["session"]["use_count"], 1);
    assert_eq!(again["hold"]["fencing_token"], hold["fencing_token"]);
    for other in [
        json!({"collection": "accounts"}),
        json!({"collection": "accounts", "request_id": "r-2"}),
        json!({"collection": "accounts", "request_id": "r-1", "owner": {"session": "s"}}),
    ] {
        assert_eq!(
            refused(&server, "checkout", other).await,
            (409, "none-available".to_owned())
        );
    }

    let lease = json!({"collection": "accounts", "request_id": "r-1"});
    let stranger = json!({"collection": "accounts", "owner_session": hold["owner"]["session"]});
    assert_eq!(
        refused(&server, "refresh", stranger.clone()).await,
        (410, "lost".to_owned())
    );
    assert_eq!(
        done(&server, "give-back", stranger).await["outcome"],
        "not_held"
    );
    let refreshed = done(&server, "refresh", lease.clone()).await;
    assert_eq!(refreshed["fencing_token"], hold["fencing_token"]);
    let wrong = json!({"collection": "accounts", "request_id": "r-1", "fencing_token": 1});
    assert_eq!(
        done(&server, "give-back", wrong).await["outcome"],
        "not_held"
    );
    let given = done(&server, "give-back", lease.clone()).await;
    assert_eq!(
        (&given["outcome"], &given["hold"]["fencing_token"]),
        (&json!("released"), &hold["fencing_token"])
    );
    assert_eq!(
        done(&server, "give-back", lease.clone()).await["outcome"],
        "not_held"
    );
    assert_eq!(
        refused(&server, "refresh", lease).await,
        (410, "lost".to_owned())
    );
    let later = done(&server, "checkout", wish).await;
    assert_eq!(later["outcome"], "captured");
    assert!(later["hold"]["fencing_token"].as_i64() > hold["fencing_token"].as_i64());
}

#[tokio::test]
async fn who_waits_gets_what_is_given_back_and_who_gives_up_leaves_the_line() {
    let server = Serving::begin().await;
    add(&server, json!({})).await;
    let lease = |request: &str, wait: u64| {
        json!({
            "collection": "accounts", "request_id": request, "wait_seconds": wait,
            "next_use_delay_seconds": 0,
        })
    };
    let first = done(&server, "checkout", lease("r-1", 0)).await;

    let mut gone = server.client().await;
    let body = lease("r-2", 60).to_string();
    let head = format!(
        "POST /v1/pools/checkout HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    gone.send(head.as_bytes()).await;
    server.are_waiting(1).await;
    drop(gone);
    server.are_waiting(0).await;

    let mut client = server.client().await;
    let waits =
        tokio::spawn(async move { client.post("/v1/pools/checkout", &lease("r-3", 60)).await });
    server.are_waiting(1).await;
    let back = json!({"collection": "accounts", "request_id": "r-1"});
    done(&server, "give-back", back).await;
    let served = waits.await.unwrap();
    assert_eq!(served.status, 200, "{served:?}");
    assert_eq!(served.json()["session"]["id"], first["session"]["id"]);
    assert_eq!(
        refused(
            &server,
            "checkout",
            json!({"collection": "accounts", "wait_seconds": 0.05})
        )
        .await,
        (409, "none-available".to_owned())
    );
    server.are_waiting(0).await;
}

#[tokio::test]
async fn a_lease_that_nobody_hears_of_is_given_back() {
    let server = Serving::begin().await;
    add(&server, json!({})).await;
    let mut gone = server.client().await;
    let body = json!({"collection": "accounts", "next_use_delay_seconds": 0, "wait_seconds": 60});
    let first = gone.post("/v1/pools/checkout", &body).await;
    assert_eq!(first.status, 200, "{first:?}");
    let request_id = first.json()["request_id"].as_str().unwrap().to_owned();
    // One who has named no request waits, and is gone before the answer.
    let text = body.to_string();
    let head = format!(
        "POST /v1/pools/checkout HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    gone.send(head.as_bytes()).await;
    server.are_waiting(1).await;
    let back = json!({"collection": "accounts", "request_id": request_id});
    let giving = done(&server, "give-back", back);
    drop(gone);
    giving.await;
    eventually(async || {
        let list = server.json("/v1/list?group=pgmutex.pool").await;
        list["holds"].as_array().unwrap().is_empty()
    })
    .await;
    let next = json!({"collection": "accounts", "request_id": "r-1", "wait_seconds": 60});
    assert_eq!(done(&server, "checkout", next).await["outcome"], "captured");
}

#[tokio::test]
async fn a_session_is_taken_without_a_lease() {
    let server = Serving::begin().await;
    let id = add(&server, json!({"country": "DE"})).await;
    let french = json!({
        "collection": "accounts",
        "filter": [{"path": "country", "test": "equal", "value": "FR"}],
    });
    assert_eq!(
        refused(&server, "get-session", french).await,
        (409, "none-available".to_owned())
    );
    let wish = json!({
        "collection": "accounts", "request_id": "r-1", "count_use": 2, "next_use_delay_seconds": 600,
        "filter": [{"path": "country", "test": "equal", "value": "DE"}],
    });
    let taken = done(&server, "get-session", wish.clone()).await;
    assert_eq!((&taken["id"], &taken["use_count"]), (&json!(id), &json!(2)));
    assert_eq!(done(&server, "get-session", wish).await, taken);
    // A lease with the same request id is another request.
    for call in ["get-session", "checkout"] {
        let other = json!({"collection": "accounts", "request_id": if call == "checkout" { "r-1" } else { "r-2" }});
        assert_eq!(
            refused(&server, call, other).await,
            (409, "none-available".to_owned())
        );
    }
}

#[tokio::test]
async fn sessions_are_changed() {
    let server = Serving::begin().await;
    let id = add(&server, json!({"session": {"phone": "1", "code": 2}})).await;
    let it = json!({"collection": "accounts", "id": id});
    let with = |more: Value| {
        let mut wish = it.clone();
        let members = wish.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        wish
    };
    let update = with(json!({"set": {"session.phone": "3"}, "unset": ["session.code"]}));
    let updated = done(&server, "update", update).await;
    assert_eq!(updated["payload"], json!({"session": {"phone": "3"}}));
    let counted = done(&server, "success", with(json!({"count_success": 3}))).await;
    assert_eq!(counted["success_count"], 3);
    for (call, state, more) in [
        ("lock", "locked", json!({"period_seconds": 600})),
        ("block", "blocked", json!({})),
        ("inactive", "inactive", json!({})),
    ] {
        done(&server, call, with(more)).await;
        let statistics = server.json("/v1/pools/statistics").await;
        let pool = &statistics["pools"][0];
        assert_eq!(
            (&pool["collection"], &pool["total"], &pool[state]),
            (&json!("accounts"), &json!(1), &json!(1)),
            "{call}"
        );
        assert_eq!(
            refused(&server, "checkout", json!({"collection": "accounts"})).await,
            (409, "none-available".to_owned())
        );
    }
    assert_eq!(done(&server, "activate", it.clone()).await["active"], true);
    for call in ["success", "lock", "block"] {
        let wish = with(json!({"fencing_token": 1}));
        assert_eq!(
            refused(&server, call, wish).await,
            (404, "unknown-session".to_owned())
        );
    }
    assert_eq!(done(&server, "delete", it.clone()).await["id"], id);
    for call in [
        "success", "lock", "block", "inactive", "activate", "update", "delete",
    ] {
        assert_eq!(
            refused(&server, call, it.clone()).await,
            (404, "unknown-session".to_owned()),
            "{call}"
        );
    }
    let none = server
        .json("/v1/pools/statistics?collection=accounts")
        .await;
    assert_eq!(none["pools"][0]["total"], 0);
    assert_eq!(
        server.json("/v1/pools/statistics").await,
        json!({"pools": []})
    );
}

#[tokio::test]
async fn sessions_are_listed_in_pages() {
    let server = Serving::begin().await;
    let mut ids = Vec::new();
    for country in ["DE", "FR", "DE", "DE"] {
        ids.push(add(&server, json!({"country": country})).await);
    }
    let numbers = |list: &Value| -> Vec<i64> {
        let sessions = list["sessions"].as_array().unwrap();
        sessions
            .iter()
            .map(|session| session["id"].as_i64().unwrap())
            .collect()
    };
    let all = server.json("/v1/pools/sessions?collection=accounts").await;
    assert_eq!((numbers(&all), &all["next"]), (ids.clone(), &Value::Null));
    let german = "%5B%7B%22path%22:%22country%22,%22test%22:%22equal%22,%22value%22:%22DE%22%7D%5D";
    let target = format!("/v1/pools/sessions?collection=accounts&limit=2&filter={german}");
    let some = server.json(&target).await;
    assert_eq!(numbers(&some), [ids[0], ids[2]]);
    let next = some["next"].as_str().unwrap();
    let rest = server.json(&format!("{target}&after={next}")).await;
    assert_eq!(
        (numbers(&rest), &rest["next"]),
        (vec![ids[3]], &Value::Null)
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let server = Serving::begin().await;
    let id = add(&server, json!({"a": 1})).await;
    let target = "/v1/pools/sessions?collection=accounts";
    let before = server.json(target).await;
    let filter = |filter: Value| json!({"collection": "accounts", "filter": filter});
    let of_it = |more: Value| {
        let mut wish = json!({"collection": "accounts", "id": id});
        let members = wish.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        wish
    };
    for (call, wish, problem) in [
        ("checkout", json!({}), "malformed"),
        (
            "checkout",
            json!({"collection": "accounts", "pool": 1}),
            "malformed",
        ),
        ("checkout", json!({"collection": ""}), "invalid"),
        ("checkout", json!({"collection": "\0"}), "invalid"),
        (
            "checkout",
            json!({"collection": "x".repeat(401)}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "timeout_seconds": 0}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "wait_seconds": -1}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "next_use_delay_seconds": -1}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "next_use_delay_seconds": 1e300}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "count_use": u64::MAX}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "count_use": -1}),
            "malformed",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "request_id": ""}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "status_data": "\0"}),
            "invalid",
        ),
        (
            "checkout",
            json!({"collection": "accounts", "auto_release": {"rule": "connection", "config": "1"}}),
            "invalid",
        ),
        (
            "checkout",
            filter(json!([{"path": "a..b", "test": "exists"}])),
            "invalid",
        ),
        (
            "checkout",
            filter(json!([{"path": "a", "test": "like"}])),
            "malformed",
        ),
        ("checkout", filter(json!([{"test": "exists"}])), "invalid"),
        (
            "get-session",
            filter(json!([{"field": "next_use", "test": "less", "value": "soon"}])),
            "invalid",
        ),
        ("get-session", filter(json!({})), "malformed"),
        ("give-back", json!({"collection": "accounts"}), "invalid"),
        (
            "give-back",
            json!({"collection": "\0", "request_id": "r"}),
            "invalid",
        ),
        ("refresh", json!({"collection": "accounts"}), "invalid"),
        (
            "add",
            json!({"collection": "accounts", "payload": []}),
            "invalid",
        ),
        (
            "add",
            json!({"collection": "accounts", "payload": {"a": "\0"}}),
            "invalid",
        ),
        ("add", json!({"collection": "accounts"}), "malformed"),
        ("update", of_it(json!({"set": {"a.b": 1}})), "invalid"),
        ("update", of_it(json!({"set": {"": 1}})), "invalid"),
        (
            "update",
            of_it(json!({"set": {"a": 1}, "unset": ["a"]})),
            "invalid",
        ),
        ("lock", of_it(json!({"period_seconds": -1})), "invalid"),
        ("block", of_it(json!({"period_seconds": 1e10})), "invalid"),
        (
            "success",
            of_it(json!({"count_success": u64::MAX})),
            "invalid",
        ),
        ("success", of_it(json!({"fencing_token": 1.5})), "malformed"),
        (
            "delete",
            json!({"collection": "accounts", "id": "1"}),
            "malformed",
        ),
    ] {
        assert_eq!(
            refused(&server, call, wish.clone()).await,
            (400, problem.to_owned()),
            "{call} {wish}"
        );
    }
    for (query, problem) in [
        ("sessions", "invalid"),
        ("sessions?collection=", "invalid"),
        ("sessions?collection=a&limit=0", "invalid"),
        ("sessions?collection=a&after=7b7d", "invalid"),
        ("sessions?collection=a&filter=x", "invalid"),
        ("sessions?collection=a&pool=x", "malformed"),
        ("statistics?collection=%00", "invalid"),
        ("statistics?pool=x", "malformed"),
    ] {
        let refused = server.get(&format!("/v1/pools/{query}")).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (400, problem),
            "{query}"
        );
    }
    assert_eq!(server.json(target).await, before);
}

#[tokio::test]
async fn payloads_are_for_those_who_may_take_them() {
    let (reader, line) = TokenList::new_token("who-looks", Role::Reader).unwrap();
    let list = TokenList::parse(&line).unwrap();
    let server = Serving::with(|server| server.tokens(list)).await;
    let bearer = format!("Bearer {}", reader.reveal());
    let headers = [("authorization", bearer.as_str())];
    for (target, status) in [
        ("/v1/pools/statistics", 200),
        ("/v1/pools/sessions?collection=accounts", 403),
    ] {
        let answer = server.client().await.ask("GET", target, &headers, "").await;
        assert_eq!(answer.status, status, "{target}");
    }
}
