//! Two sessions, step by step. Each step order that could make two holders, lose one or hang is
//! written out.

use crate::support::Database;

/// The session of whoever holds `tests/step/<id>`, or `nobody`.
const HOLDER: &str =
    "select coalesce((select owner_session from pgmutex.held where mutex_id = 'm'), 'nobody')";

#[tokio::test]
async fn capture_while_another_captures_waits_and_is_then_refused() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "busy");
    assert_eq!(b.ask(HOLDER).await, "a");
}

#[tokio::test]
async fn capture_after_a_rolled_back_capture_succeeds() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("rollback").await;
    assert_eq!(waiting.text().await, "captured");
    assert_eq!(b.ask(HOLDER).await, "b");
}

#[tokio::test]
async fn capture_after_a_rollback_to_a_savepoint_succeeds_while_the_transaction_is_open() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("begin; savepoint before").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("rollback to savepoint before").await;
    assert_eq!(waiting.text().await, "captured");
    // The first one has lost it together with its savepoint, and learns so.
    assert_eq!(a.capture("m", "a").await, "busy");
    a.run("commit").await;
    assert_eq!(a.ask(HOLDER).await, "b");
}

#[tokio::test]
async fn a_capture_kept_by_a_released_savepoint_holds_at_commit() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("begin; savepoint nested").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("release savepoint nested").await;
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "busy");
}

#[tokio::test]
async fn capture_while_the_holder_releases_waits_and_gets_a_larger_token() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    let before: i64 = a
        .ask("select fencing_token::text from pgmutex.held")
        .await
        .parse()
        .unwrap();
    a.run("begin").await;
    assert_eq!(
        a.ask("select outcome from pgmutex.release('tests', 'step', 'm', 'a')")
            .await,
        "released"
    );
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "captured");
    let after: i64 = b
        .ask("select fencing_token::text from pgmutex.held")
        .await
        .parse()
        .unwrap();
    assert!(after > before);
}

#[tokio::test]
async fn capture_while_a_release_rolls_back_is_refused() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    a.ask("select outcome from pgmutex.release('tests', 'step', 'm', 'a')")
        .await;
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("rollback").await;
    assert_eq!(waiting.text().await, "busy");
    assert_eq!(a.ask(HOLDER).await, "a");
}

#[tokio::test]
async fn of_two_who_find_a_hold_over_one_evicts_and_the_other_is_refused() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "old").await, "captured");
    a.age("m", "1 hour").await;
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "evicted");
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "busy");
    assert_eq!(b.ask(HOLDER).await, "a");
}

#[tokio::test]
async fn time_spent_waiting_for_the_lock_counts_when_a_hold_is_judged() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "old").await, "captured");
    a.run("begin").await;
    // While b waits, the hold that it finds is made to end after b's statement began: only a clock
    // read after the lock sees that.
    a.ask("select outcome from pgmutex.release('tests', 'step', 'm', 'nobody')")
        .await;
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("update pgmutex.mutex_model set auto_release_config = '1', captured_since = clock_timestamp() - interval '1 second'; commit")
        .await;
    assert_eq!(waiting.text().await, "evicted");
}

#[tokio::test]
async fn capture_waits_for_a_sweep_that_is_removing_the_hold() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "old").await, "captured");
    a.age("m", "1 hour").await;
    a.run("begin").await;
    assert_eq!(a.ask("select pgmutex.sweep()::text").await, "1");
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "captured");
}

#[tokio::test]
async fn a_sweep_passes_over_a_mutex_that_is_being_decided_about() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for id in ["m", "n"] {
        assert_eq!(a.capture(id, "old").await, "captured");
        a.age(id, "1 hour").await;
    }
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "evicted");
    assert_eq!(b.ask("select pgmutex.sweep()::text").await, "1");
    a.run("commit").await;
    assert_eq!(b.ask(HOLDER).await, "a");
    assert_eq!(b.ask("select pgmutex.sweep()::text").await, "0");
}

