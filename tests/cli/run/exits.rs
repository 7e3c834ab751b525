//! What a command gets, and with which code the program ends.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, process::Stdio};

use pgmutex::MutexId;

use super::{ATTEMPTS, Folder, MUTEX, Run, must};
use crate::{
    program::{pgmutex, run},
    support::Database,
};

fn id() -> MutexId {
    MutexId::new("tests", "run", "1").unwrap()
}

#[tokio::test]
async fn it_ends_as_its_command_does() {
    let database = Database::fresh().await;
    let url = database.url();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
        // A real-time signal, which has no name.
        ("kill -40 $$", 168),
    ] {
        let ended = Run::script(url, &[], script).ended().await;
        assert_eq!(ended.code, Some(code), "{script}: {ended:?}");
        assert_eq!(ended.said, "", "{script}");
    }
    // Nothing is left behind.
    assert_eq!(
        database
            .mutexes()
            .await
            .count(&Default::default())
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn what_cannot_be_executed_has_the_codes_of_shells() {
    let database = Database::fresh().await;
    let url = database.url();
    let missing = run(url, &["run", MUTEX, "--", "/nowhere/to be found"]);
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert!(missing.said.contains("/nowhere/to be found"), "{missing:?}");
    let folder = run(url, &["run", MUTEX, "--", "/"]);
    assert_eq!(folder.code, Some(126), "{folder:?}");
    assert_eq!(run(url, &["run", MUTEX, "--", "true"]).code, Some(0));
}

#[tokio::test]
async fn arguments_that_make_no_sense_run_nothing() {
    let database = Database::fresh().await;
    for arguments in [
        &["run", MUTEX][..],
        &["run", MUTEX, "echo", "ran"],
        &["run", "no-mutex", "--", "echo", "ran"],
        &["run", "--timeout", "0", MUTEX, "--", "echo", "ran"],
        &["run", "--timeout", "1500ms", MUTEX, "--", "echo", "ran"],
        &[
            "run",
            "--timeout",
            "9s",
            "--grace",
            "4s",
            MUTEX,
            "--",
            "echo",
            "ran",
        ],
        &[
            "run",
            "--non-blocking",
            "--wait",
            "1s",
            MUTEX,
            "--",
            "echo",
            "ran",
        ],
        &[
            "run",
            "--shared",
            "--permits",
            "2",
            MUTEX,
            "--",
            "echo",
            "ran",
        ],
    ] {
        let refused = run(database.url(), arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
        assert_eq!(refused.output, "");
        assert_ne!(refused.said, "");
    }
}

#[tokio::test]
async fn a_mutex_that_another_has_is_waited_for_or_not() {
    let database = Database::fresh().await;
    let (url, mutexes) = (database.url(), database.mutexes().await);
    let guard = mutexes.lock(id()).await.unwrap();
    for (options, code) in [
        (&["--non-blocking"][..], 75),
        (&["-n", "-E", "9"], 9),
        (&["--wait", "2s"], 75),
        (&["-w", "100ms", "--conflict-exit-code", "0"], 0),
        (&["--non-blocking", "--shared"], 75),
        (&["--non-blocking", "--permits", "3"], 75),
    ] {
        let mut is_said = false;
        for _ in 0..ATTEMPTS {
            let ended = Run::script(url, options, "echo ran").ended().await;
            assert_eq!(ended.code, Some(code), "{options:?}: {ended:?}");
            assert_eq!(ended.output, "");
            is_said = ended.said.contains("held by");
            // Who gives up before it is in line cannot know by whom.
            if is_said || options[0] != "--wait" {
                break;
            }
        }
        // With 0 nobody is to hear of it.
        assert_eq!(is_said, code != 0, "{options:?}");
    }
    let json = Run::script(url, &["--non-blocking", "--json"], "echo ran")
        .ended()
        .await;
    let json: serde_json::Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!(json["outcome"], "busy");
    assert_eq!(json["hold"]["fencing_token"], guard.fencing_token().get());

    let waiting = [
        Run::script(url, &[], "echo ran"),
        Run::script(url, &["--wait", "10m"], "echo ran"),
    ];
    let session = database.session().await;
    let in_line = "select count(*)::text from pgmutex.waiting";
    must(session.ask_until(in_line, |count| count == "2")).await;
    guard.release().await.unwrap();
    for waiting in waiting {
        let ended = waiting.ended().await;
        assert_eq!(
            (ended.code, ended.output.as_str()),
            (Some(0), "ran\n"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn those_who_share_run_together() {
    let database = Database::fresh().await;
    let (url, mutexes) = (database.url(), database.mutexes().await);
    for (options, limit) in [(&["--shared"][..], None), (&["--permits", "2"], Some(2))] {
        let mut first = Run::script(url, options, "echo in; read x");
        let mut second = Run::script(url, options, "echo in; read x");
        for run in [&mut first, &mut second] {
            assert_eq!(run.line().await, "in");
        }
        let holds = mutexes.list(&Default::default()).await.unwrap().mutexes;
        for hold in &holds {
            assert_eq!((hold.permit > 0, hold.permits), (true, limit));
        }
        assert_eq!(holds.len(), 2);
        let third = [options, &["--non-blocking"]].concat();
        let third = Run::script(url, &third, "exit 5").ended().await;
        let expected = if limit.is_none() { 5 } else { 75 };
        assert_eq!(third.code, Some(expected), "{third:?}");
        for mut run in [first, second] {
            run.let_go();
            assert_eq!(run.ended().await.code, Some(1));
        }
    }
}

#[tokio::test]
async fn paths_of_trees_are_locked_with_what_is_above_and_below() {
    let database = Database::fresh().await;
    let url = database.url();
    let tree = ["--lock-parents", "--lock-children"];
    let path = |path| {
        [
            &tree[..],
            &["--non-blocking", path, "--", "sh", "-c", "echo in; read x"],
        ]
        .concat()
    };
    let mut board = Run::of(url, path("lab/tree//rack/board/"));
    assert_eq!(board.line().await, "in");
    for (other, code) in [
        ("lab/tree//rack/", 75),
        ("lab/tree//rack/board/chip/", 75),
        ("lab/tree//shelf/", 1),
    ] {
        let mut other = Run::of(url, path(other));
        other.let_go();
        assert_eq!(other.ended().await.code, Some(code));
    }
    board.let_go();
    assert_eq!(board.ended().await.code, Some(1));
}

#[tokio::test]
async fn the_database_may_be_away_strange_or_closed_to_the_user() {
    let unreachable = "postgres://nobody@127.0.0.1:1/nowhere?connect_timeout=5";
    let ended = Run::script(unreachable, &[], "echo ran").ended().await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(69), ""),
        "{ended:?}"
    );
    let empty = Database::empty().await;
    let ended = Run::script(empty.url(), &[], "echo ran").ended().await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(78), ""),
        "{ended:?}"
    );
    let database = Database::fresh().await;
    let (role, url) = database.role("").await;
    let ended = Run::script(&url, &[], "echo ran").ended().await;
    let drop = format!("drop role {role}");
    database.client().await.batch_execute(&drop).await.unwrap();
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(77), ""),
        "{ended:?}"
    );
}

