//! Standard output that nobody reads to its end.

use std::process::Stdio;

use pgmutex::MutexId;

use crate::{
    program::{Ended, pgmutex},
    running::running,
    support::{Database, owner},
};

/// Runs a command whose standard output is a pipe that nobody reads.
fn unread(url: &str, arguments: &[&str]) -> Ended {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = pgmutex(arguments);
    let child = command
        .env("DATABASE_URL", url)
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command has an end of the pipe, too.
    drop(command);
    child.wait_with_output().unwrap().into()
}

#[tokio::test]
async fn every_command_that_prints_ends_quietly() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    for id in ["1", "2"] {
        let id = MutexId::new("a", "b", id).unwrap();
        mutexes.capture(&id).owner(owner("s1")).await.unwrap();
    }
    let pool: pgmutex::SessionPool = pgmutex::SessionPool::new(&mutexes, "accounts");
    pool.add(&serde_json::json!({})).await.unwrap();
    for arguments in [
        &["--help"][..],
        &["list", "--help"],
        &["--version"],
        &["list"],
        &["list", "--json"],
        &["list", "--count"],
        &["list", "--watch", "100ms"],
        &["show", "a/b/1"],
        &["show", "a/b/1", "--json"],
        &["capture", "a/b/3", "--json"],
        &["capture", "a/b/1", "--json"],
        &["refresh", "a/b/1", "--session", "s1"],
        &["release", "a/b/1", "--session", "s1"],
        &["force-release", "a/b/2", "--yes", "--reason", "x"],
        &["sweep"],
        &["wait", "a/b/4", "--json"],
        &["migrate", "--sql", "--schema", "other"],
        &["pool", "stats"],
        &["pool", "list", "accounts"],
        &["pool", "show", "accounts", "1"],
        &["pool", "add", "accounts", "{}"],
        &["pool", "delete", "accounts", "1"],
        &["completions", "bash"],
        &["man"],
        &["doctor"],
        &["roles"],
        &["audit", "enable"],
        &["audit", "keep", "--for", "1y"],
        &["audit", "disable", "--json"],
    ] {
        let ended = unread(url, arguments);
        assert_eq!(ended.code, Some(141), "{arguments:?}: {ended:?}");
        assert_eq!(ended.said, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_a_long_list() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let ids = (0..5000).map(|number| MutexId::new("many", "", format!("{number:04}")).unwrap());
    mutexes.capture_each(ids).owner(owner("s")).await.unwrap();
    let mut listing = running(database.url(), &["list", "--limit", "0"]);
    assert!(listing.line().starts_with("MUTEX"));
    listing.stop_reading();
    let ended = listing.ended();
    assert_eq!((ended.code, ended.said.as_str()), (Some(141), ""));
}

#[tokio::test]
async fn a_full_disk_is_no_success() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let ended = pgmutex(&["completions", "bash"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
}
