//! `audit`.

use serde_json::{Value, json};

use crate::{
    program::{Ended, run},
    snapshot::json_lines,
    support::Database,
};

fn done(url: &str, arguments: &[&str]) -> Ended {
    let ended = run(url, arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended
}

fn event(event: &str, mutex: &str, reason: Value) -> Value {
    let id = mutex.rsplit('/').next().unwrap();
    json!({
        "name": mutex, "at": "<time>", "event": event, "group": "orders", "mode": "edit", "id": id,
        "permit": null, "fencing_token": "<token>",
        "owner": {"session": "s1", "user_id": "", "name": "Ada", "login": "ada", "host": "<host>"},
        "reason": reason, "database_role": "postgres", "client_address": null, "application_name": "",
    })
}

/// Without what differs with the machine and the server's name for the program.
fn events(ended: &Ended) -> Vec<Value> {
    let mut events = json_lines(ended);
    for event in &mut events {
        event["owner"]["login"] = "ada".into();
        event["application_name"] = "".into();
        if event["event"] == "forced" {
            let reason = event["reason"].as_str().unwrap();
            event["reason"] = reason.split(" (asked").next().unwrap().into();
        }
    }
    events
}

#[tokio::test]
async fn what_happens_from_now_on_is_listed() {
    let database = Database::fresh().await;
    let url = database.url();
    let nothing = done(url, &["audit", "list"]);
    assert_eq!(nothing.output, "");
    assert!(nothing.said.contains("pgmutex audit enable"), "{nothing:?}");

    assert_eq!(done(url, &["audit", "enable"]).output, "enabled\n");
    assert_eq!(done(url, &["audit", "enable"]).output, "enabled already\n");
    let me = ["--session", "s1", "--name", "Ada"];
    for id in ["42", "43"] {
        done(
            url,
            &[&["capture", &format!("orders/edit/{id}")][..], &me].concat(),
        );
    }
    done(url, &[&["release", "orders/edit/42"][..], &me].concat());
    done(
        url,
        &[
            "force-release",
            "orders/edit/43",
            "--yes",
            "--reason",
            "on holiday",
        ],
    );

    let forty_two = [
        event("captured", "orders/edit/42", Value::Null),
        event("released", "orders/edit/42", Value::Null),
    ];
    let of = done(url, &["audit", "list", "orders/edit/42", "--json"]);
    assert_eq!(events(&of), forty_two);
    let forced = event("forced", "orders/edit/43", "on holiday".into());
    let all = events(&done(url, &["audit", "list", "--json"]));
    assert_eq!((all.len(), &all[3]), (4, &forced));
    let table = done(url, &["audit", "list"]).output;
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(
        table.contains("on holiday") && table.contains("Ada on"),
        "{table}"
    );

    let count = |filters: &[&str]| {
        let ended = done(url, &[&["audit", "list", "--json"][..], filters].concat());
        (ended.output.lines().count(), ended.said)
    };
    assert_eq!(count(&["--group", "orders"]).0, 4);
    assert_eq!(count(&["--group", "others"]).0, 0);
    assert_eq!(count(&["--since", "1h"]).0, 4);
    assert_eq!(count(&["--until", "1h"]).0, 0);
    assert_eq!(
        count(&[
            "--since",
            "2020-01-01T00:00:00Z",
            "--until",
            "2020-01-02T00:00:00Z"
        ])
        .0,
        0
    );
    let (first, said) = count(&["--limit", "3"]);
    assert!(first == 3 && said.contains("there are more"), "{said}");
    assert_eq!(count(&["--limit", "4"]), (4, String::new()));

    let switched = done(url, &["audit", "disable", "--json"]);
    assert_eq!(
        json_lines(&switched),
        [json!({"enabled": false, "changed": true})]
    );
    done(url, &["capture", "orders/edit/44"]);
    assert_eq!(count(&[]).0, 4);
    let kept = done(url, &["audit", "keep", "--for", "1y", "--json"]);
    assert_eq!(json_lines(&kept)[0]["dropped"], 0);
    assert_eq!(count(&[]).0, 4);
}

#[tokio::test]
async fn a_long_audit_is_listed_to_its_end() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes.enable_audit().await.unwrap();
    let ids =
        (0..2100).map(|number| pgmutex::MutexId::new("many", "", format!("{number:04}")).unwrap());
    mutexes.capture_each(ids).await.unwrap();
    let mut listed: Vec<String> = json_lines(&done(
        database.url(),
        &["audit", "list", "--limit", "0", "--json"],
    ))
    .iter()
    .map(|event| event["id"].as_str().unwrap().to_owned())
    .collect();
    listed.sort();
    let expected: Vec<String> = (0..2100).map(|number| format!("{number:04}")).collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn only_the_owner_switches_it_and_what_makes_no_sense_is_refused() {
    let database = Database::fresh().await;
    let (role, url) = database.role("").await;
    for arguments in [
        &["audit", "enable"][..],
        &["audit", "disable"],
        &["audit", "keep", "--for", "1y"],
        &["audit", "list"],
    ] {
        let denied = run(&url, arguments);
        assert_eq!(denied.code, Some(77), "{arguments:?}: {denied:?}");
    }
    for wrong in [
        &["audit"][..],
        &["audit", "keep"],
        &["audit", "list", "no-slashes"],
        &["audit", "list", "--since", "yesterday"],
    ] {
        assert_eq!(run(database.url(), wrong).code, Some(2), "{wrong:?}");
    }
    let drop_role = format!("drop role {role}");
    database
        .client()
        .await
        .batch_execute(&drop_role)
        .await
        .unwrap();
}