#[tokio::test]
async fn a_refresh_that_comes_while_the_hold_is_forced_away_says_lost() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    b.run("begin").await;
    assert_eq!(
        b.ask("select outcome from pgmutex.force_release('tests', 'step', 'm', 'test')")
            .await,
        "released"
    );
    let refresh = a.begin("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')");
    a.is_blocked().await;
    b.run("commit").await;
    assert_eq!(refresh.text().await, "not_held");
    assert_eq!(a.ask(HOLDER).await, "nobody");
}

#[tokio::test]
async fn a_force_release_waits_out_a_refresh_on_its_way() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    assert_eq!(
        a.ask("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')")
            .await,
        "refreshed"
    );
    let forced = b.begin("select outcome from pgmutex.force_release('tests', 'step', 'm', 'test')");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(forced.text().await, "released");
    assert_eq!(a.ask(HOLDER).await, "nobody");
}

#[tokio::test]
async fn a_release_waits_out_a_refresh_on_its_way() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    a.ask("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')")
        .await;
    let release = b.begin("select outcome from pgmutex.release('tests', 'step', 'm', 'a')");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(release.text().await, "released");
}

#[tokio::test]
async fn a_refresh_needs_no_turn_while_others_decide_about_the_mutex() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    b.run("begin").await;
    assert_eq!(b.capture("m", "b").await, "busy");
    assert_eq!(
        a.ask("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')")
            .await,
        "refreshed"
    );
    b.run("rollback").await;
}

#[tokio::test]
async fn a_refresh_does_not_bring_back_a_hold_that_is_being_evicted() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.age("m", "1 hour").await;
    b.run("begin").await;
    assert_eq!(b.capture("m", "b").await, "evicted");
    // Not even asked for by its token: it is over already, so there is nothing to wait for.
    assert_eq!(
        a.ask("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')")
            .await,
        "not_held"
    );
    b.run("commit").await;
    assert_eq!(a.ask(HOLDER).await, "b");
}

#[tokio::test]
async fn a_hold_whose_row_a_transaction_keeps_is_busy_however_old() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    a.ask("select owner_session from pgmutex.mutex_model where mutex_id = 'm' for key share")
        .await;
    b.age("m", "1 hour").await;
    assert_eq!(b.capture("m", "b").await, "busy");
    assert_eq!(
        b.ask("select outcome from pgmutex.request('tests', 'step', 'm', 'b')")
            .await,
        "captured_by_other"
    );
    assert_eq!(
        b.ask("select outcome from pgmutex.force_release('tests', 'step', 'm', 'test')")
            .await,
        "busy"
    );
    assert_eq!(b.ask("select pgmutex.sweep()::text").await, "0");
    a.run("commit").await;
    assert_eq!(b.capture("m", "b").await, "evicted");
}

#[tokio::test]
async fn a_release_by_the_holder_is_busy_while_its_own_transaction_keeps_the_row() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    a.ask("select owner_session from pgmutex.mutex_model where mutex_id = 'm' for key share")
        .await;
    let release = "select outcome from pgmutex.release('tests', 'step', 'm', 'a')";
    assert_eq!(b.ask(release).await, "busy");
    // Refreshing goes on meanwhile.
    assert_eq!(
        b.ask("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')")
            .await,
        "refreshed"
    );
    a.run("commit").await;
    assert_eq!(b.ask(release).await, "released");
}

#[tokio::test]
async fn two_mutexes_are_decided_about_independently() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    assert_eq!(b.capture("n", "b").await, "captured");
    a.run("commit").await;
}

