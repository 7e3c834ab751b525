//! Two who decide about paths at the same moment, in every order.

use super::{ALL, about, capture, reach};
use crate::support::{Database, Session};

const ROOT: &str = "/";
const UPPER: &str = "/a/";
const LOWER: &str = "/a/b/";
const FLAGS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

/// Whether a hold keeps others from a path.
fn keeps_from(held: &str, (lock_parents, lock_children): (bool, bool), wanted: &str) -> bool {
    held == wanted
        || held.starts_with(wanted) && lock_parents
        || wanted.starts_with(held) && lock_children
}

#[tokio::test]
async fn parent_and_child_are_decided_about_one_after_the_other_in_every_order() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for (first, second) in [
        (UPPER, LOWER),
        (LOWER, UPPER),
        (ROOT, LOWER),
        (LOWER, ROOT),
        (UPPER, UPPER),
    ] {
        for first_flags in FLAGS {
            for second_flags in FLAGS {
                for end in ["commit", "rollback"] {
                    let case = format!("{first} {first_flags:?} {second} {second_flags:?} {end}");
                    let more = |flags: (bool, bool)| reach(flags.0, flags.1);
                    a.run("begin").await;
                    let answer = a.ask(&capture(first, "a", &more(first_flags))).await;
                    assert_eq!(answer, format!("captured {first} a"), "{case}");
                    let waiting = b.begin(&capture(second, "b", &more(second_flags)));
                    b.is_blocked().await;
                    a.run(end).await;
                    let expected = match end == "commit" && keeps_from(first, first_flags, second) {
                        true => format!("busy {first} a"),
                        false => format!("captured {second} b"),
                    };
                    assert_eq!(waiting.text().await, expected, "{case}");
                    a.run("delete from pgmutex.mutex_model").await;
                }
            }
        }
    }
}

#[tokio::test]
async fn siblings_are_decided_about_at_the_same_time() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("begin").await;
    b.run("begin").await;
    for (one, other) in [("/a/x/", "/a/y/"), ("/p/", "/q/"), ("/r/s/t/", "/r/z/")] {
        let answer = a.ask(&capture(one, "a", ALL)).await;
        assert_eq!(answer, format!("captured {one} a"));
        let answer = b.ask(&capture(other, "b", ALL)).await;
        assert_eq!(answer, format!("captured {other} b"));
    }
    a.run("commit").await;
    b.run("commit").await;
}

/// A path's decision in a transaction, and one about another path that must wait for its end.
async fn must_wait(a: &Session, deciding: &str, b: &Session, waiting: &str) -> String {
    a.run("begin").await;
    a.ask(deciding).await;
    let waiting = b.begin(waiting);
    b.is_blocked().await;
    a.run("commit").await;
    waiting.text().await
}

#[tokio::test]
async fn whatever_changes_a_path_takes_its_turn_with_what_is_above_and_below() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for (changed, wanted) in [(UPPER, LOWER), (LOWER, UPPER)] {
        for (change, holder, answer) in [
            ("release", "a", "captured"),
            ("force_release", "reason", "captured"),
            ("release", "stranger", "busy"),
            ("leave_line", "stranger", "busy"),
        ] {
            let case = format!("{change} {changed}");
            a.ask(&capture(changed, "a", ALL)).await;
            let call = match change {
                "leave_line" => format!(
                    "select {}::text",
                    in_schema(&about(change, changed, holder))
                ),
                _ => format!(
                    "select outcome from {}",
                    in_schema(&about(change, changed, holder))
                ),
            };
            let captured = must_wait(&a, &call, &b, &capture(wanted, "b", ALL)).await;
            assert_eq!(captured.split(' ').next(), Some(answer), "{case}");
            // The other way round: it waits for the capture.
            a.run("delete from pgmutex.mutex_model").await;
            let captured = must_wait(&b, &capture(wanted, "b", ALL), &a, &call).await;
            assert_ne!(captured, "released", "{case}");
            a.run("delete from pgmutex.mutex_model").await;
        }
    }
}

fn in_schema(call: &str) -> String {
    format!("pgmutex.{call}")
}

#[tokio::test]
async fn a_refresh_takes_no_turn_with_those_above_and_below() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.ask(&capture(LOWER, "a", ALL)).await;
    b.run("begin").await;
    let answer = b.ask(&capture(UPPER, "b", ALL)).await;
    assert_eq!(answer, format!("busy {LOWER} a"));
    assert_eq!(a.outcome(&about("refresh", LOWER, "a")).await, "refreshed");
    b.run("commit").await;
}

#[tokio::test]
async fn a_sweep_passes_over_paths_that_are_being_decided_about_above_and_below() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for (deciding, over) in [(UPPER, LOWER), (LOWER, UPPER)] {
        a.ask(&capture(over, "old", ", lock_parents => false"))
            .await;
        a.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
            .await;
        a.run("begin").await;
        a.ask(&capture(deciding, "a", ALL)).await;
        assert_eq!(b.ask("select pgmutex.sweep()::text").await, "0");
        a.run("commit").await;
        assert_eq!(b.ask("select pgmutex.sweep()::text").await, "1");
        // And it keeps them waiting.
        a.run("delete from pgmutex.mutex_model").await;
        a.ask(&capture(over, "old", "")).await;
        a.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
            .await;
        let sweep = "select pgmutex.sweep()::text";
        let captured = must_wait(&a, sweep, &b, &capture(deciding, "b", ALL)).await;
        assert_eq!(captured, format!("captured {deciding} b"));
        a.run("delete from pgmutex.mutex_model").await;
    }
}

#[tokio::test]
async fn request_removes_what_is_over_in_turn_with_those_below() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.ask(&capture(UPPER, "old", ALL)).await;
    a.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
        .await;
    let request = format!(
        "select outcome from {}",
        in_schema(&about("request", UPPER, "a"))
    );
    let captured = must_wait(&a, &request, &b, &capture(LOWER, "b", ALL)).await;
    // Nothing was left to evict.
    assert_eq!(captured, format!("captured {LOWER} b"));
}
