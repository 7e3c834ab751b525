//! The verbs under `/v1`.

use serde_json::{Value, json};

use crate::support::{Serving, path};

fn mutex(id: &str) -> Value {
    json!({"group": "tests", "mode": "step", "id": id})
}

#[tokio::test]
async fn a_mutex_is_captured_refreshed_and_released() {
    let server = Serving::begin().await;
    let wish = json!({
        "mutex": mutex("1"), "owner": {"name": "Ada", "user_id": "7"}, "timeout_seconds": 60, "status_data": "req-7",
    });
    let captured = server.post("/v1/capture", wish).await;
    assert_eq!(captured.status, 200, "{captured:?}");
    let captured = captured.json();
    assert_eq!(captured["outcome"], "captured");
    let hold = &captured["hold"];
    assert_eq!(hold["owner"]["name"], "Ada");
    assert_eq!(hold["owner"]["host"], "127.0.0.1");
    assert_eq!(hold["status_data"], "req-7");
    assert_eq!(
        hold["auto_release"],
        json!({"rule": "timeout", "config": "60"})
    );
    let request_id = &captured["request_id"];

    let state = server.json("/v1/request?group=tests&mode=step&id=1").await;
    assert_eq!(state["state"], "captured");
    assert_eq!(&state["holds"][0], hold);
    assert_eq!(&state["in_the_way"], hold);

    let busy = server
        .post("/v1/capture", json!({"mutex": mutex("1")}))
        .await;
    assert_eq!((busy.status, busy.problem().as_str()), (409, "busy"));
    assert_eq!(&busy.json()["holder"], hold);
    assert!(busy.json()["observed_at"].is_string());

    // Nobody else can refresh or release it.
    for verb in ["refresh", "release"] {
        let wish = json!({"mutex": mutex("1"), "request_id": "a guess"});
        let refused = server.post(&format!("/v1/{verb}"), wish).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (409, "busy"),
            "{verb}"
        );
        let wish = json!({"mutex": mutex("1"), "owner_session": hold["owner"]["session"]});
        let refused = server.post(&format!("/v1/{verb}"), wish).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (409, "busy"),
            "{verb}"
        );
        let nobody = server
            .post(&format!("/v1/{verb}"), json!({"mutex": mutex("1")}))
            .await;
        assert_eq!(
            (nobody.status, nobody.problem().as_str()),
            (400, "invalid"),
            "{verb}"
        );
    }

    let wish = json!({"mutex": mutex("1"), "request_id": request_id, "status_data": "still"});
    let refreshed = server.post("/v1/refresh", wish).await.json();
    assert_eq!(refreshed["fencing_token"], hold["fencing_token"]);
    assert_eq!(refreshed["status_data"], "still");

    let wish = json!({"mutex": mutex("1"), "request_id": request_id, "fencing_token": 1});
    let other = server.post("/v1/release", wish).await;
    assert_eq!(
        (other.status, &other.json()["outcome"]),
        (200, &json!("not_held"))
    );
    let wish = json!({"mutex": mutex("1"), "request_id": request_id});
    let released = server.post("/v1/release", wish.clone()).await.json();
    assert_eq!(released["outcome"], "released");
    assert_eq!(released["hold"]["fencing_token"], hold["fencing_token"]);
    let again = server.post("/v1/release", wish.clone()).await.json();
    assert_eq!(again, json!({"outcome": "not_held", "hold": null}));
    let lost = server.post("/v1/refresh", wish).await;
    assert_eq!((lost.status, lost.problem().as_str()), (410, "lost"));
    let state = server.json("/v1/request?group=tests&mode=step&id=1").await;
    assert_eq!(
        state,
        json!({"state": "free", "holds": [], "in_the_way": null})
    );
}

