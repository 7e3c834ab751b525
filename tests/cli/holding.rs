//! `capture`, `refresh`, `release` and `sweep`.

use pgmutex::{AutoRelease, MutexId, MutexQuery};
use serde_json::{Value, json};

use crate::{
    program::{pgmutex, run},
    snapshot::json_lines,
    support::{Database, owner},
    time::an_hour_passes,
};

/// The one answer, and the code.
fn answer(url: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let mut all = arguments.to_vec();
    all.push("--json");
    let ended = run(url, &all);
    let lines = json_lines(&ended);
    assert_eq!(lines.len(), 1, "{ended:?}");
    (lines[0].clone(), ended.code)
}

#[tokio::test]
async fn a_hold_is_captured_refreshed_and_released() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    let held = async || {
        let page = mutexes.list(&MutexQuery::all()).await.unwrap();
        page.mutexes.into_iter().next()
    };
    let me = ["--session", "s1"];
    let with = |verb: &'static str| [&[verb, "orders/edit/42"][..], &me].concat();

    let captured = run(url, &with("capture"));
    assert_eq!(captured.code, Some(0), "{captured:?}");
    assert!(
        captured.output.starts_with("captured orders/edit/42\n"),
        "{captured:?}"
    );
    let first = held().await.unwrap();
    assert!(captured.output.contains(&first.fencing_token.to_string()));

    let refreshed = run(
        url,
        &[&with("refresh")[..], &["--status-data", "half"]].concat(),
    );
    assert!(refreshed.output.starts_with("refreshed "), "{refreshed:?}");
    let second = held().await.unwrap();
    assert_eq!(second.fencing_token, first.fencing_token);
    assert!(second.captured_since > first.captured_since);
    assert_eq!(second.status_data.as_deref(), Some("half"));
    let (again, _) = answer(url, &with("capture"));
    assert_eq!(again["outcome"], "refreshed");

    // Only that hold: another token does not count.
    let token = (first.fencing_token.get() + 1).to_string();
    let other = [&with("refresh")[..], &["--token", &token]].concat();
    assert_eq!(
        answer(url, &other),
        (json!({"outcome": "lost", "hold": null}), Some(79))
    );
    let token = first.fencing_token.to_string();
    let (refreshed, code) = answer(url, &[&with("refresh")[..], &["--token", &token]].concat());
    assert_eq!(
        (&refreshed["outcome"], code),
        (&json!("refreshed"), Some(0))
    );

    let (released, code) = answer(url, &with("release"));
    assert_eq!((&released["outcome"], code), (&json!("released"), Some(0)));
    assert_eq!(held().await, None);
    let (not_held, code) = answer(url, &with("release"));
    assert_eq!(
        (not_held, code),
        (json!({"outcome": "not_held", "hold": null}), Some(0))
    );
    assert_eq!(answer(url, &with("refresh")).1, Some(79));
}

#[tokio::test]
async fn another_has_it() {
    let database = Database::fresh().await;
    let url = database.url();
    let taken = run(
        url,
        &[
            "capture",
            "orders/edit/42",
            "--session",
            "s1",
            "--name",
            "Ada",
        ],
    );
    assert_eq!(taken.code, Some(0));
    for verb in ["capture", "refresh", "release"] {
        let arguments = [verb, "orders/edit/42", "--session", "s2"];
        let (busy, code) = answer(url, &arguments);
        assert_eq!(code, Some(75), "{verb}");
        assert_eq!(busy["outcome"], "busy");
        assert_eq!(busy["hold"]["owner"]["name"], "Ada");
        let ended = run(url, &arguments);
        assert!(ended.said.contains("Ada"), "{ended:?}");
        assert_eq!(ended.output, "");
    }
    let own_code = ["capture", "orders/edit/42", "-E", "5"];
    assert_eq!(answer(url, &own_code).1, Some(5));
    let in_vain = ["capture", "orders/edit/42", "--wait", "10ms"];
    let (answered, code) = answer(url, &in_vain);
    assert_eq!((&answered["outcome"], code), (&json!("timeout"), Some(75)));
    // Who has not said a session is nobody else: not even the same person again.
    assert_eq!(run(url, &["capture", "a/b/c"]).code, Some(0));
    assert_eq!(run(url, &["capture", "a/b/c"]).code, Some(75));
}

#[tokio::test]
async fn a_hold_is_under_the_rule_that_was_said() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    let deadline = "2030-01-31T12:00:00Z";
    for (id, rule, config, arguments) in [
        ("none", "timeout", "300", &[][..]),
        ("timeout", "timeout", "90", &["--timeout", "1m30s"]),
        (
            "deadline",
            "deadline",
            "2030-01-31T12:00:00.000000Z",
            &["--deadline", deadline],
        ),
        ("never", "", "", &["--never"]),
        (
            "custom",
            "vacation",
            "monday",
            &["--rule", "vacation:monday"],
        ),
    ] {
        let name = format!("rules//{id}");
        let captured = run(url, &[&["capture", &name][..], arguments].concat());
        assert_eq!(captured.code, Some(0), "{captured:?}");
        let page = mutexes.list(&MutexQuery::all().mutex_id(id)).await.unwrap();
        let expected = AutoRelease::restore(rule, config);
        assert_eq!(page.mutexes[0].auto_release, expected, "{id}");
    }
    for wrong in [
        &["--never", "--timeout", "1s"][..],
        &["--deadline", "tomorrow"],
        &["--rule", "timeout:1"],
        &["--timeout", "soon"],
        &["--permits", "0"],
        &["--permits", "2", "--shared"],
    ] {
        let refused = run(url, &[&["capture", "rules//wrong"][..], wrong].concat());
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
}

#[tokio::test]
async fn the_session_may_come_from_the_environment_and_must_come_from_somewhere() {
    let database = Database::fresh().await;
    let url = database.url();
    let in_the_environment = |arguments: &[&str]| {
        let mut command = pgmutex(arguments);
        command.env("DATABASE_URL", url);
        command.env("PGMUTEX_OWNER_SESSION", "secret-session");
        command.output().unwrap()
    };
    for verb in ["capture", "refresh", "release"] {
        let ended = in_the_environment(&[verb, "a/b/c"]);
        assert!(ended.status.success(), "{ended:?}");
    }
    for verb in ["refresh", "release"] {
        let unsaid = run(url, &[verb, "a/b/c"]);
        assert_eq!(unsaid.code, Some(2));
        assert!(unsaid.said.contains("--session"), "{unsaid:?}");
    }
    let help = in_the_environment(&["capture", "--help"]);
    assert!(
        !String::from_utf8(help.stdout)
            .unwrap()
            .contains("secret-session")
    );
}

#[tokio::test]
async fn what_is_over_is_swept() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    let ids = (0..1100).map(|number| MutexId::new("over", "", number.to_string()).unwrap());
    let captured = mutexes.capture_each(ids).owner(owner("gone"));
    captured.await.unwrap();
    an_hour_passes(&database).await;
    run(url, &["capture", "kept//1", "--never"]);
    assert_eq!(answer(url, &["sweep"]), (json!({"swept": 1100}), Some(0)));
    let nothing = run(url, &["sweep"]);
    assert_eq!(
        (nothing.code, nothing.output.as_str()),
        (Some(0), "swept 0\n")
    );
    assert_eq!(
        run(url, &["list", "--count", "--include-over"]).output,
        "1\n"
    );
}
