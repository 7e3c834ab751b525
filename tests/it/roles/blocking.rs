//! The view `blocking`: who is in whose way.

use pgmutex::Role;

use super::Login;
use crate::support::{Database, Session};

/// Who is in the way of whom, as "waiter: how whose".
const BLOCKING: &str = "select coalesce(string_agg(concat_ws(' ', owner_session || ':', blocked_by, blocker_owner_session), ', ' \
     order by mutex_id, place, blocked_by, blocker_mutex_id, blocker_owner_session), '') from pgmutex.blocking";

async fn wait(s: &Session, id: &str, owner: &str, more: &str) {
    let outcome = s
        .capture_as(id, owner, &format!("wait => true {more}"))
        .await;
    assert_eq!(outcome, "queued", "{id} {owner}");
}

#[tokio::test]
async fn the_holder_and_the_one_ahead_are_named_with_their_age() {
    let database = Database::fresh().await;
    let s = database.session().await;
    assert_eq!(s.ask(BLOCKING).await, "");
    s.capture("m", "a").await;
    wait(&s, "m", "b", "").await;
    wait(&s, "m", "c", "").await;
    wait(&s, "m", "d", "").await;
    assert_eq!(
        s.ask(BLOCKING).await,
        "b: holder a, c: holder a, c: waiter b, d: holder a, d: waiter c"
    );
    s.run(
        "update pgmutex.mutex_model set held_since = held_since - interval '2 hours'; \
         update pgmutex.mutex_waiter set queued_since = queued_since - interval '1 hour'",
    )
    .await;
    for (query, answer) in [
        (
            "select bool_and(waiting_for between interval '1 hour' and interval '90 minutes') from pgmutex.blocking",
            "true",
        ),
        (
            "select bool_and(held_for between interval '2 hours' and interval '3 hours' and blocker_fencing_token is not null \
                          and blocker_ticket is null and time_left between interval '0' and interval '300 seconds') \
          from pgmutex.blocking where blocked_by = 'holder'",
            "true",
        ),
        (
            "select bool_and(held_for is null and time_left is null and blocker_fencing_token is null \
                          and blocker_ticket < ticket and blocker_since < clock_timestamp() - interval '1 hour') \
          from pgmutex.blocking where blocked_by = 'waiter'",
            "true",
        ),
        (
            "select count(*) from pgmutex.blocking b join pgmutex.hold h on h.fencing_token = b.blocker_fencing_token \
          where h.owner_session = b.blocker_owner_session and h.mutex_id = b.blocker_mutex_id",
            "3",
        ),
    ] {
        assert_eq!(
            s.ask(&format!("select ({query})::text")).await,
            answer,
            "{query}"
        );
    }
    // One whose rule has ended its hold is in nobody's way.
    s.age("m", "1 hour").await;
    assert_eq!(s.ask(BLOCKING).await, "c: waiter b, d: waiter c");
    let rule = "auto_release_rule => 'never', auto_release_config => ''";
    s.capture_as("m", "b", rule).await;
    assert_eq!(
        s.ask(BLOCKING).await,
        "c: holder b, d: holder b, d: waiter c"
    );
    let never = "select bool_and(time_left is null and blocker_expires_at is null)::text from pgmutex.blocking where place = 1";
    assert_eq!(s.ask(never).await, "true");
}

#[tokio::test]
async fn of_a_shared_mutex_all_are_named_who_are_in_the_way_and_no_others() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let shared = ", access => 'shared'";
    for owner in ["a", "b"] {
        s.capture_as("m", owner, "access => 'shared', permits => 2")
            .await;
    }
    s.capture_as("n", "a", "access => 'shared'").await;
    s.capture_as("o", "a", "access => 'shared', permits => 3")
        .await;
    s.capture_as("o", "b", "access => 'shared'").await;
    wait(&s, "m", "c", ", access => 'shared', permits => 2").await;
    wait(&s, "n", "d", "").await;
    wait(&s, "n", "e", shared).await;
    wait(&s, "o", "f", "").await;
    wait(&s, "o", "g", shared).await;
    assert_eq!(
        s.ask(BLOCKING).await,
        "c: holder a, c: holder b, \
         d: holder a, e: waiter d, \
         f: holder a, f: holder b, g: waiter f"
    );
    let access = "select string_agg(distinct concat_ws(' ', access, blocker_access), ', ') from pgmutex.blocking where mutex_id = 'n'";
    assert_eq!(s.ask(access).await, "exclusive shared, shared exclusive");
}

