//! Holds above and below whose time has passed make way; those behind a fence do not.

use super::{ALL, about, capture, capture_all};
use crate::{
    guards::must,
    support::{Database, Session},
};

const AGE: &str =
    "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'";
const HELD: &str = "select coalesce(string_agg(concat_ws(' ', mutex_id, owner_session), ', ' order by mutex_id, permit), '') \
                    from pgmutex.mutex_model";

/// Holds that have been there for too long.
async fn are_over(session: &Session, paths: &[&str]) {
    for path in paths {
        let answer = session.ask(&capture(path, "old", ALL)).await;
        assert_eq!(answer, format!("captured {path} old"));
    }
    session.run(AGE).await;
}

/// The outcome of a capture and whom it evicted.
fn capture_from(path: &str, owner: &str) -> String {
    format!(
        "select concat_ws(' ', outcome, evicted_owner_session) from pgmutex.capture('lab', 'tree', '{path}', '{owner}'{ALL})"
    )
}

#[tokio::test]
async fn what_is_over_above_and_below_is_evicted_and_who_it_was_is_told() {
    let database = Database::fresh().await;
    let s = database.session().await;
    are_over(&s, &["/", "/a/", "/a/b/c/", "/a/b/d/e/", "/z/"]).await;
    assert_eq!(s.ask(&capture_from("/a/b/", "b")).await, "evicted old");
    assert_eq!(s.ask(HELD).await, "/a/b/ b, /z/ old");
}

#[tokio::test]
async fn what_is_over_and_in_nobodys_way_stays_until_it_is_swept() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.ask(&capture("/a/", "old", ", lock_parents => true"))
        .await;
    s.ask(&capture("/a/b/c/", "old", ", lock_children => true"))
        .await;
    s.run(AGE).await;
    assert_eq!(s.ask(&capture_from("/a/b/", "b")).await, "captured");
    assert_eq!(s.ask(HELD).await, "/a/ old, /a/b/ b, /a/b/c/ old");
    assert_eq!(s.ask("select pgmutex.sweep()::text").await, "2");
}

#[tokio::test]
async fn looking_changes_nothing() {
    let database = Database::fresh().await;
    let s = database.session().await;
    are_over(&s, &["/", "/a/", "/a/b/c/"]).await;
    let look = about("holder_in_the_way", "/a/b/", "b");
    assert_eq!(s.outcome(&look).await, "free");
    assert_eq!(s.ask(HELD).await, "/ old, /a/ old, /a/b/c/ old");
}

#[tokio::test]
async fn a_fenced_hold_that_is_over_is_in_the_way_above_and_below() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for (fenced, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        a.ask(&capture(fenced, "old", ALL)).await;
        a.run("begin").await;
        a.ask("select pgmutex.fence('lab', 'tree', mutex_id, fencing_token)::text from pgmutex.mutex_model")
            .await;
        b.run(AGE).await;
        let busy = format!("busy {fenced} old");
        assert_eq!(b.ask(&capture(wanted, "b", ALL)).await, busy);
        assert_eq!(
            b.ask(&capture(wanted, "b", &format!("{ALL}, wait => true")))
                .await,
            busy.replace("busy", "queued")
        );
        a.run("commit").await;
        assert_eq!(b.ask(&capture_from(wanted, "b")).await, "evicted old");
        a.run("delete from pgmutex.mutex_model").await;
    }
}

#[tokio::test]
async fn a_refresh_on_its_way_above_is_waited_out() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let soon = ", auto_release_rule => 'timeout', auto_release_config => '1'";
    let refreshes = async || {
        a.ask(&capture("/a/", "a", &format!("{ALL}{soon}"))).await;
        a.run("begin").await;
        a.outcome(&about("refresh", "/a/", "a")).await == "refreshed"
    };
    must(async {
        // It may be over before it is refreshed.
        while !refreshes().await {
            a.run("rollback").await;
        }
    })
    .await;
    // Its time passes for all who do not see the refresh.
    b.ask_until(
        "select (expires_at < clock_timestamp())::text from pgmutex.mutex_model",
        |over| over == "true",
    )
    .await;
    let waiting = b.begin(&capture("/a/b/", "b", ALL));
    b.is_blocked().await;
    a.run("update pgmutex.mutex_model set auto_release_config = '300'; commit")
        .await;
    assert_eq!(waiting.text().await, "busy /a/ a");
}

