//! I6: who waits, in which order, and how the next one learns that its turn has come.

use crate::support::{Database, Session};

const WAIT: &str = "wait => true";
const SHARED: &str = "access => 'shared'";
const WAIT_SHARED: &str = "wait => true, access => 'shared'";

/// Everyone in line for `tests/step/m`.
async fn line(session: &Session) -> String {
    session
        .ask("select coalesce(string_agg(owner_session, ' ' order by ticket), '') from pgmutex.mutex_waiter where mutex_id = 'm'")
        .await
}

/// Everyone who holds `tests/step/m`.
async fn holders(session: &Session) -> String {
    session
        .ask("select coalesce(string_agg(owner_session, ' ' order by permit), '') from pgmutex.hold where mutex_id = 'm'")
        .await
}

async fn ticket(session: &Session, owner_session: &str) -> String {
    let ticket =
        format!("select ticket::text from pgmutex.waiting where owner_session = '{owner_session}'");
    session.ask(&ticket).await
}

/// Queues for `tests/step/m` as a process that listens would.
async fn queue(session: &Session, owner: &str, listener: i64, more: &str) -> String {
    let more = format!("{more}, listener => {listener}");
    assert_eq!(session.capture_as("m", owner, &more).await, "queued");
    ticket(session, owner).await
}

#[tokio::test]
async fn one_who_waits_is_queued_with_a_ticket_and_shown_the_holder() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    let answer = a
        .ask("select concat_ws(' ', outcome, owner_session, fencing_token > 0, ticket > 0) from pgmutex.capture('tests', 'step', 'm', 'w', wait => true)")
        .await;
    assert_eq!(answer, "queued holder t t");
    assert_eq!(line(&a).await, "w");
    assert_eq!(holders(&a).await, "holder");
    // One who does not wait, and one for whom it is free, have none.
    let none = "select concat_ws(' ', outcome, ticket) from pgmutex.capture('tests', 'step', '{}', 'x', wait => {})";
    for (id, wait, outcome) in [("m", "false", "busy"), ("n", "true", "captured")] {
        let answer = none.replacen("{}", id, 1).replacen("{}", wait, 1);
        assert_eq!(a.ask(&answer).await, outcome);
    }
    assert_eq!(line(&a).await, "w");
}

#[tokio::test]
async fn asking_again_keeps_the_place_whatever_is_asked_for() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    for owner in ["w1", "w2"] {
        a.capture_as("m", owner, WAIT).await;
    }
    let first = ticket(&a, "w1").await;
    for more in [
        WAIT,
        WAIT_SHARED,
        "wait => true, access => 'shared', permits => 3",
    ] {
        assert_eq!(a.capture_as("m", "w1", more).await, "queued");
        assert_eq!(ticket(&a, "w1").await, first);
    }
    let row = "select concat_ws(' ', place, access, permits) from pgmutex.waiting where owner_session = 'w1'";
    assert_eq!(a.ask(row).await, "1 shared 3");
    // Asking without waiting changes nothing.
    assert_eq!(a.capture("m", "w1").await, "busy");
    assert_eq!(a.ask(row).await, "1 shared 3");
    assert_eq!(line(&a).await, "w1 w2");
}

#[tokio::test]
async fn waiters_are_served_first_come_first_served() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    let owners = ["w1", "w2", "w3"];
    for owner in owners {
        a.capture_as("m", owner, WAIT).await;
    }
    let mut holder = "holder";
    for (place, next) in owners.into_iter().enumerate() {
        a.release("m", holder).await;
        for later in &owners[place + 1..] {
            assert_eq!(a.capture_as("m", later, WAIT).await, "queued");
        }
        assert_eq!(a.capture_as("m", next, WAIT).await, "captured");
        holder = next;
    }
    assert_eq!(line(&a).await, "");
}

