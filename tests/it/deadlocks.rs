//! Waiting that could never end is refused, by the one who would close the circle, in words that
//! name it; waiting that will end is not.

use crate::support::{Database, Session};

/// Captures `tests/step/<id>`, and gives the token.
async fn holds(session: &Session, id: &str, owner: &str, more: &str) -> String {
    session
        .ask(&format!(
            "select fencing_token::text from pgmutex.capture('tests', 'step', '{id}', '{owner}'{more})"
        ))
        .await
}

/// The call by which an owner queues for `tests/step/<id>`.
fn call(id: &str, owner: &str, more: &str) -> String {
    format!("capture('tests', 'step', '{id}', '{owner}', wait => true{more})")
}

async fn waits(session: &Session, id: &str, owner: &str, more: &str) {
    let outcome = session.outcome(&call(id, owner, more)).await;
    assert_eq!(outcome, "queued", "{owner} for {id}");
}

/// The circle that would be closed.
async fn refused(session: &Session, id: &str, owner: &str, more: &str) -> String {
    let (code, message) = session.refusal(&call(id, owner, more)).await;
    assert_eq!(code, "PM006", "{message}");
    message
}

fn all(ids: &[&str], owner: &str) -> String {
    let requests: Vec<String> = ids
        .iter()
        .map(|id| {
            format!(
                "{{\"mutex_group\": \"tests\", \"mutex_mode\": \"step\", \"mutex_id\": \"{id}\", \"owner_session\": \"{owner}\"}}"
            )
        })
        .collect();
    format!("capture_all('[{}]', wait => true)", requests.join(", "))
}

async fn waits_for_all(session: &Session, ids: &[&str], owner: &str) {
    let outcome = format!("select max(outcome) from pgmutex.{}", all(ids, owner));
    assert_eq!(session.ask(&outcome).await, "queued", "{owner} for {ids:?}");
}

const SHARED: &str = ", access => 'shared'";

fn limit(permits: u32) -> String {
    format!(", access => 'shared', permits => {permits}")
}

#[tokio::test]
async fn two_who_wait_for_each_other() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    holds(&s, "m", "a", ", owner_name => 'Ada'").await;
    holds(&s, "n", "b", "").await;
    waits(&s, "n", "a", "").await;
    assert_eq!(
        refused(&s, "m", "b", "").await,
        "deadlock: this would wait for tests/step/m, held by Ada, who waits for tests/step/n, which the one who asks holds"
    );
    // It has no ticket, and keeps what it has; not to wait is always possible.
    assert_eq!(
        s.ask("select string_agg(owner_session, ' ') from pgmutex.waiting")
            .await,
        "a"
    );
    assert_eq!(s.capture("m", "b").await, "busy");
    assert_eq!(s.capture("n", "b").await, "refreshed");
    // Once it gives up what it has, everything goes on.
    s.release("n", "b").await;
    assert_eq!(s.capture("n", "a").await, "captured");
    waits(&s, "m", "b", "").await;
}

#[tokio::test]
async fn three_in_a_circle() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for (id, owner) in [("1", "a"), ("2", "b"), ("3", "c")] {
        holds(&s, id, owner, "").await;
    }
    waits(&s, "2", "a", "").await;
    waits(&s, "3", "b", "").await;
    assert_eq!(
        refused(&s, "1", "c", "").await,
        "deadlock: this would wait for tests/step/1, held by session a, who waits for tests/step/2, held by session b, \
         who waits for tests/step/3, which the one who asks holds"
    );
}

#[tokio::test]
async fn holds_of_other_sessions_that_a_waiter_keeps_count_as_its_own() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    // As guards have them: each hold and each ticket has an owner session of its own.
    let m = holds(&s, "m", "guard 1", "").await;
    let n = holds(&s, "n", "guard 2", "").await;
    waits(
        &s,
        "n",
        "guard 3",
        &format!(", while_holding => '{{7, {m}}}'"),
    )
    .await;
    waits(&s, "m", "guard 4", "").await;
    let message = refused(&s, "m", "guard 5", &format!(", while_holding => '{{{n}}}'")).await;
    assert_eq!(
        message,
        "deadlock: this would wait for tests/step/m, held by session guard 1, who waits for tests/step/n, which the one who asks holds"
    );
    // What it keeps can change from one question to the next.
    waits(&s, "n", "guard 3", "").await;
    waits(&s, "m", "guard 5", &format!(", while_holding => '{{{n}}}'")).await;
    refused(&s, "n", "guard 3", &format!(", while_holding => '{{{m}}}'")).await;
}