#[tokio::test]
async fn a_request_that_is_repeated_gets_the_same_hold() {
    let server = Serving::begin().await;
    let wish = json!({"mutex": mutex("1"), "request_id": "r-1"});
    let first = server.post("/v1/capture", wish.clone()).await.json();
    let second = server.post("/v1/capture", wish).await.json();
    assert_eq!(first["outcome"], "captured");
    assert_eq!(second["outcome"], "refreshed");
    assert_eq!(
        first["hold"]["fencing_token"],
        second["hold"]["fencing_token"]
    );
    assert_eq!(first["hold"]["held_since"], second["hold"]["held_since"]);

    // The header says the same.
    let mut client = server.client().await;
    let body = json!({"mutex": mutex("1")}).to_string();
    for key in ["r-1", "\"r-1\""] {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let third = client.ask("POST", "/v1/capture", &headers, &body).await;
        assert_eq!(
            third.json()["hold"]["fencing_token"],
            first["hold"]["fencing_token"]
        );
    }
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "r-2"),
    ];
    let body = json!({"mutex": mutex("1"), "request_id": "r-1"}).to_string();
    let both = client.ask("POST", "/v1/capture", &headers, &body).await;
    assert_eq!((both.status, both.problem().as_str()), (400, "invalid"));

    // Another request, or another owner, is another holder.
    for other in [
        json!({"mutex": mutex("1"), "request_id": "r-2"}),
        json!({"mutex": mutex("1"), "request_id": "r-1", "owner": {"session": "s"}}),
        json!({"mutex": mutex("1"), "owner": {"session": "r-1"}}),
        json!({"mutex": mutex("1"), "owner": {"session": "=r-1"}}),
        json!({"mutex": mutex("1")}),
    ] {
        let refused = server.post("/v1/capture", other.clone()).await;
        assert_eq!(refused.status, 409, "{other}");
    }
}

#[tokio::test]
async fn an_owner_with_a_session_is_the_same_from_request_to_request() {
    let server = Serving::begin().await;
    let owner = json!({"session": "s-1", "name": "Ada"});
    let wish = json!({"mutex": mutex("1"), "owner": owner});
    let first = server.post("/v1/capture", wish.clone()).await.json();
    assert_eq!(first["request_id"], Value::Null);
    assert_eq!(
        server.post("/v1/capture", wish).await.json()["outcome"],
        "refreshed"
    );
    let wish = json!({"mutex": mutex("1"), "owner_session": "s-1"});
    assert_eq!(server.post("/v1/refresh", wish.clone()).await.status, 200);
    assert_eq!(
        server.post("/v1/release", wish).await.json()["outcome"],
        "released"
    );
}

