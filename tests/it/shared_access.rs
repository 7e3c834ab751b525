//! Shared holds: readers beside each other, permits of a semaphore, and changing between shared and
//! exclusive.

use crate::support::{Database, Session};

const SHARED: &str = "access => 'shared'";

/// Everything that is held of `tests/step/m`: who with which permit of how many.
async fn holds(session: &Session) -> String {
    session
        .ask("select coalesce(string_agg(concat_ws(' ', owner_session, permit, permits), ', ' order by permit), '') from pgmutex.hold where mutex_id = 'm'")
        .await
}

/// Makes one owner's hold look an hour old.
async fn age(session: &Session, owner_session: &str) {
    session
        .run(&format!(
            "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where owner_session = '{owner_session}'"
        ))
        .await;
}

async fn token(session: &Session, owner_session: &str) -> i64 {
    let token = format!(
        "select fencing_token::text from pgmutex.held where owner_session = '{owner_session}'"
    );
    session.ask(&token).await.parse().unwrap()
}

fn limit(permits: i32) -> String {
    format!("access => 'shared', permits => {permits}")
}

#[tokio::test]
async fn readers_share_and_a_writer_is_alone() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for reader in ["r1", "r2", "r3"] {
        assert_eq!(a.capture_as("m", reader, SHARED).await, "captured");
    }
    assert_eq!(holds(&a).await, "r1 1, r2 2, r3 3");
    let refused = "select concat_ws(' ', outcome, owner_session, permit) from pgmutex.capture('tests', 'step', 'm', 'w')";
    assert_eq!(a.ask(refused).await, "busy r1 1");
    for reader in ["r1", "r2", "r3"] {
        assert_eq!(a.capture("m", "w").await, "busy");
        assert_eq!(a.release("m", reader).await, "released");
    }
    assert_eq!(a.capture("m", "w").await, "captured");
    assert_eq!(a.capture_as("m", "r1", SHARED).await, "busy");
    assert_eq!(a.capture_as("m", "r1", &limit(7)).await, "busy");
    assert_eq!(holds(&a).await, "w 0");
}

#[tokio::test]
async fn every_shared_capture_has_a_larger_token() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut last = 0;
    for reader in ["r1", "r2", "r3"] {
        a.capture_as("m", reader, SHARED).await;
        let token = token(&a, reader).await;
        assert!(token > last);
        last = token;
    }
}

#[tokio::test]
async fn permits_are_numbered_and_the_smallest_free_number_is_given_again() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for owner in ["a", "b", "c"] {
        assert_eq!(a.capture_as("m", owner, &limit(3)).await, "captured");
    }
    assert_eq!(holds(&a).await, "a 1 3, b 2 3, c 3 3");
    assert_eq!(a.capture_as("m", "d", &limit(3)).await, "busy");
    assert_eq!(a.release("m", "b").await, "released");
    assert_eq!(a.capture_as("m", "d", &limit(3)).await, "captured");
    assert_eq!(holds(&a).await, "a 1 3, d 2 3, c 3 3");
    for owner in ["a", "d"] {
        a.release("m", owner).await;
    }
    assert_eq!(a.capture_as("m", "e", &limit(3)).await, "captured");
    assert_eq!(holds(&a).await, "e 1 3, c 3 3");
}

#[tokio::test]
async fn the_strictest_limit_of_holders_and_asker_counts() {
    let database = Database::fresh().await;
    let a = database.session().await;
    // The asker's own.
    assert_eq!(a.capture_as("m", "a", SHARED).await, "captured");
    assert_eq!(a.capture_as("m", "b", &limit(1)).await, "busy");
    assert_eq!(a.capture_as("m", "b", &limit(2)).await, "captured");
    // A holder's.
    assert_eq!(a.capture_as("m", "c", SHARED).await, "busy");
    assert_eq!(a.capture_as("m", "c", &limit(9)).await, "busy");
    a.release("m", "b").await;
    assert_eq!(a.capture_as("m", "c", &limit(9)).await, "captured");
    assert_eq!(a.capture_as("m", "d", &limit(3)).await, "captured");
    assert_eq!(a.capture_as("m", "e", &limit(9)).await, "busy");
    assert_eq!(holds(&a).await, "a 1, c 2 9, d 3 3");
    // One permit for one who may share it with nobody.
    for owner in ["a", "c", "d"] {
        a.release("m", owner).await;
    }
    assert_eq!(a.capture_as("m", "a", &limit(1)).await, "captured");
    assert_eq!(a.capture_as("m", "b", SHARED).await, "busy");
}

