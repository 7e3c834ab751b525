//! Locker's three calls, word for word.

use serde_json::json;

use crate::support::Serving;

fn is_uuid4(token: &str) -> bool {
    let lengths: Vec<usize> = token.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && token.as_bytes()[14] == b'4'
}

#[tokio::test]
async fn the_documented_calls_have_the_documented_answers() {
    let server = Serving::begin().await;
    let mut client = server.client().await;

    let locked = client.get("/canhaz/my/resource").await;
    assert_eq!(locked.status, 200);
    assert_eq!(locked.header("content-type"), Some("application/json"));
    let token = locked.json()["token"].as_str().unwrap().to_owned();
    assert!(is_uuid4(&token), "{token}");
    assert_eq!(locked.json(), json!({"ok": true, "token": token}));

    let blocked = json!({"ok": false, "lockedBy": "?"});
    assert_eq!(client.get("/canhaz/my/resource").await.json(), blocked);
    // Who asks is not who has it.
    assert_eq!(
        client.get("/canhaz/my/resource?id=me").await.json(),
        blocked
    );

    let wrong = client.get("/nowant/my/resource?token=invalid-token").await;
    assert_eq!(wrong.json(), json!({"ok": false}));
    assert_eq!(
        client.get("/nowant/my/resource").await.json(),
        json!({"ok": false})
    );
    // The token of a path unlocks that path.
    for other in ["my", "my/resource/part", "other"] {
        let answer = client.get(&format!("/nowant/{other}?token={token}")).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"ok": false})),
            "{other}"
        );
    }

    let held = client.get("/dohaz/my/resource").await;
    assert_eq!((held.status, held.json()), (200, json!({"lockedBy": "?"})));
    assert_eq!(
        client.get("/dohaz/some/resource").await.json(),
        json!({"lockedBy": null})
    );

    let right = client
        .get(&format!("/nowant/my/resource?token={token}"))
        .await;
    assert_eq!((right.status, right.json()), (200, json!({"ok": true})));
    assert_eq!(
        client.get("/dohaz/my/resource").await.json(),
        json!({"lockedBy": null})
    );
    let again = client
        .get(&format!("/nowant/my/resource?token={token}"))
        .await;
    assert_eq!(again.json(), json!({"ok": false}));
}

#[tokio::test]
async fn the_holders_id_is_told_to_those_it_blocks() {
    let server = Serving::begin().await;
    server.lock("this?id=timmy").await;
    assert_eq!(
        server.json("/dohaz/this").await,
        json!({"lockedBy": "timmy"})
    );
    for blocked in ["this?id=anna", "this/below?id=anna", "?id=anna"] {
        let answer = server.json(&format!("/canhaz/{blocked}")).await;
        assert_eq!(
            answer,
            json!({"ok": false, "lockedBy": "timmy"}),
            "{blocked}"
        );
    }
    // Any text is an id.
    server.lock("that?id=%C3%A9%20%22%2B+%26").await;
    assert_eq!(
        server.json("/dohaz/that").await,
        json!({"lockedBy": "é \"+ &"})
    );
}

#[tokio::test]
async fn only_three_texts_switch_a_flag_off() {
    let server = Serving::begin().await;
    let texts = [
        ("False", false),
        ("false", false),
        ("0", false),
        ("FALSE", true),
        ("no", true),
        ("None", true),
        ("", true),
        ("1", true),
        ("True", true),
        ("%46alse", false),
        ("False%20", true),
        ("00", true),
    ];
    for (number, (text, is_on)) in texts.into_iter().enumerate() {
        server
            .lock(&format!("up{number}/a?lockParents={text}"))
            .await;
        let above = server
            .json(&format!("/canhaz/up{number}?lockChildren=False"))
            .await;
        assert_eq!(above["ok"], !is_on, "lockParents={text}");

        server
            .lock(&format!("down{number}?lockChildren={text}"))
            .await;
        let below = server
            .json(&format!("/canhaz/down{number}/a?lockParents=0"))
            .await;
        assert_eq!(below["ok"], !is_on, "lockChildren={text}");
    }
}

