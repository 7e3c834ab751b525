//! A hold that is lost while the command runs: the command is dead before the mutex can pass to
//! another.

use std::process::Stdio;

use futures_util::future::join_all;
use pgmutex::MutexId;
use tokio::process::Command;

use super::{
    ATTEMPTS, Folder, MUTEX, Run, eventually, is_alive, must, numbers, signal_if_there,
    was_not_kept,
};
use crate::{
    program::pgmutex,
    support::{Cut, Database, Proxy},
};

/// Keeps a file locked, with processes in the background, one of them in a group of its own; and does
/// not heed SIGTERM.
fn stubborn(lock: &str) -> String {
    format!(
        "trap '' TERM; exec 9>>'{lock}'; flock --nonblock 9 || exit 99
         sleep 1000 & timeout 1000 sleep 1000 & echo $PPID $$ $!; while :; do sleep 1000; done"
    )
}

/// Runs under the same mutex, and finds out whether anybody of the others is still there.
fn next(url: &str, lock: &str) -> Run {
    let flock = [
        "flock",
        "--nonblock",
        "--conflict-exit-code",
        "99",
        lock,
        "echo",
        "alone",
    ];
    Run::of(url, [MUTEX, "--"].into_iter().chain(flock))
}

/// What keeps the hold from being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    CutOff,
    NoAnswers,
    ProgramKilled,
    ProgramStopped,
    KeeperStopped,
    /// Whenever it goes on.
    KeeperStoppedForGood,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_command_is_dead_before_the_next_begins() {
    let folder = Folder::new("losing");
    let mishaps = [
        Mishap::CutOff,
        Mishap::NoAnswers,
        Mishap::ProgramKilled,
        Mishap::ProgramStopped,
        Mishap::KeeperStopped,
        Mishap::KeeperStoppedForGood,
    ];
    join_all(mishaps.map(|mishap| happens(mishap, &folder))).await;
}

async fn happens(mishap: Mishap, folder: &Folder) {
    for _ in 0..ATTEMPTS {
        if is_dead_before_the_next_begins(mishap, folder).await {
            return;
        }
    }
    panic!("{mishap:?}: it does not come to that");
}

/// Whether it came to the mishap: the run may be over before, if its hold was not kept.
async fn is_dead_before_the_next_begins(mishap: Mishap, folder: &Folder) -> bool {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let lock = folder.file(&format!("{mishap:?}"));
    let options = ["--timeout", "12s", "--grace", "2s"];
    let mut run = Run::script(proxy.url(), &options, &stubborn(&lock));
    let Some(line) = run.line_unless_over().await else {
        is_over_too_soon(run).await;
        return false;
    };
    let processes = numbers(&line);
    let next = next(database.url(), &lock);
    let session = database.session().await;
    let in_line = "select count(*)::text from pgmutex.waiting";
    tokio::select! {
        _ = must(session.ask_until(in_line, |count| count == "1")) => {}
        _ = run.line_unless_over() => {
            is_over_too_soon(run).await;
            return false;
        }
    }

    let mut stopping = None;
    match mishap {
        Mishap::CutOff => proxy.set(Cut::Everything),
        Mishap::NoAnswers => proxy.set(Cut::AnswersFromNowOn),
        Mishap::ProgramKilled => run.signal("KILL"),
        Mishap::ProgramStopped => run.signal("STOP"),
        Mishap::KeeperStopped => {
            if !signal_if_there(processes[0], "STOP") {
                is_over_too_soon(run).await;
                return false;
            }
            proxy.set(Cut::Everything);
        }
        Mishap::KeeperStoppedForGood => {
            let stop = format!("while kill -STOP {}; do :; done 2>/dev/null", processes[0]);
            let mut stop_it = Command::new("sh");
            stop_it
                .args(["-c", &stop])
                .stdout(Stdio::null())
                .kill_on_drop(true);
            stopping = Some(stop_it.spawn().unwrap());
            proxy.set(Cut::Everything);
        }
    }
    let ended = next.ended().await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(0), "alone\n"),
        "{mishap:?}: {ended:?}"
    );
    for process in processes {
        assert!(!is_alive(process), "{mishap:?}");
    }
    drop(stopping);
    proxy.set(Cut::Nowhere);
    if mishap == Mishap::ProgramStopped {
        run.signal("CONT");
    }
    let ended = run.ended().await;
    if mishap == Mishap::ProgramKilled && was_not_kept(&ended) {
        return false;
    }
    let code = (mishap != Mishap::ProgramKilled).then_some(79);
    assert_eq!(ended.code, code, "{mishap:?}: {ended:?}");
    let reason = [
        "could not be reached",
        "taken away",
        "killed",
        "while the command",
    ];
    assert!(
        reason.iter().any(|reason| ended.said.contains(reason)),
        "{ended:?}"
    );
    true
}

/// There is one good reason for that.
async fn is_over_too_soon(run: Run) {
    let ended = run.ended().await;
    assert!(was_not_kept(&ended), "{ended:?}");
}