#[tokio::test]
async fn access_and_permits_that_make_no_sense_are_refused() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for more in [
        "access => 'read'",
        "access => ''",
        "access => 'Shared'",
        "permits => 1",
        "access => 'exclusive', permits => 2",
        "access => 'shared', permits => 0",
        "access => 'shared', permits => -1",
    ] {
        let call = format!("capture('tests', 'step', 'm', 'a', {more})");
        assert_eq!(a.refusal(&call).await.0, "PM003", "{more}");
    }
    let largest = format!("access => 'shared', permits => {}", i32::MAX);
    assert_eq!(a.capture_as("m", "a", &largest).await, "captured");
}

#[tokio::test]
async fn capturing_again_refreshes_and_keeps_permit_limit_and_token() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for owner in ["a", "b"] {
        a.capture_as("m", owner, &limit(2)).await;
    }
    let before = token(&a, "b").await;
    assert_eq!(a.capture_as("m", "b", &limit(7)).await, "refreshed");
    assert_eq!(a.capture_as("m", "b", SHARED).await, "refreshed");
    assert_eq!(a.capture_as("m", "b", &limit(1)).await, "refreshed");
    assert_eq!(
        a.outcome("refresh('tests', 'step', 'm', 'b')").await,
        "refreshed"
    );
    assert_eq!(holds(&a).await, "a 1 2, b 2 2");
    assert_eq!(token(&a, "b").await, before);
}

#[tokio::test]
async fn from_exclusive_to_shared_keeps_the_token_and_lets_readers_in() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "w").await;
    let before = token(&a, "w").await;
    let since = "select held_since::text from pgmutex.held where owner_session = 'w'";
    let held_since = a.ask(since).await;
    assert_eq!(a.capture_as("m", "w", &limit(2)).await, "refreshed");
    assert_eq!(token(&a, "w").await, before);
    assert_eq!(a.ask(since).await, held_since);
    assert_eq!(a.capture_as("m", "r", SHARED).await, "captured");
    assert_eq!(holds(&a).await, "w 1 2, r 2");
    assert_eq!(a.capture_as("m", "s", SHARED).await, "busy");
}

#[tokio::test]
async fn readers_come_in_while_the_change_to_shared_is_committed() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture("m", "w").await;
    a.run("begin").await;
    assert_eq!(a.capture_as("m", "w", SHARED).await, "refreshed");
    let reader = b.begin_outcome("capture('tests', 'step', 'm', 'r', access => 'shared')");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(reader.text().await, "captured");
}

#[tokio::test]
async fn from_shared_to_exclusive_only_alone_and_with_a_larger_token() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for reader in ["r1", "r2"] {
        a.capture_as("m", reader, SHARED).await;
    }
    let (first, second) = (token(&a, "r1").await, token(&a, "r2").await);
    for more in ["wait => false", "wait => true"] {
        let answer = format!(
            "select concat_ws(' ', outcome, owner_session, ticket) from pgmutex.capture('tests', 'step', 'm', 'r1', {more})"
        );
        assert_eq!(a.ask(&answer).await, "busy r2", "{more}");
    }
    assert_eq!(
        a.ask("select count(*)::text from pgmutex.waiting").await,
        "0"
    );
    // It still has what it had.
    assert_eq!(holds(&a).await, "r1 1, r2 2");
    assert_eq!(token(&a, "r1").await, first);
    a.release("m", "r2").await;
    assert_eq!(a.capture("m", "r1").await, "captured");
    assert_eq!(holds(&a).await, "r1 0");
    assert!(token(&a, "r1").await > second);
    // The token from before is stale.
    let stale = format!("refresh('tests', 'step', 'm', 'r1', {first})");
    assert_eq!(a.outcome(&stale).await, "not_held");
}

#[tokio::test]
async fn a_hold_behind_its_fence_keeps_its_access() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for (held, wanted) in [
        ("'exclusive'", SHARED),
        ("'shared'", "access => 'exclusive'"),
    ] {
        let captured = format!("access => {held}");
        assert_eq!(a.capture_as("m", "a", &captured).await, "captured");
        let token = token(&a, "a").await;
        a.run("begin").await;
        a.ask(&format!(
            "select pgmutex.fence('tests', 'step', 'm', {token})::text"
        ))
        .await;
        assert_eq!(b.capture_as("m", "a", wanted).await, "busy");
        // To capture it as it is goes on.
        assert_eq!(b.capture_as("m", "a", &captured).await, "refreshed");
        a.run("commit").await;
        assert_ne!(b.capture_as("m", "a", wanted).await, "busy");
        a.release("m", "a").await;
    }
}