#[tokio::test]
async fn what_is_locked_blocks_what_lies_above_and_below_but_no_sibling() {
    let server = Serving::begin().await;
    let token = server.lock("foo/bar?id=x").await;
    for blocked in ["foo/bar", "foo", "foo/bar/baz", "foo/bar/baz/deep", "", "/"] {
        let answer = server.json(&format!("/canhaz/{blocked}")).await;
        assert_eq!(answer, json!({"ok": false, "lockedBy": "x"}), "{blocked}");
        let answer = server.json(&format!("/dohaz/{blocked}")).await;
        assert_eq!(answer, json!({"lockedBy": "x"}), "{blocked}");
    }
    for free in ["foo/zip", "foo/ba", "foo/barn", "other"] {
        assert_eq!(
            server.json(&format!("/dohaz/{free}")).await,
            json!({"lockedBy": null})
        );
        server.lock(free).await;
    }
    // A path that is locked from above is not itself the one that a token unlocks.
    let answer = server.json(&format!("/nowant/foo?token={token}")).await;
    assert_eq!(answer, json!({"ok": false}));
}

#[tokio::test]
async fn the_root_is_the_parent_of_everything() {
    let server = Serving::begin().await;
    for root in ["/canhaz", "/canhaz/", "/canhaz//"] {
        let answer = server.json(root).await;
        let token = answer["token"].as_str().unwrap().to_owned();
        assert_eq!(server.json("/canhaz/x").await["ok"], false);
        assert_eq!(server.json("/dohaz").await, json!({"lockedBy": "?"}));
        let unlocked = server.json(&format!("/nowant?token={token}")).await;
        assert_eq!(unlocked, json!({"ok": true}), "{root}");
    }
}

#[tokio::test]
async fn slashes_that_say_nothing_do_not_count_and_encoded_ones_are_part_of_a_segment() {
    let server = Serving::begin().await;
    let token = server.lock("q/").await;
    for same in ["q", "q/", "/q", "//q//"] {
        let answer = server.json(&format!("/dohaz/{same}")).await;
        assert_eq!(answer, json!({"lockedBy": "?"}), "{same}");
    }
    assert_eq!(
        server.json(&format!("/nowant//q?token={token}")).await["ok"],
        true
    );

    server.lock("a%2Fb").await;
    // `a` and `b` are no segments of it.
    server.lock("a/b").await;
    server.lock("a%252Fb").await;
    assert_eq!(server.json("/canhaz/a%2fb").await["ok"], false);
    assert_eq!(server.json("/canhaz/a%2Fb/c").await["ok"], false);
    // Dots, spaces and plus signs are themselves.
    server.lock("s/+").await;
    server.lock("s/%20").await;
    server.lock("s/..").await;
    server.lock("s/.").await;
    server.lock("s/%C3%A9%3F%23").await;
}

#[tokio::test]
async fn parameters_may_stand_in_a_form() {
    let server = Serving::begin().await;
    let mut client = server.client().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let locked = client
        .ask("POST", "/canhaz/p", &form, "id=a+b&ttl=60")
        .await;
    let token = locked.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(server.json("/dohaz/p").await, json!({"lockedBy": "a b"}));
    assert_eq!(
        client.ask("POST", "/dohaz/p", &[], "").await.json(),
        json!({"lockedBy": "a b"})
    );
    let unlocked = client
        .ask("POST", "/nowant/p", &form, &format!("token={token}"))
        .await;
    assert_eq!(unlocked.json(), json!({"ok": true}));
    // In the query too, by POST; but not in both.
    let locked = client.ask("POST", "/canhaz/p?id=q", &[], "").await;
    assert_eq!(locked.json()["ok"], true);
    let twice = client.ask("POST", "/canhaz/p2?id=q", &form, "id=q").await;
    assert_eq!((twice.status, twice.problem().as_str()), (400, "invalid"));
}

