//! `pool`.

use std::{io::Write as _, process::Stdio};

use serde_json::{Value, json};

use crate::{
    program::{Ended, pgmutex, run},
    snapshot::json_lines,
    support::Database,
};

fn add(url: &str, objects: &str) -> Ended {
    let mut command = pgmutex(&["pool", "add", "accounts", "--json"]);
    let mut child = command
        .env("DATABASE_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(objects.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().into()
}

fn session(id: u64, changes: Value) -> Value {
    let mut session = json!({
        "collection": "accounts", "id": id, "active": true, "next_use": null, "last_use": null,
        "use_count": 0, "success_count": 0, "created_at": "<time>", "updated_at": "<time>",
    });
    for (key, value) in changes.as_object().unwrap() {
        session[key] = value.clone();
    }
    session
}

#[tokio::test]
async fn sessions_are_added_and_shown_and_their_payloads_only_on_demand() {
    let database = Database::fresh().await;
    let url = database.url();
    let none = run(url, &["pool", "stats"]);
    assert_eq!((none.code, none.output.as_str()), (Some(0), ""));

    let added = add(
        url,
        "{\"password\": \"hidden\"}\n{\"password\": \"hidden too\"}\n",
    );
    assert_eq!(added.code, Some(0), "{added:?}");
    let both = [session(1, json!({})), session(2, json!({}))];
    assert_eq!(json_lines(&added), both);
    let more = run(url, &["pool", "add", "other", "{\"a\": 1}"]);
    assert!(more.output.starts_with("other 3\n"), "{more:?}");
    assert_eq!(
        json_lines(&run(url, &["pool", "list", "accounts", "--json"])),
        both
    );
    for shown in [
        added,
        run(url, &["pool", "list", "accounts"]),
        run(url, &["pool", "show", "accounts", "1"]),
        run(url, &["pool", "stats"]),
    ] {
        assert!(!shown.output.contains("hidden"), "{shown:?}");
        assert!(!shown.output.is_empty());
    }
    let payload = json!({"payload": {"password": "hidden"}});
    let demanded = run(
        url,
        &["pool", "show", "accounts", "1", "--payload", "--json"],
    );
    assert_eq!(json_lines(&demanded), [session(1, payload.clone())]);
    let filter = json!([{"path": "password", "test": "equal", "value": "hidden"}]).to_string();
    let found = [
        "pool",
        "list",
        "accounts",
        "--filter",
        &filter,
        "--payload",
        "--json",
    ];
    assert_eq!(json_lines(&run(url, &found)), [session(1, payload)]);
    let table = run(url, &["pool", "list", "accounts", "--payload"]);
    assert!(table.output.contains("hidden too"), "{table:?}");
}

#[tokio::test]
async fn what_is_no_object_adds_nothing_and_is_not_repeated() {
    let database = Database::fresh().await;
    let url = database.url();
    for wrong in [
        "{\"a\": 1} [\"hidden\"]",
        "{\"a\": 1} {\"password\": \"hidden\"",
        "",
        "\"hidden\"",
    ] {
        let refused = add(url, wrong);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(!refused.said.contains("hidden"), "{refused:?}");
        assert_eq!(refused.output, "");
    }
    assert_eq!(run(url, &["pool", "list", "accounts", "--json"]).output, "");
}

#[tokio::test]
async fn a_session_is_locked_blocked_taken_out_of_use_and_removed() {
    let database = Database::fresh().await;
    let url = database.url();
    add(url, "{} {} {} {}");
    let act = |verb: &str, id: &str, more: &[&str]| {
        let ended = run(
            url,
            &[&["pool", verb, "accounts", id, "--json"][..], more].concat(),
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        json_lines(&ended).remove(0)
    };
    let locked = json!({"next_use": "<time>"});
    assert_eq!(
        act("lock", "1", &["--for", "1h"]),
        session(1, locked.clone())
    );
    assert_eq!(act("block", "2", &[]), session(2, locked));
    assert_eq!(
        act("inactive", "3", &[]),
        session(3, json!({"active": false}))
    );
    let stats = json_lines(&run(url, &["pool", "stats", "accounts", "--json"]));
    assert_eq!(
        stats,
        [json!({
            "collection": "accounts", "total": 4, "active": 3, "inactive": 1, "ready": 1, "in_use": 0,
            "locked": 1, "blocked": 1, "uses": 0, "successes": 0, "success_rate": null,
        })]
    );
    let table = run(url, &["pool", "stats"]).output;
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["accounts", "4", "1", "0", "1", "1", "1", "0"]);
    let listed = run(url, &["pool", "list", "accounts"]).output;
    for state in ["locked", "inactive", "active"] {
        assert!(listed.contains(state), "{listed}");
    }
    assert!(
        listed.contains("in 59m") || listed.contains("in 1h00m"),
        "{listed}"
    );
    assert_eq!(act("activate", "3", &[])["active"], true);
    assert_eq!(act("delete", "4", &[]), session(4, json!({})));
    for verb in ["show", "lock", "block", "inactive", "activate", "delete"] {
        let unknown = run(url, &["pool", verb, "accounts", "4"]);
        assert_eq!(unknown.code, Some(1), "{verb}: {unknown:?}");
        assert!(unknown.said.contains("no session 4"), "{unknown:?}");
    }
    for wrong in [
        &["pool"][..],
        &["pool", "list"],
        &["pool", "show", "accounts", "x"],
        &["pool", "list", "accounts", "--filter", "{"],
        &["pool", "lock", "accounts", "1", "--for", "soon"],
    ] {
        assert_eq!(run(url, wrong).code, Some(2), "{wrong:?}");
    }
}