#[tokio::test]
async fn one_who_would_wait_for_itself() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let m = holds(&s, "m", "guard 1", "").await;
    assert_eq!(
        refused(&s, "m", "guard 2", &format!(", while_holding => '{{{m}}}'")).await,
        "deadlock: this would wait for tests/step/m, which the one who asks holds"
    );
    // The same session captures again, and waits for nothing.
    assert_eq!(s.outcome(&call("m", "guard 1", "")).await, "refreshed");
    // Nor does one who shares it with itself.
    let n = holds(&s, "n", "guard 1", SHARED).await;
    let shared = format!(", while_holding => '{{{n}}}', access => 'shared'");
    assert_eq!(s.outcome(&call("n", "guard 2", &shared)).await, "captured");
    refused(&s, "n", "guard 3", &format!(", while_holding => '{{{n}}}'")).await;
}

#[tokio::test]
async fn one_permit_of_several_is_waited_for_until_all_holders_are_stuck() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, &limit(2)).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "a", "").await;
    // b may leave, and then there is room.
    waits(&s, "m", "x", &limit(2)).await;
    // Now b would close the circle.
    refused(&s, "n", "b", "").await;
    s.outcome("release('tests', 'step', 'm', 'x')").await;
    waits(&s, "n", "b", "").await;
    refused(&s, "m", "x", &limit(2)).await;
}

#[tokio::test]
async fn one_who_needs_it_alone_waits_for_every_holder() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, &limit(2)).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "b", "").await;
    refused(&s, "m", "x", "").await;
    // So does one who may share it with nobody.
    refused(&s, "m", "x", &limit(1)).await;
    waits(&s, "m", "x", &limit(2)).await;
}

#[tokio::test]
async fn holders_limits_keep_one_out_who_has_none() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, &limit(2)).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "a", "").await;
    waits(&s, "m", "x", SHARED).await;
    s.release("m", "x").await;
    waits(&s, "n", "b", "").await;
    refused(&s, "m", "x", SHARED).await;
}

#[tokio::test]
async fn one_behind_a_writer_waits_for_all_that_the_writer_waits_for() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, SHARED).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "a", "").await;
    waits(&s, "m", "writer", "").await;
    // Without the writer it could share m at once.
    refused(&s, "m", "x", SHARED).await;
    refused(&s, "m", "x", &limit(7)).await;
    s.release("m", "writer").await;
    assert_eq!(s.outcome(&call("m", "x", SHARED)).await, "captured");
}

#[tokio::test]
async fn one_behind_a_stricter_limit_waits_until_that_one_gets_in() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, SHARED).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "a", "").await;
    waits(&s, "m", "strict", &limit(1)).await;
    refused(&s, "m", "x", &limit(7)).await;
}

#[tokio::test]
async fn one_who_waits_for_several_keeps_those_behind_it_waiting() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    holds(&s, "n", "x", "").await;
    waits_for_all(&s, &["m", "n"], "group").await;
    // m is free, but the group is first there, and waits for n.
    assert_eq!(s.capture("m", "x").await, "busy");
    assert_eq!(
        refused(&s, "m", "x", "").await,
        "deadlock: this would wait for tests/step/m, behind session group, who waits for tests/step/n, which the one who asks holds"
    );
    // Others may wait, and so may x for what the group does not want.
    waits(&s, "m", "y", "").await;
    holds(&s, "o", "z", "").await;
    waits(&s, "o", "x", "").await;
}

#[tokio::test]
async fn a_circle_through_two_who_wait_for_several() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    holds(&s, "3", "x", "").await;
    waits_for_all(&s, &["2", "3"], "group 1").await;
    waits_for_all(&s, &["1", "2"], "group 2").await;
    // Behind group 2, which is behind group 1, which waits for x.
    refused(&s, "1", "x", "").await;
    s.release("3", "x").await;
    let got = format!(
        "select max(outcome) from pgmutex.{}",
        all(&["2", "3"], "group 1")
    );
    assert_eq!(s.ask(&got).await, "captured");
}