#[tokio::test]
async fn permits_and_readers_share() {
    let server = Serving::begin().await;
    let permit = json!({"mutex": mutex("sem"), "permits": 2});
    let first = server.post("/v1/capture", permit.clone()).await.json();
    assert_eq!(first["hold"]["access"], "shared");
    assert_eq!(
        (&first["hold"]["permit"], &first["hold"]["permits"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        server.post("/v1/capture", permit.clone()).await.json()["hold"]["permit"],
        2
    );
    assert_eq!(server.post("/v1/capture", permit).await.problem(), "busy");

    let read = json!({"mutex": mutex("rw"), "access": "shared"});
    for _ in 0..3 {
        assert_eq!(server.post("/v1/capture", read.clone()).await.status, 200);
    }
    let write = json!({"mutex": mutex("rw"), "access": "exclusive"});
    assert_eq!(server.post("/v1/capture", write).await.problem(), "busy");
    let state = server.json("/v1/request?group=tests&mode=step&id=rw").await;
    assert_eq!(state["holds"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_path_is_the_same_by_all_its_names() {
    let server = Serving::begin().await;
    let token = server.lock("rack1/b%2F3?id=timmy").await;
    let above = server
        .post("/v1/capture", json!({"mutex": path(["rack1"])}))
        .await;
    assert_eq!(above.problem(), "busy");
    assert_eq!(above.json()["holder"]["id"], "/rack1/b%2F3/");
    for query in [
        "tree=locker&path=/rack1/b%252F3",
        "tree=locker&path=%2Frack1%2Fb%252F3%2F",
        "group=locker&mode=tree&id=/rack1/b%252F3/",
    ] {
        let state = server.json(&format!("/v1/request?{query}")).await;
        assert_eq!(state["holds"][0]["owner"]["name"], "timmy", "{query}");
    }
    let state = server.json("/v1/request?tree=locker&path=/").await;
    assert_eq!(state["state"], "free");
    assert_eq!(state["in_the_way"]["id"], "/rack1/b%2F3/");
    server
        .json(&format!("/nowant/rack1/b%2F3?token={token}"))
        .await;

    // By the name of its hold it is captured as a path, too.
    let name = json!({"group": "locker", "mode": "tree", "id": "/rack1/board3/"});
    let below = server
        .post("/v1/capture", json!({"mutex": name, "request_id": "r"}))
        .await;
    assert_eq!(below.json()["hold"]["lock_parents"], true);
    assert_eq!(server.json("/canhaz/rack1").await["ok"], false);
    let name = path(["rack1", "board3"]);
    let released = server
        .post("/v1/release", json!({"mutex": name, "request_id": "r"}))
        .await;
    assert_eq!(released.json()["outcome"], "released");

    let wish = json!({"mutex": path(["a", "b"]), "lock_parents": false, "request_id": "r"});
    let hold = server.post("/v1/capture", wish).await.json()["hold"].clone();
    assert_eq!(
        (&hold["lock_parents"], &hold["lock_children"]),
        (&json!(false), &json!(true))
    );
    server.lock("a?lockChildren=False").await;
}

#[tokio::test]
async fn several_are_captured_together_or_not_at_all() {
    let server = Serving::begin().await;
    let wish = json!({
        "mutexes": [{"mutex": mutex("b")}, {"mutex": mutex("a"), "access": "shared"}, {"mutex": path(["rack1"])}],
        "request_id": "r",
    });
    let captured = server.post("/v1/capture-all", wish.clone()).await;
    assert_eq!(captured.status, 200, "{captured:?}");
    let ids: Vec<Value> = captured.json()["captured"]
        .as_array()
        .unwrap()
        .iter()
        .map(|captured| captured["hold"]["id"].clone())
        .collect();
    assert_eq!(ids, ["b", "a", "/rack1/"]);
    let other =
        json!({"mutexes": [{"mutex": mutex("c")}, {"mutex": mutex("b")}], "request_id": "s"});
    assert_eq!(
        server.post("/v1/capture-all", other).await.problem(),
        "busy"
    );
    let state = server.json("/v1/request?group=tests&mode=step&id=c").await;
    assert_eq!(state["state"], "free");

    let too_many: Vec<Value> = (0..101)
        .map(|n| json!({"mutex": mutex(&n.to_string())}))
        .collect();
    for wrong in [
        json!({"mutexes": [], "request_id": "r"}),
        json!({"mutexes": too_many, "request_id": "r"}),
        json!({"mutexes": [{"mutex": mutex("a")}]}),
        json!({"mutexes": [{"mutex": mutex("z")}, {"mutex": mutex("z")}], "request_id": "r"}),
    ] {
        let refused = server.post("/v1/capture-all", wrong).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (400, "invalid")
        );
    }
}

#[tokio::test]
async fn lists_have_filters_and_pages() {
    let server = Serving::begin().await;
    for id in ["a1", "a2", "b1", "b2", "b3"] {
        let wish = json!({"mutex": mutex(id), "owner": {"session": id, "user_id": "7"}});
        assert_eq!(server.post("/v1/capture", wish).await.status, 200);
    }
    server.lock("tree/path").await;
    let ids = |list: &Value| -> Vec<String> {
        let holds = list["holds"].as_array().unwrap();
        holds
            .iter()
            .map(|hold| hold["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = server.json("/v1/list?count=true").await;
    assert_eq!(ids(&all), ["/tree/path/", "a1", "a2", "b1", "b2", "b3"]);
    assert_eq!((&all["next"], &all["count"]), (&Value::Null, &json!(6)));
    let some = server
        .json("/v1/list?group=tests&prefix=b&limit=2&count=true")
        .await;
    assert_eq!(
        (ids(&some), &some["count"]),
        (vec!["b1".to_owned(), "b2".to_owned()], &json!(3))
    );
    let next = some["next"].as_str().unwrap();
    let rest = server
        .json(&format!(
            "/v1/list?group=tests&prefix=b&limit=2&after={next}"
        ))
        .await;
    assert_eq!(
        (ids(&rest), &rest["next"]),
        (vec!["b3".to_owned()], &Value::Null)
    );
    assert_eq!(
        ids(&server.json("/v1/list?mode=tree").await),
        ["/tree/path/"]
    );
    assert_eq!(ids(&server.json("/v1/list?user_id=7&id=a2").await), ["a2"]);
    assert_eq!(
        ids(&server.json("/v1/list?rule=timeout&prefix=a").await),
        ["a1", "a2"]
    );
    let session = rest["holds"][0]["owner"]["session"].as_str().unwrap();
    assert_eq!(
        ids(&server
            .json(&format!("/v1/list?owner_session={session}"))
            .await),
        ["b3"]
    );
    for (wrong, problem) in [
        ("limit=0", "invalid"),
        ("limit=1001", "invalid"),
        ("limit=x", "invalid"),
        ("after=zz", "invalid"),
        ("after=7b7d", "invalid"),
        ("group=%00", "invalid"),
        ("count=maybe", "invalid"),
        ("grup=tests", "malformed"),
        ("group=a&group=b", "invalid"),
    ] {
        let refused = server.get(&format!("/v1/list?{wrong}")).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (400, problem),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn looking_changes_nothing() {
    let server = Serving::begin().await;
    let (client, connection) =
        tokio_postgres::connect(&server.database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let wish = json!({"mutex": mutex("over"), "request_id": "r"});
    assert_eq!(server.post("/v1/capture", wish).await.status, 200);
    client
        .execute(
            "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'",
            &[],
        )
        .await
        .unwrap();
    let rows = "select coalesce(jsonb_agg(m), '[]')::text || (select coalesce(jsonb_agg(w), '[]')::text from pgmutex.mutex_waiter w) from pgmutex.mutex_model m";
    let before: String = client.query_one(rows, &[]).await.unwrap().get(0);
    assert!(before.contains("over"));
    for target in [
        "/v1/request?group=tests&mode=step&id=over",
        "/v1/request?tree=locker&path=/a",
        "/v1/list?count=true",
        "/v1/waiters",
        "/healthz",
        "/readyz",
        "/openapi.json",
    ] {
        assert_eq!(server.get(target).await.status, 200, "{target}");
    }
    let state = server
        .json("/v1/request?group=tests&mode=step&id=over")
        .await;
    assert_eq!(state["state"], "free");
    let after: String = client.query_one(rows, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
}

#[tokio::test]
async fn those_who_wait_are_seen_in_line_and_served() {
    let server = Serving::begin().await;
    let held = json!({"mutex": mutex("1"), "request_id": "r", "owner": {"name": "holder"}});
    assert_eq!(server.post("/v1/capture", held).await.status, 200);
    let mut waiting = Vec::new();
    for (number, name) in ["second", "third"].into_iter().enumerate() {
        let mut client = server.client().await;
        let body = json!({"mutex": mutex("1"), "owner": {"name": name}, "wait_seconds": 1e9});
        let headers = [("content-type", "application/json")];
        client
            .begin("POST", "/v1/capture", &headers, &body.to_string())
            .await;
        server.are_waiting(number + 1).await;
        waiting.push(client);
    }
    let list = server.json("/v1/waiters?group=tests&mode=step&id=1").await;
    let waiters = list["waiters"].as_array().unwrap();
    let seen: Vec<(&Value, &Value, &Value)> = waiters
        .iter()
        .map(|waiter| {
            (
                &waiter["place"],
                &waiter["owner"]["name"],
                &waiter["behind_name"],
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (&json!(1), &json!("second"), &json!("holder")),
            (&json!(2), &json!("third"), &json!("second"))
        ]
    );
    let page = server.json("/v1/waiters?limit=1").await;
    let next = page["next"].as_str().unwrap();
    let page = server
        .json(&format!("/v1/waiters?limit=1&after={next}"))
        .await;
    assert_eq!(page["waiters"][0]["owner"]["name"], "third");
    assert!(
        server.json("/v1/waiters?group=other").await["waiters"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let wish = json!({"mutex": mutex("1"), "owner": {"name": "last"}, "wait_seconds": 0.05});
    let in_vain = server.post("/v1/capture", wish).await;
    assert_eq!(
        (in_vain.status, in_vain.problem().as_str()),
        (409, "waited-in-vain")
    );
    assert_eq!(in_vain.json()["holder"]["owner"]["name"], "holder");

    let wish = json!({"mutex": mutex("1"), "request_id": "r"});
    assert_eq!(
        server.post("/v1/release", wish).await.json()["outcome"],
        "released"
    );
    let served = waiting[0].answer().await.unwrap();
    assert_eq!(
        (served.status, &served.json()["hold"]["owner"]["name"]),
        (200, &json!("second"))
    );
}

/// Also where it could not even join the line in time.
#[tokio::test]
async fn who_waits_in_vain_is_told_who_has_it() {
    let server = Serving::begin().await;
    let held = json!({"mutex": mutex("1"), "request_id": "r", "owner": {"name": "holder"}});
    assert_eq!(server.post("/v1/capture", held).await.status, 200);
    let client = server.database.client().await;
    client
        .batch_execute("begin; lock table pgmutex.mutex_waiter in share mode")
        .await
        .unwrap();
    let wish = json!({"mutex": mutex("1"), "wait_seconds": 0.05});
    let in_vain = server.post("/v1/capture", wish).await;
    assert_eq!(
        (in_vain.status, in_vain.problem().as_str()),
        (409, "waited-in-vain")
    );
    assert_eq!(in_vain.json()["holder"]["owner"]["name"], "holder");
    client.batch_execute("rollback").await.unwrap();
}

#[tokio::test]
async fn force_needs_a_reason_and_may_name_the_hold_that_is_meant() {
    let server = Serving::begin().await;
    server.lock("x").await;
    for wrong in [
        json!({"mutex": path(["x"]), "reason": " "}),
        json!({"mutex": path(["x"]), "reason": "a".repeat(1001)}),
    ] {
        let refused = server.post("/v1/force-release", wrong).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (400, "invalid")
        );
    }
    let wish = json!({"mutex": path(["x"]), "reason": "stuck"});
    assert_eq!(
        server
            .post("/v1/force-release", json!({"mutex": path(["x"])}))
            .await
            .status,
        400
    );
    let mut other = wish.clone();
    other["fencing_token"] = json!(1);
    assert_eq!(
        server.post("/v1/force-release", other).await.json()["outcome"],
        "not_held"
    );
    assert_eq!(server.json("/dohaz/x").await, json!({"lockedBy": "?"}));
    let forced = server.post("/v1/force-release", wish).await.json();
    assert_eq!(
        (&forced["outcome"], &forced["hold"]["id"]),
        (&json!("released"), &json!("/x/"))
    );
    assert_eq!(server.json("/dohaz/x").await, json!({"lockedBy": null}));
}