#[tokio::test]
async fn names_that_read_alike_when_joined_are_different_mutexes() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for (group, mode, id) in [
        ("a", "bc", ""),
        ("ab", "c", ""),
        ("a", "b", "c"),
        ("", "abc", ""),
    ] {
        let outcome = a
            .ask(&format!(
                "select outcome from pgmutex.capture('{group}', '{mode}', '{id}', 'owner of {group}/{mode}/{id}')"
            ))
            .await;
        assert_eq!(outcome, "captured");
    }
    let keys = a
        .ask("select count(distinct pgmutex.mutex_key(mutex_group, mutex_mode, mutex_id))::text from pgmutex.held")
        .await;
    assert_eq!(keys, "4");
}

#[tokio::test]
async fn a_transaction_that_keeps_others_waiting_too_long_is_reported_to_them() {
    let database = Database::as_installed().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    let error = b
        .try_ask("select outcome from pgmutex.capture('tests', 'step', 'm', owner_session => 'b')")
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03");
    a.run("commit").await;
    assert_eq!(b.capture("m", "b").await, "busy");
}

#[tokio::test]
async fn a_program_that_writes_without_the_lock_still_cannot_make_two_holders() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let insert = "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config) \
                  values ('tests', 'step', 'm', 'stranger', 'timeout', '300')";
    // The stranger is first and not yet committed: the capture meets its row at the primary key.
    a.run("begin").await;
    a.run(insert).await;
    let waiting = b.begin_capture("m", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiting.text().await, "busy");
    // The capture is first: the stranger's row is refused.
    assert_eq!(b.capture("n", "b").await, "captured");
    let error = a
        .try_ask(&format!("{} returning 1", insert.replace("'m'", "'n'")))
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
}

#[tokio::test]
async fn a_program_that_writes_permits_cannot_store_one_twice_nor_one_too_many() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.ask("select outcome from pgmutex.capture('tests', 'step', 'm', 'a', access => 'shared', permits => 2)")
        .await;
    for (permit, permits, refusal) in [
        ("1", "2", "23505"),
        ("3", "2", "23514"),
        ("0", "2", "23514"),
        ("-1", "null", "23514"),
    ] {
        let error = a
            .try_ask(&format!(
                "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, permit, permits) \
                 values ('tests', 'step', 'm', 'stranger', {permit}, {permits}) returning mutex_id"
            ))
            .await
            .unwrap_err();
        assert_eq!(error.code().unwrap().code(), refusal, "{permit}");
    }
}

#[tokio::test]
async fn time_spent_waiting_for_a_refresh_counts_when_ones_own_hold_is_refreshed() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin").await;
    a.ask("select outcome from pgmutex.refresh('tests', 'step', 'm', 'a')")
        .await;
    let capture = b.begin_capture("m", "a");
    b.is_blocked().await;
    let meanwhile = a.ask("select clock_timestamp()::text").await;
    a.run("commit").await;
    assert_eq!(capture.text().await, "refreshed");
    let later = format!("select (captured_since > '{meanwhile}')::text from pgmutex.held");
    assert_eq!(b.ask(&later).await, "true");
}

#[tokio::test]
async fn two_transactions_that_want_each_others_mutexes_do_not_hang() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for session in [&a, &b] {
        // The server looks for a circle when one has waited for so long.
        session.run("set deadlock_timeout = '10ms'").await;
        session.run("begin").await;
    }
    assert_eq!(a.capture("m", "a").await, "captured");
    assert_eq!(b.capture("n", "b").await, "captured");
    let first = a.begin_capture("n", "a");
    a.is_blocked().await;
    let second = b.begin_capture("m", "b");
    // One of the two is ended by the server; the other then goes on.
    let (first, second) = tokio::join!(
        async {
            let result = first.result().await;
            if result.is_err() {
                a.run("rollback").await;
            }
            result
        },
        async {
            let result = second.result().await;
            if result.is_err() {
                b.run("rollback").await;
            }
            result
        }
    );
    let failures: Vec<String> = [first, second]
        .into_iter()
        .filter_map(Result::err)
        .map(|error| error.code().unwrap().code().to_owned())
        .collect();
    assert_eq!(failures, ["40P01"]);
}