#[tokio::test]
async fn a_newcomer_does_not_pass_one_who_waits_though_the_mutex_is_free() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    a.capture_as(
        "m",
        "w",
        "wait => true, owner_name => 'Wim', access => 'shared', permits => 2",
    )
    .await;
    a.release("m", "holder").await;
    assert_eq!(holders(&a).await, "");
    for more in ["wait => false", SHARED] {
        let answer = a
            .ask(&format!(
                "select concat_ws(' ', outcome, owner_session, owner_name, fencing_token, permit, permits) from pgmutex.capture('tests', 'step', 'm', 'x', {more})"
            ))
            .await;
        assert_eq!(answer, "busy w Wim 0 1 2");
    }
    assert_eq!(a.capture_as("m", "x", WAIT).await, "queued");
    assert_eq!(line(&a).await, "w x");
    assert_eq!(a.capture("m", "w").await, "captured");
    assert_eq!(line(&a).await, "x");
}

#[tokio::test]
async fn a_newcomer_does_not_pass_though_the_hold_is_over() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    a.capture_as("m", "w", WAIT).await;
    a.age("m", "1 hour").await;
    assert_eq!(a.capture("m", "x").await, "busy");
    assert_eq!(a.capture("m", "w").await, "captured");
}

#[tokio::test]
async fn readers_do_not_pass_a_writer_who_waits() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture_as("m", "r1", SHARED).await;
    assert_eq!(a.capture_as("m", "w", WAIT).await, "queued");
    assert_eq!(a.capture_as("m", "r2", SHARED).await, "busy");
    assert_eq!(a.capture_as("m", "r3", WAIT_SHARED).await, "queued");
    // The reader that has it goes on.
    assert_eq!(a.capture_as("m", "r1", SHARED).await, "refreshed");
    a.release("m", "r1").await;
    assert_eq!(a.capture_as("m", "r3", WAIT_SHARED).await, "queued");
    assert_eq!(a.capture("m", "w").await, "captured");
    assert_eq!(a.capture_as("m", "r3", WAIT_SHARED).await, "queued");
    a.release("m", "w").await;
    assert_eq!(a.capture_as("m", "r3", SHARED).await, "captured");
}

#[tokio::test]
async fn each_reader_that_gets_in_tells_the_next() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut process = database.listener().await;
    a.capture("m", "w").await;
    let mut tickets = Vec::new();
    for owner in ["r1", "r2", "r3"] {
        tickets.push(queue(&a, owner, process.number(), WAIT_SHARED).await);
    }
    let writer = queue(&a, "w2", process.number(), WAIT).await;
    assert!(process.told().await.is_empty());
    a.release("m", "w").await;
    for (place, owner) in ["r1", "r2", "r3"].into_iter().enumerate() {
        assert_eq!(process.told().await, [tickets[place].clone()]);
        assert_eq!(a.capture_as("m", owner, WAIT_SHARED).await, "captured");
    }
    // The writer is not told before all of them have left.
    for owner in ["r1", "r2"] {
        a.release("m", owner).await;
        assert!(process.told().await.is_empty());
    }
    a.release("m", "r3").await;
    assert_eq!(process.told().await, [writer]);
}

#[tokio::test]
async fn a_waiter_for_a_permit_is_told_when_one_is_free() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut process = database.listener().await;
    let limited = "access => 'shared', permits => 2";
    for owner in ["a", "b"] {
        a.capture_as("m", owner, limited).await;
    }
    let waits = format!("wait => true, {limited}");
    let first = queue(&a, "c", process.number(), &waits).await;
    queue(&a, "d", process.number(), &waits).await;
    a.release("m", "b").await;
    assert_eq!(process.told().await, [first]);
    assert_eq!(a.capture_as("m", "c", &waits).await, "captured");
    // That was the last one.
    assert!(process.told().await.is_empty());
    assert_eq!(a.capture_as("m", "d", &waits).await, "queued");
}