#[tokio::test]
async fn the_command_gets_its_arguments_as_they_are() {
    let database = Database::fresh().await;
    let odd: [&[u8]; 10] = [
        b"",
        b" ",
        b"a b",
        b"$HOME",
        b"`id`",
        b"*",
        b"\"'\\",
        b"--help",
        b"line\nbreak",
        b"\xff\xfe",
    ];
    let mut command = pgmutex(&["run", MUTEX, "--", "printf", "%s\\0"]);
    command.args(odd.map(OsStr::from_bytes));
    let output = command
        .env("DATABASE_URL", database.url())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
    assert_eq!(printed[..odd.len()], odd);
}

#[tokio::test]
async fn the_environment_says_what_is_held() {
    let database = Database::fresh().await;
    let script = r#"echo "$PGMUTEX_GROUP,$PGMUTEX_MODE,$PGMUTEX_ID,$OTHER"; echo "$PGMUTEX_FENCING_TOKEN"; echo "$PGMUTEX_OWNER_SESSION"; read x"#;
    let mut command = pgmutex(&[
        "run",
        "--status-data",
        "note",
        "--name",
        "Ada",
        "a%2Fb/m/x/y%25",
        "--",
        "sh",
        "-c",
        script,
    ]);
    command
        .env("DATABASE_URL", database.url())
        .env("OTHER", "as it was");
    let mut run = Run::started(command);
    assert_eq!(run.line().await, "a/b,m,x/y%,as it was");
    let (token, session) = (run.line().await, run.line().await);
    let observer = database.session().await;
    let held = "select concat_ws(',', fencing_token, owner_session, owner_name, status_data) from pgmutex.held";
    assert_eq!(
        observer.ask(held).await,
        format!("{token},{session},Ada,note")
    );
    // Both are good for SQL: the one fences, the other keeps.
    observer
        .run(&format!(
            "select pgmutex.fence('a/b', 'm', 'x/y%', {token})"
        ))
        .await;
    let refreshed = format!("refresh('a/b', 'm', 'x/y%', '{session}')");
    assert_eq!(observer.outcome(&refreshed).await, "refreshed");
    run.let_go();
    assert_eq!(run.ended().await.code, Some(1));
}