#[tokio::test]
async fn who_wants_more_goes_behind_whom_it_would_keep_waiting() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    holds(&s, "held", "v", "").await;
    holds(&s, "line", "q", "").await;
    waits_for_all(&s, &["line", "free"], "group").await;
    waits(&s, "line", "v", "").await;
    // v stands behind the group, which now wants what v holds, and therefore goes behind v.
    waits_for_all(&s, &["line", "free", "held"], "group").await;
    let line = "select string_agg(owner_session, ' ' order by place) from pgmutex.waiting where mutex_id = 'line'";
    assert_eq!(s.ask(line).await, "v group");
    waits(&s, "line", "v", "").await;
}

#[tokio::test]
async fn two_who_close_a_circle_at_once() {
    let database = Database::with_patient_lines().await;
    let (a, b) = (database.session().await, database.session().await);
    holds(&a, "m", "a", "").await;
    holds(&a, "n", "b", "").await;
    a.run("begin").await;
    waits(&a, "n", "a", "").await;
    let second = b.begin_outcome(&call("m", "b", ""));
    b.is_blocked().await;
    a.run("commit").await;
    let error = second.result().await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM006");
    let message = error.as_db_error().unwrap().message();
    assert!(
        message.contains("tests/step/m, held by session a, who waits for tests/step/n"),
        "{message}"
    );
}

#[tokio::test]
async fn a_circle_whose_first_half_is_given_up_is_none() {
    let database = Database::with_patient_lines().await;
    let (a, b) = (database.session().await, database.session().await);
    holds(&a, "m", "a", "").await;
    holds(&a, "n", "b", "").await;
    a.run("begin").await;
    waits(&a, "n", "a", "").await;
    let second = b.begin_outcome(&call("m", "b", ""));
    b.is_blocked().await;
    a.run("rollback").await;
    assert_eq!(second.text().await, "queued");
}

#[tokio::test]
async fn who_holds_nothing_is_asked_nothing() {
    let database = Database::with_patient_lines().await;
    let (a, b) = (database.session().await, database.session().await);
    holds(&a, "m", "a", "").await;
    holds(&a, "n", "b", "").await;
    // While one looks for circles, those who cannot be part of any go on.
    a.run("begin").await;
    waits(&a, "n", "a", "").await;
    waits(&b, "m", "nobody", "").await;
    a.run("commit").await;
}

#[tokio::test]
async fn a_circle_closed_by_a_capture_is_found_when_the_next_question_comes() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    holds(&s, "m", "other", "").await;
    holds(&s, "n", "b", "").await;
    // Two tasks of one owner: one waits for n, and one gets m meanwhile.
    waits(&s, "n", "a", "").await;
    waits(&s, "m", "a", "").await;
    waits(&s, "m", "b", "").await;
    s.release("m", "other").await;
    assert_eq!(s.outcome(&call("m", "a", "")).await, "captured");
    refused(&s, "m", "b", "").await;
    refused(&s, "n", "a", "").await;
}

#[tokio::test]
async fn waits_that_will_end_are_not_refused() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    // A chain.
    for (id, owner) in [("1", "a"), ("2", "b"), ("3", "c")] {
        holds(&s, id, owner, "").await;
    }
    waits(&s, "2", "a", "").await;
    waits(&s, "3", "b", "").await;
    waits(&s, "3", "a", "").await;
    // Another waits in front of it, for what c does not hold.
    holds(&s, "4", "d", "").await;
    waits(&s, "4", "e", "").await;
    waits(&s, "4", "c", "").await;
    waits(&s, "4", "a", "").await;
    // d, for whom they all wait, waits for one who waits for nothing.
    holds(&s, "5", "f", "").await;
    waits(&s, "5", "d", "").await;
    waits(&s, "5", "c", "").await;
}

#[tokio::test]
async fn what_is_over_or_gone_is_no_part_of_a_circle() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let process = database.listener().await;
    // The one who waits has died.
    holds(&s, "m", "a", "").await;
    holds(&s, "n", "b", "").await;
    waits(&s, "n", "a", &format!(", listener => {}", process.number())).await;
    let m = s
        .ask("select fencing_token::text from pgmutex.hold where mutex_id = 'm'")
        .await;
    let keeping = format!(
        ", listener => {}, while_holding => '{{{m}}}'",
        process.number()
    );
    waits(&s, "n", "guard", &keeping).await;
    refused(&s, "m", "b", "").await;
    process.ends(&s).await;
    waits(&s, "m", "b", "").await;
    // The hold in the circle is over; behind its fence it is still in the way, but not for long.
    let other = database.session().await;
    holds(&s, "o", "a", "").await;
    holds(&s, "p", "c", "").await;
    waits(&s, "p", "a", "").await;
    refused(&s, "o", "c", "").await;
    let o = s
        .ask("select fencing_token::text from pgmutex.hold where mutex_id = 'o'")
        .await;
    other.run("begin").await;
    other
        .ask(&format!(
            "select pgmutex.fence('tests', 'step', 'o', {o})::text"
        ))
        .await;
    s.age("o", "1 hour").await;
    waits(&s, "o", "c", "").await;
    other.run("commit").await;
}