#[tokio::test]
async fn a_heartbeat_under_way_is_waited_out_when_access_changes() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture("m", "a").await;
    for (wanted, outcome) in [("shared", "refreshed"), ("exclusive", "captured")] {
        a.run("begin").await;
        a.outcome("refresh('tests', 'step', 'm', 'a')").await;
        let change = b.begin_outcome(&format!(
            "capture('tests', 'step', 'm', 'a', access => '{wanted}')"
        ));
        b.is_blocked().await;
        a.run("commit").await;
        assert_eq!(change.text().await, outcome);
    }
}

#[tokio::test]
async fn shared_holds_that_are_over_make_way() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for owner in ["a", "b", "c"] {
        a.capture_as("m", owner, &limit(3)).await;
    }
    age(&a, "a").await;
    age(&a, "c").await;
    // All that are over go, and the first is named.
    let capture = "select concat_ws(' ', outcome, permit, evicted_owner_session) \
                   from pgmutex.capture('tests', 'step', 'm', 'd', access => 'shared', permits => 3)";
    assert_eq!(a.ask(capture).await, "evicted 1 a");
    assert_eq!(holds(&a).await, "d 1 3, b 2 3");
    age(&a, "d").await;
    assert_eq!(a.capture("m", "w").await, "busy");
    // Also if that was in vain.
    assert_eq!(holds(&a).await, "b 2 3");
    age(&a, "b").await;
    assert_eq!(a.capture("m", "w").await, "evicted");
    assert_eq!(holds(&a).await, "w 0");
}

#[tokio::test]
async fn readers_that_are_over_do_not_keep_one_from_having_it_alone() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for owner in ["a", "b"] {
        a.capture_as("m", owner, SHARED).await;
    }
    age(&a, "b").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    assert_eq!(holds(&a).await, "a 0");
}

#[tokio::test]
async fn a_shared_hold_that_is_over_counts_while_a_write_behind_its_fence_lasts() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for owner in ["a", "b"] {
        a.capture_as("m", owner, &limit(2)).await;
    }
    let fenced = token(&a, "a").await;
    a.run("begin").await;
    a.ask(&format!(
        "select pgmutex.fence('tests', 'step', 'm', {fenced})::text"
    ))
    .await;
    age(&b, "a").await;
    age(&b, "b").await;
    assert_eq!(b.capture("m", "w").await, "busy");
    assert_eq!(holds(&b).await, "a 1 2");
    // There is room beside it, under a number of its own.
    assert_eq!(b.capture_as("m", "c", &limit(2)).await, "captured");
    assert_eq!(holds(&b).await, "a 1 2, c 2 2");
    assert_eq!(b.capture_as("m", "d", &limit(2)).await, "busy");
    a.run("commit").await;
    assert_eq!(b.capture_as("m", "d", &limit(2)).await, "evicted");
}

#[tokio::test]
async fn one_of_several_holders_refreshes_and_releases_its_own() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for owner in ["a", "b", "c"] {
        a.capture_as("m", owner, SHARED).await;
    }
    let (of_a, of_b) = (token(&a, "a").await, token(&a, "b").await);
    let refresh = |token: i64| {
        format!(
            "select concat_ws(' ', outcome, owner_session) from pgmutex.refresh('tests', 'step', 'm', 'b', {token})"
        )
    };
    assert_eq!(a.ask(&refresh(of_b)).await, "refreshed b");
    assert_eq!(a.ask(&refresh(of_a)).await, "busy a");
    let release = |token: i64| {
        format!(
            "select concat_ws(' ', outcome, owner_session) from pgmutex.release('tests', 'step', 'm', 'b', {token})"
        )
    };
    assert_eq!(a.ask(&release(of_a)).await, "busy a");
    assert_eq!(a.ask(&release(of_b)).await, "released b");
    assert_eq!(a.ask(&release(of_b)).await, "busy a");
    assert_eq!(a.release("m", "b").await, "busy");
    assert_eq!(holds(&a).await, "a 1, c 3");
}