#[tokio::test]
async fn the_command_inherits_what_it_would_without_the_lock() {
    let database = Database::fresh().await;
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd; pwd; umask";
    let plain = std::process::Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let under_lock = run(database.url(), &["run", MUTEX, "--", "sh", "-c", script]);
    assert_eq!(under_lock.code, Some(0), "{under_lock:?}");
    assert_eq!(under_lock.output, String::from_utf8(plain.stdout).unwrap());
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_the_command_as_ever() {
    let database = Database::fresh().await;
    let mut command = pgmutex(&["run", MUTEX, "--", "yes"]);
    let mut child = command
        .env("DATABASE_URL", database.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // SIGPIPE.
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(must(ended).await.unwrap().code(), Some(141));
    // Nor does it matter if nobody reads what there is to say.
    let mut command = pgmutex(&["run", "--json", MUTEX, "--", "/nowhere"]);
    let mut child = command
        .env("DATABASE_URL", database.url())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(must(ended).await.unwrap().code(), Some(127));
}

#[tokio::test]
async fn a_program_that_is_replaced_meanwhile_goes_on() {
    let database = Database::fresh().await;
    let folder = Folder::new("replaced");
    let copy = folder.file("pgmutex");
    // By another process: what this one has open for writing, children that other tests start at that
    // moment have open, too, and such a file cannot be executed.
    let copied = std::process::Command::new("cp")
        .args([env!("CARGO_BIN_EXE_pgmutex"), &copy])
        .status();
    assert!(copied.unwrap().success());
    let guard = database.mutexes().await.lock(id()).await.unwrap();
    let mut command = std::process::Command::new(&copy);
    command
        .args(["run", MUTEX, "--", "echo", "ran"])
        .env("DATABASE_URL", database.url());
    let waiting = Run::started(command);
    let session = database.session().await;
    let in_line = "select count(*)::text from pgmutex.waiting";
    must(session.ask_until(in_line, |count| count == "1")).await;
    fs::remove_file(&copy).unwrap();
    fs::write(&copy, "no program").unwrap();
    guard.release().await.unwrap();
    let ended = waiting.ended().await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(0), "ran\n"),
        "{ended:?}"
    );
}