#[tokio::test]
async fn one_who_died_in_line_keeps_nobody_waiting() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let process = database.listener().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, &limit(2)).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "a", "").await;
    waits(
        &s,
        "m",
        "writer",
        &format!(", listener => {}", process.number()),
    )
    .await;
    refused(&s, "m", "x", &limit(2)).await;
    process.ends(&s).await;
    waits(&s, "m", "x", &limit(2)).await;
}

#[tokio::test]
async fn those_who_died_further_back_in_line_keep_nobody_waiting() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let process = database.listener().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, &limit(2)).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "a", "").await;
    // The first one is alive, so that nobody has met those who died behind it.
    waits(&s, "m", "alive", &limit(2)).await;
    waits(
        &s,
        "m",
        "writer",
        &format!(", listener => {}", process.number()),
    )
    .await;
    holds(&s, "o", "q", "").await;
    waits(&s, "o", "alive", "").await;
    let group = all(&["n", "o"], "group").replace(
        "wait => true",
        &format!("wait => true, listener => {}", process.number()),
    );
    s.ask(&format!("select max(outcome) from pgmutex.{group}"))
        .await;
    refused(&s, "m", "x", &limit(2)).await;
    refused(&s, "o", "x", "").await;
    process.ends(&s).await;
    waits(&s, "m", "x", &limit(2)).await;
    waits(&s, "o", "x", "").await;
}

#[tokio::test]
async fn a_reader_waits_for_a_writer_that_waits_for_it() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    holds(&s, "m", "writer", "").await;
    holds(&s, "n", "reader", "").await;
    waits(&s, "n", "writer", "").await;
    refused(&s, "m", "reader", SHARED).await;
    refused(&s, "m", "reader", &limit(7)).await;
}

#[tokio::test]
async fn those_behind_a_waiter_do_not_keep_it_waiting() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for owner in ["a", "b"] {
        holds(&s, "m", owner, &limit(2)).await;
    }
    holds(&s, "n", "x", "").await;
    waits(&s, "n", "a", "").await;
    // v gets in when b leaves, though a never does and the writer behind v needs both to.
    holds(&s, "k", "v", "").await;
    waits(&s, "m", "v", &limit(2)).await;
    waits(&s, "m", "writer", "").await;
    waits(&s, "k", "x", "").await;
}

#[tokio::test]
async fn a_circle_that_others_have_closed_is_theirs() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    // Closed by a capture, and not yet asked about.
    holds(&s, "m", "other", "").await;
    holds(&s, "n", "b", "").await;
    waits(&s, "n", "a", "").await;
    waits(&s, "m", "a", "").await;
    waits(&s, "m", "b", "").await;
    s.release("m", "other").await;
    s.outcome(&call("m", "a", "")).await;
    holds(&s, "o", "x", "").await;
    waits(&s, "m", "x", "").await;
    waits(&s, "n", "x", "").await;
}

/// Twenty mutexes with two holders each, who both wait for the next one: a million ways through,
/// none of which comes back.
#[tokio::test]
async fn many_ways_that_lead_nowhere_are_not_all_gone() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for layer in 0..20 {
        for owner in ["a", "b"] {
            let name = format!("{owner}{layer}");
            holds(&s, &layer.to_string(), &name, SHARED).await;
        }
    }
    for layer in (0..19).rev() {
        for owner in ["a", "b"] {
            let name = format!("{owner}{layer}");
            waits(&s, &(layer + 1).to_string(), &name, "").await;
        }
    }
    holds(&s, "x", "x", "").await;
    waits(&s, "0", "x", "").await;
}

#[tokio::test]
async fn many_who_want_the_same_set_do_not_multiply() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let ids: Vec<String> = (0..8).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    holds(&s, "3", "first", "").await;
    for group in 0..12 {
        waits_for_all(&s, &ids, &format!("group {group}")).await;
    }
    holds(&s, "x", "x", "").await;
    waits(&s, "7", "x", "").await;
    refused(&s, "7", "first", "").await;
}