#[tokio::test]
async fn only_the_process_of_the_first_in_line_is_told() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let (mut one, mut two) = (database.listener().await, database.listener().await);
    a.capture("m", "holder").await;
    let first = queue(&a, "w1", one.number(), WAIT).await;
    let second = queue(&a, "w2", two.number(), WAIT).await;
    a.release("m", "holder").await;
    assert_eq!(one.told().await, [first]);
    assert!(two.told().await.is_empty());
    a.capture_as("m", "w1", WAIT).await;
    a.release("m", "w1").await;
    assert!(one.told().await.is_empty());
    assert_eq!(two.told().await, [second]);
}

#[tokio::test]
async fn a_mutex_without_a_line_costs_no_notification() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut process = database.listener().await;
    a.capture("other", "holder").await;
    let more = format!("wait => true, listener => {}", process.number());
    a.capture_as("other", "w", &more).await;
    for call in [
        "capture('tests', 'step', 'm', 'a', access => 'shared')",
        "capture('tests', 'step', 'm', 'b', access => 'shared')",
        "release('tests', 'step', 'm', 'a')",
        "capture('tests', 'step', 'm', 'b')",
        "capture('tests', 'step', 'm', 'b', access => 'shared')",
        "release('tests', 'step', 'm', 'b')",
        "release('tests', 'step', 'm', 'b')",
        "capture('tests', 'step', 'm', 'a')",
        "force_release('tests', 'step', 'm')",
        "capture('tests', 'step', 'm', 'a', wait => true)",
        "request('tests', 'step', 'm', 'a')",
    ] {
        a.outcome(call).await;
        assert!(process.told().await.is_empty(), "{call}");
    }
    a.release("other", "holder").await;
    assert_eq!(process.told().await.len(), 1);
}

#[tokio::test]
async fn whatever_makes_room_tells_the_first_in_line() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut process = database.listener().await;
    let over = "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where mutex_id = 'm'";
    for (before, step, waits) in [
        (
            "",
            "outcome from pgmutex.release('tests', 'step', 'm', 'holder')",
            WAIT,
        ),
        (
            "",
            "outcome from pgmutex.force_release('tests', 'step', 'm')",
            WAIT,
        ),
        (
            over,
            "outcome from pgmutex.release('tests', 'step', 'm', 'holder')",
            WAIT,
        ),
        (over, "pgmutex.sweep()::text", WAIT),
        (
            over,
            "outcome from pgmutex.request('tests', 'step', 'm', 'x')",
            WAIT,
        ),
        (
            over,
            "outcome from pgmutex.capture('tests', 'step', 'm', 'x')",
            WAIT,
        ),
        (
            "",
            "outcome from pgmutex.capture('tests', 'step', 'm', 'holder', access => 'shared')",
            WAIT_SHARED,
        ),
        (
            "",
            "max(outcome) from pgmutex.release_each('[{\"mutex_group\": \"tests\", \"mutex_mode\": \"step\", \"mutex_id\": \"m\", \"owner_session\": \"holder\"}]')",
            WAIT,
        ),
        (
            "",
            "max(outcome) from pgmutex.release_owner('holder')",
            WAIT,
        ),
    ] {
        a.capture("m", "holder").await;
        let first = queue(&a, "w", process.number(), waits).await;
        a.run(before).await;
        assert!(process.told().await.is_empty(), "{step}");
        a.ask(&format!("select {step}")).await;
        assert_eq!(process.told().await, [first], "{step}");
        a.run("delete from pgmutex.mutex_model; delete from pgmutex.mutex_waiter")
            .await;
    }
}

#[tokio::test]
async fn one_of_several_holders_that_is_evicted_makes_room_too() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut process = database.listener().await;
    let limited = "access => 'shared', permits => 3";
    // The holder that captures again, and the one that wants to have it alone, find another over.
    for (more, outcome) in [(limited, "refreshed"), ("access => 'exclusive'", "busy")] {
        for owner in ["a", "b", "c"] {
            a.capture_as("m", owner, limited).await;
        }
        let first = queue(
            &a,
            "w",
            process.number(),
            &format!("wait => true, {limited}"),
        )
        .await;
        a.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where owner_session = 'c'")
            .await;
        assert_eq!(a.capture_as("m", "a", more).await, outcome);
        assert_eq!(process.told().await, [first]);
        a.run("delete from pgmutex.mutex_model; delete from pgmutex.mutex_waiter")
            .await;
    }
}

