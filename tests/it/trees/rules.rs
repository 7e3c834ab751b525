//! The rules in short.

use std::{future::IntoFuture, pin::pin};

use futures_util::poll;
use pgmutex::Error;

use super::{ALL, capture};
use crate::{
    guards::{in_line, must},
    support::Database,
};

#[tokio::test]
async fn a_path_is_in_the_way_of_those_above_and_below_it() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let ask = async |path: &str, owner: &str| s.ask(&capture(path, owner, ALL)).await;
    assert_eq!(ask("/foo/bar/", "a").await, "captured /foo/bar/ a");
    for blocked in [
        "/foo/bar/",
        "/foo/",
        "/",
        "/foo/bar/baz/",
        "/foo/bar/baz/x/",
    ] {
        assert_eq!(ask(blocked, "b").await, "busy /foo/bar/ a", "{blocked}");
    }
    for free in ["/foo/zip/", "/foo/barn/", "/fo/", "/foo%2Fbar/"] {
        assert_eq!(ask(free, "b").await, format!("captured {free} b"));
    }
    // Owners do not stand in their own way.
    assert_eq!(ask("/foo/bar/baz/", "a").await, "captured /foo/bar/baz/ a");
}

#[tokio::test]
async fn whoever_waits_for_a_path_is_before_whoever_comes_later_above_and_below() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let ask = async |path: &str, owner: &str, more: &str| {
        s.ask(&capture(path, owner, &format!("{ALL}{more}"))).await
    };
    let wait = ", wait => true";
    assert_eq!(ask("/a/b/", "h", "").await, "captured /a/b/ h");
    assert_eq!(ask("/a/", "w", wait).await, "queued /a/b/ h");
    // /a/c/ is free, but for the one who waits above it.
    assert_eq!(ask("/a/c/", "x", "").await, "busy /a/ w");
    assert_eq!(ask("/a/c/", "x", wait).await, "queued /a/ w");
    assert_eq!(ask("/z/", "y", "").await, "captured /z/ y");
    let line = "select string_agg(concat_ws(' ', mutex_id, place, owner_session, behind_owner_session), ', ' order by ticket) from pgmutex.waiting";
    assert_eq!(s.ask(line).await, "/a/ 1 w h, /a/c/ 1 x w");
    s.outcome("release('lab', 'tree', '/a/b/', 'h')").await;
    assert_eq!(ask("/a/c/", "x", wait).await, "queued /a/ w");
    assert_eq!(ask("/a/", "w", wait).await, "captured /a/ w");
    assert_eq!(ask("/a/c/", "x", wait).await, "queued /a/ w");
    s.outcome("release('lab', 'tree', '/a/', 'w')").await;
    assert_eq!(ask("/a/c/", "x", wait).await, "captured /a/c/ x");
}

#[tokio::test]
async fn guards_of_paths_wait_for_each_other_and_are_woken() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let tree = mutexes.tree("lab");
    let (upper, lower) = (tree.path(["a"]).unwrap(), tree.path(["a", "b/c"]).unwrap());
    assert_eq!(lower.id().id(), "/a/b%2Fc/");
    let guard = must(lower.lock().into_future()).await.unwrap();
    let mut above = pin!(upper.lock().into_future());
    assert!(poll!(&mut above).is_pending());
    in_line(&s, 1).await;
    guard.release().await.unwrap();
    let above = must(above).await.unwrap();
    let refused = lower.capture().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Busy { id, holder, .. } if id == lower.id() && holder.id == *upper.id()),
        "{refused:?}"
    );
    let holder = lower.holder_in_the_way().await.unwrap().unwrap();
    assert_eq!(holder.id, *upper.id());
    above.release().await.unwrap();
    assert!(lower.holder_in_the_way().await.unwrap().is_none());
}
