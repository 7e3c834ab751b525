//! Signals to the program, while it waits and while its command runs.

use std::fs;

use pgmutex::MutexId;

use super::{MUTEX, Run, eventually, is_alive, must, signal};
use crate::{program::pgmutex, support::Database};

#[tokio::test]
async fn a_signal_that_comes_while_it_waits_ends_the_wait() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let id = MutexId::new("tests", "run", "1").unwrap();
    let guard = mutexes.lock(&id).await.unwrap();
    let in_line = "select count(*)::text from pgmutex.waiting";
    for (name, code) in [("HUP", 129), ("INT", 130), ("QUIT", 131), ("TERM", 143)] {
        let waiting = Run::script(database.url(), &[], "echo ran");
        must(session.ask_until(in_line, |count| count == "1")).await;
        // It is for the command, and there is none.
        waiting.signal("USR1");
        waiting.signal(name);
        let ended = waiting.ended().await;
        assert_eq!(
            (ended.code, ended.output.as_str()),
            (Some(code), ""),
            "{ended:?}"
        );
        // It has left the line before it ended.
        assert_eq!(session.ask(in_line).await, "0");
    }
    assert!(guard.release().await.unwrap().is_released());
}

/// Says which signal it got, and ends with 40.
const TELLS: &str = "
    for name in HUP INT QUIT TERM USR1 USR2 CONT WINCH; do trap \"echo $name; exit 40\" $name; done
    echo ready; while :; do sleep 0.01; done";

#[tokio::test]
async fn a_signal_that_comes_while_the_command_runs_is_for_the_command() {
    let database = Database::fresh().await;
    for name in [
        "HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "CONT", "WINCH",
    ] {
        let mut run = Run::script(database.url(), &[], TELLS);
        assert_eq!(run.line().await, "ready");
        run.signal(name);
        let ended = run.ended().await;
        assert_eq!(ended.code, Some(40), "{name}: {ended:?}");
        assert_eq!(ended.output, format!("{name}\n"));
    }
}

#[tokio::test]
async fn the_program_stays_until_its_command_has_ended() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let script = "trap 'echo once' INT; trap 'echo done; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut run = Run::script(database.url(), &[], script);
    assert_eq!(run.line().await, "ready");
    for _ in 0..3 {
        run.signal("INT");
        assert_eq!(run.line().await, "once");
    }
    let held = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(session.ask(held).await, "1");
    run.signal("TERM");
    let ended = run.ended().await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(3), "done\n"),
        "{ended:?}"
    );
    assert_eq!(session.ask(held).await, "0");
}

#[tokio::test]
async fn no_signal_gets_lost_while_the_command_is_started() {
    let database = Database::fresh().await;
    let session = database.session().await;
    for round in 0..60 {
        let run = Run::script(database.url(), &[], "exec sleep 1000");
        let children = format!("/proc/{0}/task/{0}/children", run.pid());
        let has_children = || fs::read_to_string(&children).is_ok_and(|list| !list.is_empty());
        eventually(has_children).await;
        // From now on a signal is the command's, whether it is there yet or not.
        for _ in 0..round * 10 {
            assert!(is_alive(run.pid()));
        }
        run.signal("TERM");
        let ended = run.ended().await;
        assert_eq!(ended.code, Some(143), "{ended:?}");
        let held = "select count(*)::text from pgmutex.mutex_model";
        assert_eq!(session.ask(held).await, "0");
    }
}

#[tokio::test]
async fn what_the_user_has_switched_off_stays_off() {
    let database = Database::fresh().await;
    // As nohup does, and as shells do for what runs in the background.
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_pgmutex");
    let script = format!(
        "trap '' HUP INT; exec '{program}' run {MUTEX} -- sh -c 'echo $PPID $$; read x; echo still there'"
    );
    command.args(["-c", &script]);
    for (name, value) in pgmutex(&[]).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("DATABASE_URL", database.url());
    let mut run = Run::started(command);
    let numbers = run.numbers().await;
    for name in ["HUP", "INT"] {
        run.signal(name);
        for process in &numbers {
            signal(*process, name);
        }
    }
    run.let_go();
    let ended = run.ended().await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(0), "still there\n"),
        "{ended:?}"
    );
}
