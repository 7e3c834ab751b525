//! What makes no sense, and what is not allowed.

use super::is_gone;
use crate::{program::run, support::Database};

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let database = Database::empty().await;
    for arguments in [
        &["--set", "huge"][..],
        &["--quick", "--set", "full"],
        &["--scenario", "everything"],
        &["--rows", "0"],
        &["--rows", "100000001"],
        &["--guards", "0"],
        &["--seed=-1"],
        &["--seed", "one"],
    ] {
        let refused = run(database.url(), &[&["bench"], arguments].concat());
        assert_eq!(
            (refused.code, refused.output.as_str()),
            (Some(2), ""),
            "{refused:?}"
        );
        assert!(
            refused.said.contains(arguments[0].trim_end_matches("=-1")),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_found_out_first() {
    let database = Database::empty().await;
    for peer in ["--redis", "--etcd"] {
        let url = match peer {
            "--redis" => "redis://:secret@127.0.0.1:1",
            _ => "http://127.0.0.1:1",
        };
        let refused = run(database.url(), &["bench", "--quick", peer, url]);
        let (code, says) = match cfg!(feature = "bench-peers") {
            true if peer == "--redis" => (1, "cannot connect to Redis at 127.0.0.1:1: "),
            true => (1, "etcd at http://127.0.0.1:1: "),
            false => (2, "cargo install pgmutex --features cli,bench-peers"),
        };
        assert_eq!(
            (refused.code, refused.output.as_str()),
            (Some(code), ""),
            "{refused:?}"
        );
        let is_said = refused.said.contains(says);
        assert!(is_said && !refused.said.contains("secret"), "{refused:?}");
    }
    assert!(is_gone(&database.session().await).await);
}

#[tokio::test]
async fn whoever_may_not_make_a_schema_is_told_so() {
    let database = Database::empty().await;
    let (_, url) = database.role("").await;
    let refused = run(&url, &["bench", "--quick"]);
    assert_eq!(
        (refused.code, refused.output.as_str()),
        (Some(77), ""),
        "{refused:?}"
    );
    assert!(refused.said.contains("schema"), "{refused:?}");
    assert!(is_gone(&database.session().await).await);
}

#[tokio::test]
async fn where_nobody_answers_it_says_so() {
    let refused = run(
        "postgres://nobody@127.0.0.1:1/nothing",
        &["bench", "--quick"],
    );
    assert_eq!(
        (refused.code, refused.output.as_str()),
        (Some(69), ""),
        "{refused:?}"
    );
}
