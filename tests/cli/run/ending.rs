//! What a command leaves behind, and the processes between it and the database, killed and stopped.

use super::{Folder, MUTEX, Run, eventually, is_alive, must, signal};
use crate::{support::Database, time::an_hour_passes};

/// Starts processes in the background that say who they are: one in the command's group, one in a
/// group of its own, as `timeout` makes one, one that does not heed SIGTERM, and one in a session of
/// its own, as daemons are, which it has begun before it is named.
const LEAVES: &str = r#"
    sleep 1000 & a=$!
    timeout 1000 sleep 1000 & b=$!
    sh -c 'trap "" TERM; echo; while :; do sleep 1000; done' & c=$!
    setsid sleep 1000 >/dev/null 2>&1 9>&- & d=$!
    until read -r pid name state parent group session rest </proc/$d/stat && [ "$session" = $d ]; do
        sleep 0.01
    done
    read ready; echo $$ $a $b $c $d"#;

#[tokio::test]
async fn what_a_command_leaves_behind_ends_before_the_mutex_is_free() {
    let database = Database::fresh().await;
    let folder = Folder::new("leftovers");
    let lock = folder.file("lock");
    // The background processes keep the file locked as well as the command does; not so the daemon.
    let script = format!("exec 9>>'{lock}'; flock 9; {LEAVES}; exit 3");
    let mut run = Run::script(database.url(), &["--grace", "1s"], &script);
    assert_eq!(run.line().await, "");
    let next = Run::of(
        database.url(),
        [
            MUTEX,
            "--",
            "flock",
            "--nonblock",
            "--conflict-exit-code",
            "99",
            &lock,
            "echo",
            "free",
        ],
    );
    let session = database.session().await;
    let in_line = "select count(*)::text from pgmutex.waiting";
    must(session.ask_until(in_line, |count| count == "1")).await;
    run.let_go();
    let processes = run.numbers().await;
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for process in &processes[..4] {
        assert!(!is_alive(*process), "{processes:?}");
    }
    let next = next.ended().await;
    assert_eq!(
        (next.code, next.output.as_str()),
        (Some(0), "free\n"),
        "{next:?}"
    );
    assert!(
        is_alive(processes[4]),
        "a session of its own is out of reach"
    );
    signal(processes[4], "KILL");
}

#[tokio::test]
async fn a_command_without_its_keeper_is_ended_at_once() {
    let database = Database::fresh().await;
    let script = "sleep 1000 & echo $PPID $$ $!; trap 'exit 5' TERM; wait";
    let mut run = Run::script(database.url(), &[], script);
    let processes = run.numbers().await;
    signal(processes[0], "KILL");
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(137), "{ended:?}");
    assert!(
        ended.said.contains("leads the command's group"),
        "{ended:?}"
    );
    for process in processes {
        assert!(!is_alive(process));
    }
    let session = database.session().await;
    let held = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(session.ask(held).await, "0");
}

#[tokio::test]
async fn a_command_without_the_program_is_ended_and_the_mutex_is_free_in_time() {
    let database = Database::fresh().await;
    let script = "trap 'echo asked to end; exit' TERM; echo $PPID $$; while :; do sleep 0.01; done";
    let mut run = Run::script(database.url(), &[], script);
    let processes = run.numbers().await;
    run.signal("KILL");
    let ended = run.ended().await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (None, "asked to end\n"),
        "{ended:?}"
    );
    assert!(ended.said.contains("killed"), "{ended:?}");
    eventually(|| !processes.iter().any(|process| is_alive(*process))).await;
    let session = database.session().await;
    let is_held = "select (expires_at > clock_timestamp())::text from pgmutex.held";
    assert_eq!(session.ask(is_held).await, "true");
    an_hour_passes(&database).await;
    let next = Run::script(database.url(), &[], "echo ran").ended().await;
    assert_eq!((next.code, next.output.as_str()), (Some(0), "ran\n"));
    assert!(next.said.contains("over"), "{next:?}");
}

#[tokio::test]
async fn a_command_that_is_stopped_keeps_its_mutex() {
    let database = Database::fresh().await;
    let mut run = Run::script(
        database.url(),
        &["--timeout", "12s"],
        "echo $$; read x; exit 6",
    );
    let process = run.numbers().await[0];
    signal(process, "STOP");
    let session = database.session().await;
    let now = session.ask("select clock_timestamp()::text").await;
    let kept = format!(
        "select (captured_since > '{now}'::timestamptz + interval '11 s')::text from pgmutex.mutex_model"
    );
    // For longer than it would have been left to run without heartbeats.
    must(session.ask_until(&kept, |kept| kept == "true")).await;
    assert!(is_alive(process));
    signal(process, "CONT");
    run.let_go();
    assert_eq!(run.ended().await.code, Some(6));
}