#[tokio::test]
async fn a_lock_ends_when_its_time_to_live_is_over_and_otherwise_never() {
    let server = Serving::begin().await;
    server.lock("a?ttl=60").await;
    server.lock("b").await;
    let list = server.json("/v1/list?group=locker").await;
    let rules: Vec<&serde_json::Value> = list["holds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hold| &hold["auto_release"])
        .collect();
    assert_eq!(
        rules,
        [
            &json!({"rule": "timeout", "config": "60"}),
            &json!({"rule": "", "config": ""})
        ]
    );
    for wrong in [
        "0",
        "-1",
        "1.5",
        "NaN",
        "inf",
        "",
        "soon",
        "3153600001",
        "99999999999999999999",
    ] {
        let answer = server.get(&format!("/canhaz/c?ttl={wrong}")).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "invalid"),
            "ttl={wrong}"
        );
    }
    assert_eq!(server.json("/dohaz/c").await, json!({"lockedBy": null}));
}

#[tokio::test]
async fn who_waits_is_served_in_turn() {
    let server = Serving::begin().await;
    let token = server.lock("lab?id=first").await;
    let mut waiting = Vec::new();
    for (number, name) in ["second", "third"].into_iter().enumerate() {
        let mut client = server.client().await;
        client
            .begin("GET", &format!("/canhaz/lab?wait=60&id={name}"), &[], "")
            .await;
        server.are_waiting(number + 1).await;
        waiting.push(client);
    }
    let mut token = token;
    for (client, name) in waiting.iter_mut().zip(["second", "third"]) {
        assert_eq!(
            server.json(&format!("/nowant/lab?token={token}")).await["ok"],
            true
        );
        let served = client.answer().await.unwrap();
        assert_eq!(served.status, 200);
        token = served.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(server.json("/dohaz/lab").await, json!({"lockedBy": name}));
    }
}

#[tokio::test]
async fn who_waits_in_vain_is_told_who_has_it() {
    let server = Serving::begin().await;
    server.lock("lab?id=first").await;
    for wait in ["0", "0.1", "000.05"] {
        let answer = server.json(&format!("/canhaz/lab/bench?wait={wait}")).await;
        assert_eq!(
            answer,
            json!({"ok": false, "lockedBy": "first"}),
            "wait={wait}"
        );
    }
    server.are_waiting(0).await;
    for wrong in ["-1", "NaN", "inf", "", "1e3", "soon", "+1", ".5", "1.2.3"] {
        let answer = server.get(&format!("/canhaz/free?wait={wrong}")).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "invalid"),
            "wait={wrong}"
        );
    }
}

#[tokio::test]
async fn the_token_is_kept_nowhere() {
    let server = Serving::begin().await;
    let token = server.lock("x?id=y").await;
    let (client, connection) =
        tokio_postgres::connect(&server.database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let rows = client
        .query("select to_jsonb(m)::text from pgmutex.mutex_model m", &[])
        .await
        .unwrap();
    let row: String = rows[0].get(0);
    assert!(!row.contains(&token), "{row}");
    // What is kept cannot be used as a token.
    let json: serde_json::Value = serde_json::from_str(&row).unwrap();
    let kept = json["owner_session"].as_str().unwrap();
    assert!(kept.starts_with("locker-"), "{kept}");
    for guess in [kept, kept.trim_start_matches("locker-")] {
        let answer = server.json(&format!("/nowant/x?token={guess}")).await;
        assert_eq!(answer, json!({"ok": false}));
    }
}

#[tokio::test]
async fn the_tree_can_have_another_name() {
    let server = Serving::with(|server| server.tree("lab")).await;
    server.lock("x").await;
    let list = server.json("/v1/list").await;
    assert_eq!(list["holds"][0]["group"], "lab");
}