#[tokio::test]
async fn one_who_leaves_makes_room_for_the_next() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut process = database.listener().await;
    let leave = "select pgmutex.leave_line('tests', 'step', 'm', 'w1')::text";
    let release = "select outcome from pgmutex.release('tests', 'step', 'm', 'w1')";
    for (gives_up, answer) in [(leave, "true"), (release, "busy")] {
        a.capture_as("m", "r", SHARED).await;
        queue(&a, "w1", process.number(), WAIT).await;
        let next = queue(&a, "w2", process.number(), WAIT_SHARED).await;
        assert_eq!(a.ask(gives_up).await, answer);
        assert_eq!(line(&a).await, "w2");
        assert_eq!(process.told().await, [next]);
        assert_eq!(a.capture_as("m", "w2", SHARED).await, "captured");
        for owner in ["r", "w2"] {
            a.release("m", owner).await;
        }
    }
    assert_eq!(a.ask(leave).await, "false");
    assert_eq!(a.ask(release).await, "not_held");
}

#[tokio::test]
async fn leaving_the_line_keeps_a_hold_and_releasing_by_token_keeps_the_place() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let leave = "select pgmutex.leave_line('tests', 'step', 'm', 'a')::text";
    a.capture("m", "a").await;
    assert_eq!(a.ask(leave).await, "false");
    assert_eq!(holders(&a).await, "a");
    a.capture_as("m", "w", WAIT).await;
    assert_eq!(
        a.outcome("release('tests', 'step', 'm', 'w', 7)").await,
        "busy"
    );
    assert_eq!(line(&a).await, "w");
}

#[tokio::test]
async fn a_ticket_is_gone_once_the_mutex_is_captured() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    a.capture_as("m", "w", WAIT).await;
    a.release("m", "holder").await;
    a.capture_as("m", "w", WAIT).await;
    assert_eq!(line(&a).await, "");
    a.release("m", "w").await;
    assert_eq!(a.capture("m", "x").await, "captured");
}

#[tokio::test]
async fn one_that_polls_is_passed_when_it_has_not_asked_for_15_seconds() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    for owner in ["w1", "w2"] {
        a.capture_as("m", owner, WAIT).await;
    }
    a.release("m", "holder").await;
    let silent = async |owner: &str, seconds: u32| {
        a.run(&format!(
            "update pgmutex.mutex_waiter set seen_at = clock_timestamp() - interval '{seconds} seconds' where owner_session = '{owner}'"
        ))
        .await;
    };
    silent("w1", 10).await;
    assert_eq!(a.capture_as("m", "w2", WAIT).await, "queued");
    silent("w1", 16).await;
    // Asking makes it live again.
    assert_eq!(
        a.capture_as("m", "w1", "wait => true, access => 'exclusive'")
            .await,
        "captured"
    );
    a.release("m", "w1").await;
    a.capture("m", "w2").await;
    for owner in ["w1", "w3"] {
        assert_eq!(a.capture_as("m", owner, WAIT).await, "queued");
    }
    silent("w1", 16).await;
    assert_eq!(a.capture_as("m", "w1", WAIT).await, "queued");
    a.release("m", "w2").await;
    assert_eq!(a.capture_as("m", "w3", WAIT).await, "queued");
    silent("w1", 16).await;
    assert_eq!(a.capture_as("m", "w3", WAIT).await, "captured");
    assert_eq!(line(&a).await, "");
}

