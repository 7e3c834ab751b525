//! Commands that wait, are skipped, or whose keeper stands still.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::{ATTEMPTS, Folder, MUTEX, Run, must, numbers, signal, was_not_kept};
use crate::{
    program::{Ended, pgmutex, run},
    support::Database,
};

const HOLDS: &str = "echo $PPID; read x; exit 3";

/// Of what somebody else holds.
fn holder(url: &str) -> Run {
    Run::script(url, &[], HOLDS)
}

#[tokio::test]
async fn a_keeper_that_was_stopped_goes_on_and_sees_its_command_end() {
    let database = Database::fresh().await;
    let mut run = Run::script(database.url(), &[], HOLDS);
    let keeper = run.numbers().await[0];
    signal(keeper, "STOP");
    run.let_go();
    assert_eq!(run.ended().await.code, Some(3));

    let mut run = Run::script(database.url(), &[], HOLDS);
    let keeper = run.numbers().await[0];
    signal(keeper, "STOP");
    run.signal("TERM");
    assert_eq!(run.ended().await.code, Some(143));
}

/// What has come meanwhile counts, not the last word before.
#[tokio::test]
async fn a_keeper_that_is_stopped_again_and_again_ends_no_command_whose_hold_is_kept() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let kept =
        "select (captured_since - held_since > interval '6 seconds')::text from pgmutex.held";
    for _ in 0..ATTEMPTS {
        // Heartbeats come so often that between two moments at which the keeper gets to look, an old
        // deadline has passed.
        let mut run = Run::script(database.url(), &["--timeout", "3s"], HOLDS);
        if let Some(line) = run.line_unless_over().await {
            let stop = format!(
                "while kill -STOP {}; do :; done 2>/dev/null",
                numbers(&line)[0]
            );
            let mut stopping = Command::new("sh")
                .args(["-c", &stop])
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            tokio::select! {
                _ = must(session.ask_until(kept, |is_kept| is_kept == "true")) => {}
                _ = run.line_unless_over() => {}
            }
            stopping.kill().await.unwrap();
            // Perhaps the keeper was stopped once more just before; the program passes it on.
            run.signal("CONT");
            run.let_go();
        }
        let ended = run.ended().await;
        if !was_not_kept(&ended) {
            assert_eq!(ended.code, Some(3), "{ended:?}");
            return;
        }
    }
    panic!("its hold is not kept");
}

#[tokio::test]
async fn a_run_inside_of_a_run_does_not_wait_for_itself() {
    let database = Database::fresh().await;
    let inner = format!("{} run {MUTEX} -- true", env!("CARGO_BIN_EXE_pgmutex"));
    let outer = Run::script(database.url(), &[], &format!("exec 2>&1; {inner}"));
    let ended = outer.ended().await;
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(
        ended.output.contains("which the one who asks holds"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn who_waits_says_for_what_and_behind_whom() {
    let database = Database::fresh().await;
    let mut first = holder(database.url());
    first.line().await;
    let mut command = pgmutex(&["run", MUTEX, "--", "true"]);
    command
        .env("DATABASE_URL", database.url())
        .stderr(Stdio::piped());
    let mut second = Command::from(command).spawn().unwrap();
    let mut said = BufReader::new(second.stderr.take().unwrap()).lines();
    let line = must(said.next_line()).await.unwrap().unwrap();
    assert!(
        line.starts_with(&format!("pgmutex: waiting for {MUTEX}, held by ")),
        "{line}"
    );
    let session = database.session().await;
    let holder = session.ask("select owner_session from pgmutex.held").await;
    assert!(!line.contains(&holder), "{line}");
    first.let_go();
    assert_eq!(first.ended().await.code, Some(3));
    assert!(must(second.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_run_that_is_skipped_leaves_no_trace_where_none_is_wanted() {
    let database = Database::fresh().await;
    let folder = Folder::new("skipped");
    let file = folder.file("job.prom");
    let job = |code: &str| -> Ended {
        let options = ["run", MUTEX, "-n", "-E", code, "--metrics-file", &file];
        let arguments: Vec<&str> = options.into_iter().chain(["--", "true"]).collect();
        run(database.url(), &arguments)
    };
    assert_eq!(job("0").code, Some(0));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("pgmutex_command_exit_code"), "{written}");

    let mut other = holder(database.url());
    other.line().await;
    let skipped = job("0");
    assert_eq!(
        (skipped.code, skipped.output.as_str(), skipped.said.as_str()),
        (Some(0), "", "")
    );
    let skipped = job("17");
    assert_eq!(skipped.code, Some(17));
    assert!(skipped.said.contains("is held by"), "{skipped:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    other.let_go();
    other.ended().await;
}
