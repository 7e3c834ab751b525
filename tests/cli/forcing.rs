//! `force-release`.

use pgmutex::MutexQuery;
use serde_json::json;

use crate::{
    program::run,
    snapshot::json_lines,
    support::{Database, owner},
    terminal::at_terminal,
};
use pgmutex::MutexId;

const SCRIPT: [&str; 3] = ["--yes", "--reason", "stuck since Monday"];

#[tokio::test]
async fn a_script_says_why_and_that_it_is_meant() {
    let database = Database::fresh().await;
    let url = database.url();
    let force = ["force-release", "orders/edit/42"];
    for (missing, more) in [
        ("reason", &["--yes"][..]),
        ("yes", &SCRIPT[1..]),
        ("both", &[]),
    ] {
        let refused = run(url, &[&force[..], more].concat());
        assert_eq!(refused.code, Some(2), "{missing}");
        assert!(
            refused.said.contains("--reason TEXT and --yes"),
            "{refused:?}"
        );
    }
    for no_reason in ["", "  ", &"x".repeat(1001)] {
        let refused = run(
            url,
            &[&force[..], &["--yes", "--reason", no_reason]].concat(),
        );
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
    let free = run(url, &[&force[..], &SCRIPT, &["--json"]].concat());
    assert_eq!(free.code, Some(0), "{free:?}");
    assert_eq!(
        json_lines(&free),
        [json!({"outcome": "not_held", "hold": null})]
    );

    run(
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
    let other_token = [&force[..], &SCRIPT, &["--token", "1"]].concat();
    assert!(run(url, &other_token).output.starts_with("not_held "));
    let forced = run(url, &[&force[..], &SCRIPT].concat());
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(
        forced.output.starts_with("released orders/edit/42\n"),
        "{forced:?}"
    );
    assert!(
        forced.output.contains("Ada") && forced.output.contains("s1"),
        "{forced:?}"
    );
    let lost = run(url, &["refresh", "orders/edit/42", "--session", "s1"]);
    assert_eq!(lost.code, Some(79), "{lost:?}");
}

#[tokio::test]
async fn the_reason_and_who_asked_go_to_the_servers_log() {
    let server = pgmutex::private_server::PrivatePostgres::start().unwrap();
    let url = server.url("postgres");
    assert_eq!(run(&url, &["migrate"]).code, Some(0));
    run(&url, &["capture", "orders/edit/42", "--session", "s1"]);
    let forced = run(
        &url,
        &[&["force-release", "orders/edit/42"][..], &SCRIPT].concat(),
    );
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let log = std::fs::read_to_string(server.log()).unwrap();
    let line = log.lines().find(|line| line.contains("forced the release"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("stuck since Monday (asked for by "), "{line}");
}

#[tokio::test]
async fn of_a_shared_mutex_all_holds_are_taken_or_the_one_that_was_meant() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    let id = MutexId::new("a", "b", "c").unwrap();
    for session in ["s1", "s2", "s3"] {
        let wish = pgmutex::Wish::from(&id);
        let capture = mutexes.capture(wish).access(pgmutex::Access::permit_of(3));
        capture.owner(owner(session)).await.unwrap();
    }
    let held = async || {
        let page = mutexes.list(&MutexQuery::of(&id)).await.unwrap();
        page.mutexes
    };
    let second = held().await[1].clone();
    let token = second.fencing_token.to_string();
    let one = run(
        url,
        &[&["force-release", "a/b/c", "--token", &token][..], &SCRIPT].concat(),
    );
    assert!(one.output.contains("s2") && one.said.is_empty(), "{one:?}");
    let left = held().await;
    let left: Vec<&str> = left.iter().map(|hold| hold.owner.session_id()).collect();
    assert_eq!(left, ["s1", "s3"]);
    let all = run(url, &[&["force-release", "a/b/c"][..], &SCRIPT].concat());
    assert!(all.said.contains("1 more"), "{all:?}");
    assert_eq!(held().await, []);
}

#[tokio::test]
async fn a_person_is_shown_the_holder_and_asked() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    run(
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
    let held = async || mutexes.count(&MutexQuery::all()).await.unwrap();
    let force = ["force-release", "orders/edit/42"];

    for (typed, code) in [("stuck\nn\n", 1), ("\n", 1), ("stuck\n\n", 1)] {
        let left = at_terminal(url, 80, &force, typed);
        assert_eq!(left.code, Some(code), "{left:?}");
        assert!(left.output.contains("nothing was changed"), "{left:?}");
        assert_eq!(held().await, 1, "{typed:?}");
    }
    let taken = at_terminal(url, 80, &force, "stuck\ny\n");
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let shown = taken.output.find("Ada on").unwrap();
    let asked = taken.output.find("Reason").unwrap();
    let confirmed = taken.output.find("[y/N]").unwrap();
    let released = taken.output.find("released orders/edit/42").unwrap();
    assert!(
        shown < asked && asked < confirmed && confirmed < released,
        "{taken:?}"
    );
    assert_eq!(held().await, 0);
}