#[tokio::test]
async fn a_process_without_a_session_is_passed_when_it_is_silent() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.capture("m", "holder").await;
    for owner in ["w1", "w2", "w3"] {
        let listener = if owner == "w3" { 2 } else { 1 };
        queue(&a, owner, listener, WAIT).await;
    }
    a.release("m", "holder").await;
    // Its own seen_at does not count: it asks for all its tickets at once.
    a.run("update pgmutex.mutex_waiter set seen_at = seen_at - interval '1 hour'")
        .await;
    assert_eq!(a.capture("m", "x").await, "busy");
    assert_eq!(line(&a).await, "w1 w2 w3");
    a.run("update pgmutex.mutex_listener set seen_at = seen_at - interval '16 seconds' where listener = 1").await;
    // All its tickets go, at the next question.
    assert_eq!(a.capture("m", "x").await, "busy");
    assert_eq!(line(&a).await, "w3");
    assert_eq!(a.capture("m", "w3").await, "captured");
}

#[tokio::test]
async fn a_process_that_has_long_been_silent_is_alive_when_it_queues() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    a.run("update pgmutex.mutex_listener set seen_at = seen_at - interval '5 minutes'")
        .await;
    a.capture("m", "holder").await;
    queue(&a, "w", process.number(), WAIT).await;
    a.release("m", "holder").await;
    assert_eq!(a.capture("m", "x").await, "busy");
    assert_eq!(line(&a).await, "w");
}

#[tokio::test]
async fn a_process_is_passed_when_its_session_has_ended_and_no_other_takes_over() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let (one, mut two) = (database.listener().await, database.listener().await);
    a.capture("m", "holder").await;
    queue(&a, "w1", one.number(), WAIT).await;
    queue(&a, "w2", one.number(), WAIT).await;
    let third = queue(&a, "w3", two.number(), WAIT).await;
    one.ends(&a).await;
    // The release finds it dead and tells the next.
    a.release("m", "holder").await;
    assert_eq!(two.told().await, [third]);
    assert_eq!(line(&a).await, "w3");
    assert_eq!(a.capture("m", "w3").await, "captured");
}

#[tokio::test]
async fn a_process_that_connects_again_soon_keeps_its_places() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let one = database.listener().await;
    a.capture("m", "holder").await;
    let first = queue(&a, "w1", one.number(), WAIT).await;
    let lost = one.number();
    // Seen just now, however long the next steps take.
    a.run(&format!(
        "update pgmutex.mutex_listener set seen_at = clock_timestamp() + interval '1 minute' where listener = {lost}"
    ))
    .await;
    one.breaks_off(&a).await;
    a.release("m", "holder").await;
    assert_eq!(a.capture("m", "x").await, "busy");
    let again = database.session().await;
    let number = again
        .ask(&format!(
            "select pgmutex.attach_session(listen => true, instead_of => {lost})::text"
        ))
        .await;
    let turn = format!(
        "select concat_ws(' ', ticket, is_my_turn) from pgmutex.look_at_lines({number}, true)"
    );
    assert_eq!(again.ask(&turn).await, format!("{first} t"));
    a.run("update pgmutex.mutex_listener set seen_at = clock_timestamp() - interval '4 seconds'")
        .await;
    assert_eq!(a.capture("m", "x").await, "busy");
    assert_eq!(a.capture("m", "w1").await, "captured");
}

#[tokio::test]
async fn a_process_whose_session_is_there_but_silent_is_passed_as_well() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    a.capture("m", "holder").await;
    queue(&a, "w", process.number(), WAIT).await;
    a.release("m", "holder").await;
    assert_eq!(a.capture("m", "x").await, "busy");
    a.run("update pgmutex.mutex_listener set seen_at = seen_at - interval '16 seconds'")
        .await;
    assert_eq!(a.capture("m", "x").await, "captured");
}

#[tokio::test]
async fn a_process_that_queued_before_it_looked_is_told_once_it_has() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let mut process = database.listener().await;
    a.run("delete from pgmutex.mutex_listener").await;
    a.capture("m", "holder").await;
    let ticket = queue(&a, "w", process.number(), WAIT).await;
    process.look().await;
    a.release("m", "holder").await;
    assert_eq!(process.told().await, [ticket]);
}