#[tokio::test]
async fn a_hold_that_is_taken_away_ends_the_command() {
    let database = Database::fresh().await;
    let (mutexes, id) = (
        database.mutexes().await,
        MutexId::new("tests", "run", "1").unwrap(),
    );
    let folder = Folder::new("forced");
    let lock = folder.file("lock");
    // One that heeds SIGTERM may say so; one that does not is killed.
    let heeds = "trap 'echo asked; exit 0' TERM; echo $PPID $$; while :; do sleep 0.01; done";
    for (script, output) in [(heeds.to_owned(), "asked\n"), (stubborn(&lock), "")] {
        let options = ["--timeout", "9s", "--grace", "1s"];
        let mut is_told_so = false;
        for _ in 0..ATTEMPTS {
            let mut run = Run::script(database.url(), &options, &script);
            let processes = run.numbers().await;
            mutexes.force_release(&id, "for a test").await.unwrap();
            let ended = run.ended().await;
            assert_eq!(ended.code, Some(79), "{ended:?}");
            for process in processes {
                assert!(!is_alive(process));
            }
            let is_lost = "tests/run/1 was lost while the command was running";
            assert!(
                ended.said.contains(is_lost) || was_not_kept(&ended),
                "{ended:?}"
            );
            is_told_so = ended.said.contains(is_lost) && ended.output == output;
            if is_told_so {
                break;
            }
            // In a second it may not get the time to say anything.
            let outputs = [output, ""];
            assert!(outputs.contains(&ended.output.as_str()), "{ended:?}");
        }
        assert!(is_told_so, "{output:?}");
    }
}

#[tokio::test]
async fn a_hold_that_was_taken_away_unnoticed_is_told_at_the_end() {
    let database = Database::fresh().await;
    let (mutexes, id) = (
        database.mutexes().await,
        MutexId::new("tests", "run", "1").unwrap(),
    );
    // No heartbeat is due for minutes.
    let mut run = Run::script(
        database.url(),
        &["--timeout", "1h"],
        "echo in; read x; exit 0",
    );
    assert_eq!(run.line().await, "in");
    mutexes.force_release(&id, "for a test").await.unwrap();
    run.let_go();
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(79), "{ended:?}");
    assert!(ended.said.contains("taken away"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_for_a_while_ends_nothing() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let session = database.session().await;
    let mut command = pgmutex(&["run", "--timeout", "18s", MUTEX, "--"]);
    command
        .args(["sh", "-c", "echo in; read x; exit 4"])
        .env("DATABASE_URL", proxy.url())
        .env("PGMUTEX_LOG", "warn");
    let mut run = Run::started(command);
    assert_eq!(run.line().await, "in");
    proxy.set(Cut::Everything);
    loop {
        let word = run.word().await;
        assert!(!word.starts_with("pgmutex: "), "{word}");
        if word.contains("heartbeat failed") {
            break;
        }
    }
    let last_kept = "select captured_since::text from pgmutex.mutex_model";
    let before = session.ask(last_kept).await;
    proxy.set(Cut::Nowhere);
    must(session.ask_until(last_kept, |now| now != before)).await;
    run.let_go();
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    // The log goes on perhaps; the program itself has nothing to say.
    let has_said = ended.said.lines().any(|line| line.starts_with("pgmutex: "));
    assert!(!has_said, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_ends_while_the_database_is_away_has_its_own_code() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let mut run = Run::script(proxy.url(), &[], "echo in; read x; exit 4");
    assert_eq!(run.line().await, "in");
    proxy.set(Cut::Everything);
    run.let_go();
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.said.contains("not released"), "{ended:?}");
    let session = database.session().await;
    assert_eq!(
        session
            .ask("select count(*)::text from pgmutex.mutex_model")
            .await,
        "1"
    );
}

#[tokio::test]
async fn a_server_that_is_stopped_ends_the_command_in_time() {
    let (server, mutexes) =
        crate::support::run_in_private_server(pgmutex::private_server::PrivatePostgres::builder())
            .await;
    let url = server.url("postgres");
    let mut run = Run::script(
        &url,
        &["--timeout", "3s"],
        "trap 'exit 0' TERM; echo $PPID $$; while :; do sleep 0.01; done",
    );
    let processes = run.numbers().await;
    drop(mutexes);
    drop(server);
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(79), "{ended:?}");
    eventually(|| !processes.iter().any(|process| is_alive(*process))).await;
}

#[tokio::test]
async fn what_a_script_writes_behind_its_fence_is_written_by_the_holder_or_not_at_all() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let id = MutexId::new("tests", "run", "1").unwrap();
    session.run("create table report (body text)").await;
    let script = r#"echo in; read x
        psql "$DATABASE_URL" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --output /dev/null \
             --set group="$PGMUTEX_GROUP" --set mode="$PGMUTEX_MODE" --set id="$PGMUTEX_ID" \
             --set token="$PGMUTEX_FENCING_TOKEN" <<'SQL'
begin;
select pgmutex.fence(:'group', :'mode', :'id', :token);
insert into report values ('new');
commit;
SQL
        echo "psql $?""#;
    for (is_taken_away, said, code) in [(false, "psql 0\n", 0), (true, "psql 3\n", 79)] {
        // No heartbeat is due for minutes: the script runs on.
        let mut run = Run::script(database.url(), &["--timeout", "1h"], script);
        assert_eq!(run.line().await, "in");
        if is_taken_away {
            mutexes.force_release(&id, "for a test").await.unwrap();
        }
        run.let_go();
        let ended = run.ended().await;
        assert_eq!(
            (ended.output.as_str(), ended.code),
            (said, Some(code)),
            "{ended:?}"
        );
        let written = "select count(*)::text from report";
        assert_eq!(session.ask(written).await, "1");
    }
}
