//! `list` and `show`.

use serde_json::{Value, json};

use crate::{
    program::{Ended, pgmutex, run},
    running::{eventually, running},
    snapshot::json_lines,
    support::{Database, owner},
    time::an_hour_passes,
};
use pgmutex::{MutexId, Mutexes, WaiterQuery};

/// Captures with the program, as this session.
fn capture(url: &str, mutex: &str, session: &str, more: &[&str]) -> Ended {
    let mut arguments = vec!["capture", mutex, "--session", session];
    arguments.extend(more);
    let mut command = pgmutex(&arguments);
    let ended = command.env("DATABASE_URL", url).env("LOGNAME", "ada");
    let ended = Ended::from(ended.output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

async fn waits(mutexes: &Mutexes, number: usize) {
    eventually(async || mutexes.waiters(&WaiterQuery::all()).await.unwrap().len() == number).await;
}

fn orders_42() -> Value {
    json!({
        "name": "orders/edit/42", "group": "orders", "mode": "edit", "id": "42",
        "owner": {"session": "s1", "user_id": "7", "name": "Ada", "login": "ada", "host": "<host>"},
        "access": "exclusive", "permit": null, "permits": null,
        "lock_parents": false, "lock_children": false,
        "auto_release": {"rule": "timeout", "config": "600"},
        "status_data": "step 1", "fencing_token": "<token>",
        "held_since": "<time>", "captured_since": "<time>", "expires_at": "<time>",
    })
}

const MORE: [&str; 8] = [
    "--name",
    "Ada",
    "--user-id",
    "7",
    "--timeout",
    "10m",
    "--status-data",
    "step 1",
];

#[tokio::test]
async fn what_is_held_is_listed_for_people_and_for_programs() {
    let database = Database::fresh().await;
    let url = database.url();
    let nothing = run(url, &["list"]);
    assert_eq!((nothing.code, nothing.output.as_str()), (Some(0), ""));
    assert!(nothing.said.contains("nothing is held"), "{nothing:?}");
    assert_eq!(
        json_lines(&run(url, &["list", "--json"])),
        Vec::<Value>::new()
    );

    capture(url, "orders/edit/42", "s1", &MORE);
    capture(url, "mail/server/1", "s2", &["--permits", "3", "--never"]);
    let listed = run(url, &["list"]);
    let lines: Vec<Vec<&str>> = listed
        .output
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["MUTEX", "HOLDER", "HELD", "LEFT", "ACCESS", "TOKEN"]
    );
    assert_eq!(lines[1][..2], ["mail/server/1", "ada"], "{listed:?}");
    assert_eq!(lines[1][5..7], ["never", "1/3"], "{listed:?}");
    assert_eq!(lines[2][..2], ["orders/edit/42", "Ada"], "{listed:?}");
    assert!(
        lines[2][5].starts_with('9') && lines[2][5].contains('m'),
        "{listed:?}"
    );
    assert_eq!(lines.len(), 3);

    let mail = json!({
        "name": "mail/server/1", "group": "mail", "mode": "server", "id": "1",
        "owner": {"session": "s2", "user_id": "", "name": "ada", "login": "ada", "host": "<host>"},
        "access": "shared", "permit": 1, "permits": 3,
        "lock_parents": false, "lock_children": false,
        "auto_release": {"rule": "", "config": ""},
        "status_data": null, "fencing_token": "<token>",
        "held_since": "<time>", "captured_since": "<time>", "expires_at": null,
    });
    assert_eq!(
        json_lines(&run(url, &["list", "--json"])),
        [mail, orders_42()]
    );
}

#[tokio::test]
async fn filters_narrow_and_all_must_fit() {
    let database = Database::fresh().await;
    let url = database.url();
    capture(url, "mail//x", "gone", &["--timeout", "1s"]);
    an_hour_passes(&database).await;
    capture(url, "orders/edit/42", "s1", &MORE);
    capture(url, "orders/edit/43", "s2", &["--never"]);
    capture(url, "orders/view/42", "s1", &["--rule", "vacation:monday"]);
    let names = |filters: &[&str]| {
        let mut arguments = vec!["list", "--json"];
        arguments.extend(filters);
        let listed = json_lines(&run(url, &arguments));
        let mut count = arguments.clone();
        count.push("--count");
        let counted = json_lines(&run(url, &count));
        assert_eq!(counted, [json!({"count": listed.len()})], "{filters:?}");
        let names = listed
            .iter()
            .map(|hold| hold["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    let all = "orders/edit/42 orders/edit/43 orders/view/42";
    assert_eq!(names(&[]), all);
    assert_eq!(names(&["--group", "orders"]), all);
    assert_eq!(names(&["--group", "other"]), "");
    assert_eq!(names(&["--mode", "view"]), "orders/view/42");
    assert_eq!(names(&["--id", "42"]), "orders/edit/42 orders/view/42");
    assert_eq!(
        names(&["--prefix", "4", "--mode", "edit"]),
        "orders/edit/42 orders/edit/43"
    );
    assert_eq!(names(&["--session", "s2"]), "orders/edit/43");
    assert_eq!(names(&["--user-id", "7"]), "orders/edit/42");
    assert_eq!(names(&["--login", "nobody"]), "");
    assert_eq!(names(&["--login", "ada", "--id", "43"]), "orders/edit/43");
    assert_eq!(names(&["--rule", "never"]), "orders/edit/43");
    assert_eq!(names(&["--rule", "vacation"]), "orders/view/42");
    assert_eq!(names(&["--include-over"]), format!("mail//x {all}"));
    assert_eq!(run(url, &["list", "--count"]).output, "3\n");
}

#[tokio::test]
async fn a_limit_says_that_there_is_more_and_none_shows_all() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    let ids = (0..2100).map(|number| MutexId::new("many", "", format!("{number:04}")).unwrap());
    mutexes.capture_each(ids).owner(owner("s")).await.unwrap();

    let ended = run(url, &["list"]);
    assert_eq!(ended.output.lines().count(), 1 + 1000, "{}", ended.said);
    assert!(ended.said.contains("--limit 0"), "{}", ended.said);
    let ended = run(url, &["list", "--limit", "1500"]);
    assert_eq!(ended.output.lines().count(), 1 + 1500);
    assert!(ended.said.contains("there are more"), "{}", ended.said);
    for all in ["2100", "0", "9999"] {
        let ended = run(url, &["list", "--limit", all, "--json"]);
        let names: Vec<Value> = json_lines(&ended)
            .iter()
            .map(|hold| hold["id"].clone())
            .collect();
        let expected: Vec<Value> = (0..2100)
            .map(|number| format!("{number:04}").into())
            .collect();
        assert_eq!(names, expected, "--limit {all}");
        assert_eq!(ended.said, "");
    }
}

#[tokio::test]
async fn whatever_a_name_has_it_can_be_copied_from_the_list() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    let mut expected = Vec::new();
    for (group, mode, id) in [
        ("a/b", "c%d", "e/f%g"),
        ("", "", "only an id"),
        ("tab\t", "new\nline", "\u{1b}[31m\u{202e}é東"),
        ("g", "/", ""),
        ("lab", "tree", "/rack1/board%2F3/"),
        ("'\"$(x)", "--json", " "),
    ] {
        let id = MutexId::new(group, mode, id).unwrap();
        mutexes.capture(&id).owner(owner("s")).await.unwrap();
        expected.push(id);
    }
    let listed = run(url, &["list"]);
    assert!(!listed.output.contains('\u{1b}'));
    for line in listed.output.lines().skip(1) {
        let name = line.split_whitespace().next().unwrap();
        let shown = json_lines(&run(url, &["show", "--json", "--", name]));
        assert_eq!(shown[0]["state"], "held", "{name}");
        let hold = &shown[0]["holds"][0];
        let part = |key: &str| hold[key].as_str().unwrap().to_owned();
        let id = MutexId::new(part("group"), part("mode"), part("id")).unwrap();
        assert_eq!(shown[0]["name"], name);
        assert!(expected.contains(&id), "{name}");
        expected.retain(|other| *other != id);
    }
    assert_eq!(expected, []);
}

#[tokio::test]
async fn a_mutex_is_shown_with_its_holders_and_its_line() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    let free = run(url, &["show", "orders/edit/42"]);
    assert_eq!(
        (free.code, free.output.as_str()),
        (Some(0), "orders/edit/42 free\n")
    );

    capture(url, "orders/edit/42", "s1", &MORE);
    let mut waiting = Vec::new();
    for (place, session) in ["s2", "s3"].into_iter().enumerate() {
        let arguments = [
            "capture",
            "orders/edit/42",
            "--wait",
            "1h",
            "--name",
            "Bob",
            "--session",
            session,
        ];
        waiting.push(running(url, &arguments));
        waits(&mutexes, place + 1).await;
    }
    let shown = json_lines(&run(url, &["show", "orders/edit/42", "--json"]));
    let place = |place: u64, session: &str, behind: &str, behind_name: &str| {
        json!({
            "name": "orders/edit/42", "group": "orders", "mode": "edit", "id": "42", "place": place,
            "access": "exclusive", "permits": null,
            "owner": {"session": session, "user_id": "", "name": "Bob", "login": "ada", "host": "<host>"},
            "queued_since": "<time>", "ticket": "<ticket>",
            "behind_session": behind, "behind_name": behind_name,
            "lock_parents": false, "lock_children": false,
        })
    };
    let line = [place(1, "s2", "s1", "Ada"), place(2, "s3", "s2", "Bob")];
    assert_eq!(
        shown,
        [json!({
            "name": "orders/edit/42", "state": "held", "at": "<time>", "holds": [orders_42()],
            "locked_by": null, "waiters": line,
        })]
    );
    assert_eq!(
        json_lines(&run(url, &["list", "--waiting", "--json"])),
        line
    );
    assert_eq!(
        json_lines(&run(
            url,
            &["list", "--waiting", "--session", "s3", "--json"]
        )),
        line[1..]
    );

    let shown = run(url, &["show", "orders/edit/42"]).output;
    for part in [
        "held",
        "Ada on",
        "s1",
        "timeout 600s",
        "left)",
        "step 1",
        "in line",
        "Bob",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let lines = run(url, &["list", "--waiting"]).output;
    let first: Vec<&str> = lines.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(first[..3], ["orders/edit/42", "1", "Bob"], "{lines}");
    assert_eq!(first.last(), Some(&"Ada"), "{lines}");
    assert_eq!(lines.lines().count(), 3);
}

#[tokio::test]
async fn of_a_shared_mutex_all_holders_and_of_a_path_who_locks_it_from_above() {
    let database = Database::fresh().await;
    let url = database.url();
    for session in ["s1", "s2"] {
        capture(url, "a/b/c", session, &["--permits", "2"]);
    }
    let shown = json_lines(&run(url, &["show", "a/b/c", "--json"]));
    let permits: Vec<&Value> = shown[0]["holds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hold| &hold["permit"])
        .collect();
    assert_eq!(permits, [1, 2]);

    capture(url, "lab/tree//rack1/", "s1", &["--lock-children"]);
    let shown = json_lines(&run(url, &["show", "lab/tree//rack1/board3/", "--json"]));
    assert_eq!(shown[0]["state"], "locked");
    assert_eq!(shown[0]["locked_by"]["name"], "lab/tree//rack1/");
    assert_eq!(shown[0]["holds"], json!([]));
    let shown = run(url, &["show", "lab/tree//rack1/board3/"]);
    assert!(
        shown.output.contains("locked") && shown.output.contains("lab/tree//rack1/\n"),
        "{shown:?}"
    );
    let beside = json_lines(&run(url, &["show", "lab/tree//rack2/", "--json"]));
    assert_eq!(beside[0]["state"], "free");
}