#[tokio::test]
async fn a_process_that_nobody_knows_is_passed() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    a.capture("m", "holder").await;
    queue(&a, "w", process.number(), WAIT).await;
    a.release("m", "holder").await;
    a.run("delete from pgmutex.mutex_listener").await;
    assert_eq!(a.capture("m", "x").await, "captured");
}

#[tokio::test]
async fn a_process_learns_whose_turn_it_is_and_when_to_look_again() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let (one, two) = (database.listener().await, database.listener().await);
    assert_eq!(one.look().await, "");
    a.capture_as("m", "holder", "auto_release_rule => 'never'")
        .await;
    let first = queue(&a, "w1", one.number(), WAIT).await;
    queue(&a, "w2", one.number(), WAIT).await;
    let third = queue(&a, "w3", two.number(), WAIT).await;
    // Only the first in a line is told of, and a hold that no time ends gives no time.
    assert_eq!(one.look().await, format!("{first} f"));
    assert_eq!(two.look().await, "");
    // When the hold ends by its rule.
    a.run("update pgmutex.mutex_model set auto_release_rule = 'timeout', auto_release_config = '100', captured_since = clock_timestamp() - interval '40 seconds'")
        .await;
    let again = one.look().await;
    assert!(again.starts_with(&format!("{first} f 00:00:5")), "{again}");
    a.age("m", "1 hour").await;
    let again = one.look().await;
    assert_eq!(again, format!("{first} t 00:00:00"));
    // Nobody tells when a session ends.
    a.run(&format!("update pgmutex.mutex_model set auto_release_rule = 'connection', auto_release_config = '{}'", two.number()))
        .await;
    assert_eq!(one.look().await, format!("{first} f 00:00:01"));
    a.release("m", "holder").await;
    assert_eq!(one.look().await, format!("{first} t"));
    // One whose turn it is is passed when it has died.
    one.ends(&a).await;
    assert_eq!(two.look().await, format!("{third} t"));
}

#[tokio::test]
async fn a_turn_has_come_only_if_the_holders_leave_room() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    let limited = "access => 'shared', permits => 2";
    for owner in ["a", "b"] {
        a.capture_as("m", owner, limited).await;
    }
    let waits = format!("wait => true, {limited}");
    let first = queue(&a, "c", process.number(), &waits).await;
    assert!(process.look().await.starts_with(&format!("{first} f")));
    a.release("m", "b").await;
    assert!(process.look().await.starts_with(&format!("{first} t")));
    assert_eq!(a.capture_as("m", "c", &waits).await, "captured");
    assert_eq!(process.look().await, "");
    // A writer leaves no room, whatever the limit.
    a.capture("n", "writer").await;
    let more = format!("{waits}, listener => {}", process.number());
    assert_eq!(a.capture_as("n", "d", &more).await, "queued");
    let ticket = ticket(&a, "d").await;
    assert!(process.look().await.starts_with(&format!("{ticket} f")));
}

#[tokio::test]
async fn a_process_learns_which_of_its_tickets_are_no_more() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    a.capture_as("m", "holder", "auto_release_rule => 'never'")
        .await;
    let one = queue(&a, "w1", process.number(), WAIT).await;
    let two = queue(&a, "w2", process.number(), WAIT).await;
    let both = format!("'{{{one},{two}}}'");
    assert_eq!(process.look_for(&both).await, format!("{one} f"));
    a.run("delete from pgmutex.mutex_waiter where owner_session = 'w2'")
        .await;
    assert_eq!(process.look_for(&both).await, format!("{one} f, {two} t"));
    a.run("delete from pgmutex.mutex_waiter").await;
    assert_eq!(process.look_for(&both).await, format!("{one} t, {two} t"));
    assert_eq!(process.look().await, "");
}