#[tokio::test]
async fn of_two_who_evict_the_same_hold_above_one_waits_and_both_get_in() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for (end, second) in [("commit", "evicted"), ("rollback", "evicted old")] {
        are_over(&a, &["/", "/a/"]).await;
        a.run("begin").await;
        assert_eq!(a.ask(&capture_from("/a/b/", "a")).await, "evicted old");
        let waiting = b.begin(&capture_from("/a/c/", "b"));
        b.is_blocked().await;
        a.run(end).await;
        let answer = waiting.text().await;
        assert!(answer.starts_with(second), "{answer}");
        let held = b.ask(HELD).await;
        match end {
            "commit" => assert_eq!(held, "/a/b/ a, /a/c/ b"),
            _ => assert_eq!(held, "/a/c/ b"),
        }
        a.run("delete from pgmutex.mutex_model").await;
    }
}

/// While the one waits for the eviction of the other, the hold is captured by nobody else.
#[tokio::test]
async fn who_evicts_above_keeps_the_path_itself_for_nobody() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    are_over(&a, &["/a/"]).await;
    a.run("begin").await;
    assert_eq!(a.ask(&capture_from("/a/b/", "a")).await, "evicted old");
    let waiting = b.begin(&capture_from("/a/", "b"));
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "busy");
}

#[tokio::test]
async fn two_who_evict_the_same_holds_above_several_paths_do_not_wait_for_each_other() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let (over, gate) = (["/a/", "/x/"], database.session().await);
    are_over(&a, &over).await;
    // Both are held up where they evict what they come to first: there the one, here the other.
    gate.run("begin").await;
    gate.run("select from pgmutex.mutex_model for no key update")
        .await;
    let first = a.begin(&capture_all(&["/a/1/", "/x/1/"], "a", ""));
    let second = b.begin(&capture_all(&["/x/2/", "/a/2/"], "b", ""));
    a.is_blocked().await;
    b.is_blocked().await;
    gate.run("commit").await;
    let mut answers = [first.text().await, second.text().await];
    answers.sort();
    // Whoever came second found nothing to evict.
    let evicted = answers
        .iter()
        .filter(|answer| answer.starts_with("evicted"));
    assert_eq!(evicted.count(), 1, "{answers:?}");
    assert!(answers[0].starts_with("captured"), "{answers:?}");
    assert_eq!(gate.ask(HELD).await, "/a/1/ a, /a/2/ b, /x/1/ a, /x/2/ b");
}

#[tokio::test]
async fn a_sweep_takes_no_more_locks_than_the_server_has_room_for() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.run(
        "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config, captured_since)
         select 'lab', 'tree', '/' || n || repeat('/' || n, 99) || '/', 'old', 'timeout', '1', clock_timestamp() - interval '1 hour'
         from generate_series(100, 499) n",
    )
    .await;
    let mut swept = 0;
    loop {
        match s
            .ask("select pgmutex.sweep()::text")
            .await
            .parse::<u32>()
            .unwrap()
        {
            0 => break,
            some => swept += some,
        }
    }
    assert_eq!(swept, 400);
}

#[tokio::test]
async fn all_that_an_owner_has_is_released_however_deep() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.run(
        "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config)
         select 'lab', 'tree', '/' || n || repeat('/' || n, 99) || '/', 'me', 'timeout', '300'
         from generate_series(100, 199) n",
    )
    .await;
    let mut released = 0;
    loop {
        match s
            .ask("select count(*)::text from pgmutex.release_owner('me')")
            .await
            .parse::<u32>()
            .unwrap()
        {
            0 => break,
            some => released += some,
        }
    }
    assert_eq!(released, 100);
}