#[tokio::test]
async fn a_request_shows_the_askers_own_of_several_holds() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for owner in ["a", "b"] {
        a.capture_as("m", owner, SHARED).await;
    }
    let request = |owner: &str| {
        format!(
            "select concat_ws(' ', outcome, owner_session, permit) from pgmutex.request('tests', 'step', 'm', '{owner}')"
        )
    };
    assert_eq!(a.ask(&request("a")).await, "captured_by_me a 1");
    assert_eq!(a.ask(&request("b")).await, "captured_by_me b 2");
    assert_eq!(a.ask(&request("c")).await, "captured_by_other a 1");
    age(&a, "a").await;
    assert_eq!(a.ask(&request("c")).await, "captured_by_other b 2");
    assert_eq!(holds(&a).await, "b 2");
    age(&a, "b").await;
    assert_eq!(a.ask(&request("b")).await, "free");
    assert_eq!(holds(&a).await, "");
}

#[tokio::test]
async fn a_list_shows_every_holder_page_by_page() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for owner in ["a", "b", "c"] {
        a.capture_as("m", owner, SHARED).await;
    }
    a.capture("n", "d").await;
    assert_eq!(a.ask("select pgmutex.list_count()::text").await, "4");
    let mut after = String::new();
    for expected in ["m a 1", "m b 2", "m c 3", "n d 0"] {
        let page = format!("pgmutex.list(page_size => 1{after})");
        let row = format!("select concat_ws(' ', mutex_id, owner_session, permit) from {page}");
        assert_eq!(a.ask(&row).await, expected);
        let place = format!(
            "select format(', after_group => %L, after_mode => %L, after_id => %L, after_permit => %s', mutex_group, mutex_mode, mutex_id, permit) from {page}"
        );
        after = a.ask(&place).await;
    }
    let rest = format!("select count(*)::text from pgmutex.list(page_size => 1{after})");
    assert_eq!(a.ask(&rest).await, "0");
}

#[tokio::test]
async fn force_release_takes_all_holders_or_the_one_with_a_token() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for owner in ["a", "b", "c"] {
        a.capture_as("m", owner, SHARED).await;
    }
    let of_b = token(&a, "b").await;
    let one = format!(
        "select concat_ws(' ', outcome, owner_session) from pgmutex.force_release('tests', 'step', 'm', 'test', {of_b})"
    );
    assert_eq!(a.ask(&one).await, "released b");
    assert_eq!(a.ask(&one).await, "not_held");
    assert_eq!(holds(&a).await, "a 1, c 3");
    // One that writes behind its fence stays, and says so.
    let of_c = token(&a, "c").await;
    a.run("begin").await;
    a.ask(&format!(
        "select pgmutex.fence('tests', 'step', 'm', {of_c})::text"
    ))
    .await;
    let all = "select concat_ws(' ', outcome, owner_session) from pgmutex.force_release('tests', 'step', 'm')";
    assert_eq!(b.ask(all).await, "busy c");
    assert_eq!(holds(&b).await, "c 3");
    a.run("commit").await;
    b.capture_as("m", "d", SHARED).await;
    assert_eq!(b.ask(all).await, "released d");
    assert_eq!(b.ask(all).await, "not_held");
    assert_eq!(holds(&b).await, "");
}

#[tokio::test]
async fn of_two_who_want_the_last_permit_at_once_one_gets_it() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture_as("m", "first", &limit(2)).await;
    a.run("begin").await;
    assert_eq!(a.capture_as("m", "a", &limit(2)).await, "captured");
    let second =
        b.begin_outcome("capture('tests', 'step', 'm', 'b', access => 'shared', permits => 2)");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(second.text().await, "busy");
}

#[tokio::test]
async fn a_reader_and_a_writer_who_come_at_once_exclude_each_other() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for (id, first, second) in [("r", "shared", "exclusive"), ("w", "exclusive", "shared")] {
        a.run("begin").await;
        assert_eq!(
            a.capture_as(id, "a", &format!("access => '{first}'")).await,
            "captured"
        );
        let waiting = b.begin_outcome(&format!(
            "capture('tests', 'step', '{id}', 'b', access => '{second}')"
        ));
        b.is_blocked().await;
        a.run("commit").await;
        assert_eq!(waiting.text().await, "busy");
    }
}

#[tokio::test]
async fn two_readers_who_both_want_it_alone_are_both_refused() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for owner in ["a", "b"] {
        a.capture_as("m", owner, SHARED).await;
    }
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "busy");
    let second = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(second.text().await, "busy");
    assert_eq!(holds(&a).await, "a 1, b 2");
}