#[tokio::test]
async fn processes_that_are_long_gone_are_forgotten() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    a.run("insert into pgmutex.mutex_listener (listener, has_session, seen_at) \
           select number, false, clock_timestamp() - interval '11 minutes' from generate_series(1, 3) number")
        .await;
    a.capture("m", "holder").await;
    a.run("insert into pgmutex.mutex_waiter select 'tests', 'step', 'm', 1, 'exclusive', null, 'w', '', '', '', '', null, 3, now(), now()").await;
    process.look().await;
    let left = format!(
        "select string_agg(case listener when {} then 'itself' else listener::text end, ' ' order by listener) from pgmutex.mutex_listener",
        process.number()
    );
    assert_eq!(a.ask(&left).await, "3 itself");
}

#[tokio::test]
async fn the_view_shows_who_waits_behind_whom() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.outcome("capture('tests', 'step', 'm', 'holder', owner_name => 'Hans')")
        .await;
    a.capture_as(
        "m",
        "w1",
        "wait => true, owner_name => 'Wim', owner_host => 'h1'",
    )
    .await;
    a.capture_as(
        "m",
        "w2",
        "wait => true, access => 'shared', permits => 4, while_holding => '{7}'",
    )
    .await;
    a.capture("n", "holder").await;
    a.capture_as("n", "w1", WAIT).await;
    let rows = "select string_agg(concat_ws(' ', mutex_id, place, owner_session, owner_host, access, permits, \
                       'behind', behind_owner_session, behind_owner_name, waiting_for >= interval '0', seen_at >= queued_since), ', ' \
                       order by mutex_id, place) from pgmutex.waiting";
    assert_eq!(
        a.ask(rows).await,
        "m 1 w1 h1 exclusive behind holder Hans t t, m 2 w2  shared 4 behind w1 Wim t t, n 1 w1  exclusive behind holder  t t"
    );
}

#[tokio::test]
async fn a_waiter_who_asks_while_the_holder_releases_waits_and_gets_it() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture("m", "holder").await;
    b.capture_as("m", "w", WAIT).await;
    a.run("begin").await;
    a.release("m", "holder").await;
    let waiter = b.begin_outcome("capture('tests', 'step', 'm', 'w', wait => true)");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(waiter.text().await, "captured");
}

#[tokio::test]
async fn who_queues_while_the_holder_releases_gets_it_or_is_told() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let mut process = database.listener().await;
    // The release comes second: it waits for the ticket to be there, and tells.
    a.capture("m", "holder").await;
    b.run("begin").await;
    let ticket = queue(&b, "w", process.number(), WAIT).await;
    let release = a.begin_outcome("release('tests', 'step', 'm', 'holder')");
    a.is_blocked().await;
    b.run("commit").await;
    assert_eq!(release.text().await, "released");
    assert_eq!(process.told().await, [ticket]);
}

#[tokio::test]
async fn a_release_while_the_first_in_line_leaves_tells_the_next() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let mut process = database.listener().await;
    a.capture("m", "holder").await;
    queue(&a, "w1", process.number(), WAIT).await;
    let next = queue(&a, "w2", process.number(), WAIT).await;
    a.run("begin").await;
    a.ask("select pgmutex.leave_line('tests', 'step', 'm', 'w1')::text")
        .await;
    let release = b.begin_outcome("release('tests', 'step', 'm', 'holder')");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(release.text().await, "released");
    assert_eq!(process.told().await, [next]);
}

#[tokio::test]
async fn two_who_queue_at_once_stand_in_the_order_of_the_lock() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture("m", "holder").await;
    a.run("begin").await;
    assert_eq!(a.capture_as("m", "w1", WAIT).await, "queued");
    let second = b.begin_outcome("capture('tests', 'step', 'm', 'w2', wait => true)");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(second.text().await, "queued");
    assert_eq!(line(&a).await, "w1 w2");
}

#[tokio::test]
async fn a_ticket_taken_in_a_transaction_that_fails_is_none() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture("m", "holder").await;
    a.run("begin").await;
    a.capture_as("m", "w1", WAIT).await;
    a.run("rollback").await;
    b.release("m", "holder").await;
    assert_eq!(b.capture("m", "x").await, "captured");
}