#[tokio::test]
async fn at_a_path_those_above_and_below_are_named() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let all = ", lock_parents => true, lock_children => true";
    for (path, owner) in [("/r/a/", "a"), ("/r/b/", "b"), ("/s/", "s")] {
        let outcome = s
            .capture_as(path, owner, all.trim_start_matches(", "))
            .await;
        assert_eq!(outcome, "captured");
    }
    wait(&s, "/r/", "c", all).await;
    wait(&s, "/r/a/x/", "d", all).await;
    wait(&s, "/s/y/", "e", all).await;
    wait(&s, "/", "f", all).await;
    assert_eq!(
        s.ask(BLOCKING).await,
        "f: holder a, f: holder b, f: holder s, f: waiter c, f: waiter d, f: waiter e, \
         c: holder a, c: holder b, \
         d: holder a, d: waiter c, \
         e: holder s"
    );
    let at = "select string_agg(concat_ws(' ', mutex_id, blocker_mutex_id), ', ' order by blocker_mutex_id) \
              from pgmutex.blocking where owner_session = 'd'";
    assert_eq!(s.ask(at).await, "/r/a/x/ /r/, /r/a/x/ /r/a/");
}

/// Who is who is compared by the sessions themselves, not by what the asker is shown of them.
#[tokio::test]
async fn a_reader_sees_the_same_ones_in_the_way_as_everybody() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let all = "lock_parents => true, lock_children => true";
    for (path, owner) in [("/r/a/", "a"), ("/r/b/", "b")] {
        s.capture_as(path, owner, all).await;
    }
    // Its own hold below is in nobody's way.
    wait(&s, "/r/", "a", &format!(", {all}")).await;
    assert_eq!(s.ask(BLOCKING).await, "a: holder b");
    let reader = Login::new(&database, Role::Reader).await.session().await;
    for query in [
        "select string_agg(concat_ws(' ', mutex_id, blocker_mutex_id), ', ') from pgmutex.blocking",
        "select string_agg((behind_owner_session = h.owner_session)::text, ', ') \
         from pgmutex.waiting, pgmutex.held h where h.mutex_id = '/r/b/'",
    ] {
        assert_eq!(reader.ask(query).await, s.ask(query).await, "{query}");
    }
    s.release("/r/b/", "b").await;
    let behind = "select count(behind_owner_session)::text from pgmutex.waiting";
    assert_eq!(reader.ask(behind).await, "0");
}

/// As the functions see it: whoever waits has somebody in its way, or its turn has come.
#[tokio::test]
async fn whoever_is_in_nobodys_way_is_let_in() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.capture("m", "a").await;
    wait(&s, "m", "b", ", access => 'shared', permits => 1").await;
    wait(&s, "m", "c", ", access => 'shared', permits => 2").await;
    wait(&s, "m", "d", "").await;
    for (released, waiter, more) in [
        ("a", "b", ", access => 'shared', permits => 1"),
        ("b", "c", ", access => 'shared', permits => 2"),
        ("c", "d", ""),
    ] {
        let blocked =
            format!("select count(*)::text from pgmutex.blocking where owner_session = '{waiter}'");
        assert_ne!(s.ask(&blocked).await, "0", "{waiter}");
        assert_eq!(s.release("m", released).await, "released");
        assert_eq!(s.ask(&blocked).await, "0", "{waiter}");
        let asks = format!("wait => true {more}");
        assert_eq!(s.capture_as("m", waiter, &asks).await, "captured");
    }
}
