//! Waits for paths that could never end.

use std::{future::IntoFuture, pin::pin};

use futures_util::poll;
use pgmutex::Error;

use super::{ALL, WAIT, capture, nothing_is_left};
use crate::{
    guards::{in_line, must},
    support::{Database, Session},
};

#[tokio::test]
async fn a_wait_that_could_never_end_is_refused_across_paths() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let wait = format!("{ALL}{WAIT}");
    s.ask(&capture("/a/b/", "h", ALL)).await;
    assert_eq!(s.ask(&capture("/a/", "w", &wait)).await, "queued /a/b/ h");
    // Behind w, who waits for what h holds.
    let refused = s.try_ask(&capture("/a/c/", "h", &wait)).await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "PM006");
    assert_eq!(
        refused.message(),
        "deadlock: this would wait for lab/tree//a/c/, behind session w, who waits for lab/tree//a/, of which the one who asks holds /a/b/"
    );
    // What is no circle is not refused: w holds nothing that h waits for there.
    s.ask(&capture("/z/", "x", ALL)).await;
    assert_eq!(s.ask(&capture("/z/y/", "h", &wait)).await, "queued /z/ x");
    // Through a hold above.
    let refused = s
        .try_ask(&capture("/a/b/c/", "x", &wait))
        .await
        .unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "PM006");
    // Nor if the holds let each other be.
    nothing_is_left(&s).await;
    s.ask(&capture("/p/", "h", "")).await;
    s.ask(&capture("/q/", "w", "")).await;
    assert_eq!(s.ask(&capture("/p/", "w", WAIT)).await, "queued /p/ h");
    assert_eq!(
        s.ask(&capture("/q/r/", "h", WAIT)).await,
        "captured /q/r/ h"
    );
}

/// Not the last one in the line of readers, but one before it, is kept out by what the asker has.
#[tokio::test]
async fn a_circle_through_one_further_ahead_at_a_path_is_found() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let shared = format!("{ALL}, access => 'shared'");
    s.ask(&capture("/a/b/", "h", &shared)).await;
    s.ask(&capture("/a/", "writer", &format!("{ALL}{WAIT}")))
        .await;
    // The reader waits for the writer at the path, and has a place in another line meanwhile.
    s.ask("select outcome from pgmutex.capture('lab', 'm', 'plain', 'other')")
        .await;
    let several = "select outcome from pgmutex.capture_all('[{\"mutex_mode\": \"m\", \"mutex_id\": \"plain\"}, \
        {\"mutex_mode\": \"tree\", \"mutex_id\": \"/a/\", \"access\": \"shared\", \"lock_parents\": true, \"lock_children\": true}]', \
        '{\"mutex_group\": \"lab\", \"owner_session\": \"reader\"}', wait => true)";
    assert_eq!(
        s.ask(&several.replace("select outcome", "select distinct outcome"))
            .await,
        "queued"
    );
    let asked = "select outcome from pgmutex.capture('lab', 'm', 'plain', 'h', wait => true)";
    let refused = s.try_ask(asked).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "PM006");
}

#[tokio::test]
async fn guards_refuse_a_circle_across_paths() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let tree = mutexes.tree("lab");
    let path = |segments: &[&str]| tree.path(segments).unwrap();
    let lower = must(path(&["a", "b"]).lock().into_future()).await.unwrap();
    let other = must(path(&["z"]).lock().into_future()).await.unwrap();
    let upper_path = path(&["a"]);
    let mut upper = pin!(upper_path.lock().while_holding(&other).into_future());
    assert!(poll!(&mut upper).is_pending());
    in_line(&s, 1).await;
    let refused = must(path(&["z", "y"]).lock().while_holding(&lower).into_future()).await;
    assert!(
        matches!(refused, Err(Error::WaitCircle { .. })),
        "{refused:?}"
    );
    lower.release().await.unwrap();
    must(upper).await.unwrap().release().await.unwrap();
}

/// One waits at this path, locking nothing else, and for what h has.
async fn waits_at_and_for_h(s: &Session, path: &str) {
    s.ask(&capture("/p/", "h", "")).await;
    s.ask(&capture(path, "x", "")).await;
    let both = format!(
        "select string_agg(outcome, ' ') from pgmutex.capture_all('[{{\"mutex_id\": \"{path}\"}}, {{\"mutex_id\": \"/p/\"}}]', \
         '{{\"mutex_group\": \"lab\", \"mutex_mode\": \"tree\", \"owner_session\": \"w\"}}', wait => true)"
    );
    assert_eq!(s.ask(&both).await, "queued queued");
}

#[tokio::test]
async fn who_is_in_nobodys_way_above_and_below_closes_no_circle() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for (theirs, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        waits_at_and_for_h(&s, theirs).await;
        s.ask(&capture(wanted, "y", "")).await;
        let queued = format!("queued {wanted} y");
        assert_eq!(s.ask(&capture(wanted, "h", WAIT)).await, queued);
        nothing_is_left(&s).await;
    }
}

#[tokio::test]
async fn a_circle_through_one_ahead_who_waits_for_one_above_is_found() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for (theirs, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        waits_at_and_for_h(&s, theirs).await;
        // Not h would be in their way, or they in its, but the one before it in the line.
        let ahead = s.ask(&capture(wanted, "v", &format!("{ALL}{WAIT}"))).await;
        assert_eq!(ahead, format!("queued {theirs} w"));
        let refused = s.try_ask(&capture(wanted, "h", WAIT)).await.unwrap_err();
        assert_eq!(refused.as_db_error().unwrap().code().code(), "PM006");
        nothing_is_left(&s).await;
    }
}