#[tokio::test]
async fn a_newcomer_who_comes_while_the_first_in_line_captures_waits_and_is_refused() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture("m", "holder").await;
    a.capture_as("m", "w", WAIT).await;
    a.release("m", "holder").await;
    a.run("begin").await;
    assert_eq!(a.capture("m", "w").await, "captured");
    let newcomer = b.begin_capture("m", "x");
    b.is_blocked().await;
    a.run("rollback").await;
    // Still in line: the newcomer must not have passed.
    assert_eq!(newcomer.text().await, "busy");
    assert_eq!(b.capture("m", "w").await, "captured");
}

#[tokio::test]
async fn queueing_in_many_lines_does_not_make_processes_wait_for_each_other() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let process = database.listener().await;
    for id in ["m", "n"] {
        a.capture(id, "holder").await;
    }
    let more = format!("wait => true, listener => {}", process.number());
    for (w1, w2, silence) in [("w1", "w2", "0 seconds"), ("w3", "w4", "1 minute")] {
        a.run(&format!(
            "update pgmutex.mutex_listener set seen_at = seen_at - interval '{silence}'"
        ))
        .await;
        a.run("begin").await;
        assert_eq!(a.capture_as("m", w1, &more).await, "queued");
        // Neither another ticket of the same process nor its look waits for the open transaction.
        assert_eq!(b.capture_as("n", w2, &more).await, "queued");
        assert!(!process.look().await.is_empty());
        a.run("commit").await;
    }
}

#[tokio::test]
async fn a_place_that_its_process_does_not_know_is_given_up() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    a.capture("m", "holder").await;
    let lost = queue(&a, "lost", process.number(), WAIT).await;
    let known = queue(&a, "known", process.number(), WAIT).await;
    let look = async |tickets: &str| {
        a.ask(&format!(
            "select count(*)::text from pgmutex.look_at_lines({}, true, '{{{tickets}}}')",
            process.number()
        ))
        .await
    };
    // At first its answer may be on its way.
    look(&known.to_string()).await;
    assert_eq!(line(&a).await, "lost known");
    a.run("update pgmutex.mutex_waiter set seen_at = seen_at - interval '16 seconds'")
        .await;
    look(&format!("{lost}, {known}")).await;
    assert_eq!(line(&a).await, "lost known");
    look(&known.to_string()).await;
    assert_eq!(line(&a).await, "known");
}

#[tokio::test]
async fn a_process_that_is_long_gone_is_forgotten_without_waiting_for_it() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.run("insert into pgmutex.mutex_listener values (6161, false, clock_timestamp() - interval '11 minutes'), (6262, false, clock_timestamp() - interval '11 minutes')")
        .await;
    a.run("begin; update pgmutex.mutex_listener set seen_at = seen_at where listener = 6161")
        .await;
    b.ask("select count(*)::text from pgmutex.look_at_lines(7171, false)")
        .await;
    let left =
        "select string_agg(listener::text, ' ' order by listener) from pgmutex.mutex_listener";
    assert_eq!(b.ask(left).await, "6161 7171");
    a.run("rollback").await;
}

#[tokio::test]
async fn a_place_that_goes_over_to_another_session_just_now_is_not_removed() {
    let database = Database::fresh().await;
    let (a, b, again) = (
        database.session().await,
        database.session().await,
        database.session().await,
    );
    let one = database.listener().await;
    a.capture("m", "holder").await;
    queue(&a, "w1", one.number(), WAIT).await;
    let lost = one.number();
    one.ends(&a).await;
    again.run("begin").await;
    again
        .ask(&format!(
            "select pgmutex.attach_session(listen => true, instead_of => {lost})::text"
        ))
        .await;
    let newcomer = b.begin_capture("m", "x");
    b.is_blocked().await;
    again.run("commit").await;
    assert_eq!(newcomer.text().await, "busy");
    assert_eq!(line(&a).await, "w1");
}
