//! Several mutexes in one call: each for itself, or all or nothing.

use crate::support::{Database, Session};

/// Requests for `tests/step/<id>`.
fn requests(ids: &[&str], owner: &str) -> String {
    let requests: Vec<String> = ids
        .iter()
        .map(|id| format!("{{\"mutex_id\": \"{id}\", \"owner_session\": \"{owner}\"}}"))
        .collect();
    format!("'[{}]'", requests.join(", "))
}

const DEFAULTS: &str = "'{\"mutex_group\": \"tests\", \"mutex_mode\": \"step\"}'";

fn all(ids: &[&str], owner: &str, more: &str) -> String {
    format!("capture_all({}, {DEFAULTS}{more})", requests(ids, owner))
}

fn each(ids: &[&str], owner: &str) -> String {
    format!("capture_each({}, {DEFAULTS})", requests(ids, owner))
}

/// Which answer for which mutex, in the order of the answers.
fn answers(call: &str) -> String {
    format!(
        "select coalesce(string_agg(concat_ws(' ', mutex_id, outcome, owner_session), ', ' order by place), '') \
         from pgmutex.{call} with ordinality answer ({COLUMNS}, place)"
    )
}

/// The columns of an answer, by their names.
const COLUMNS: &str = "outcome, mutex_group, mutex_mode, mutex_id, permit, permits, owner_session, owner_host, owner_id, owner_login, \
                       owner_name, auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since, \
                       expires_at, lock_parents, lock_children, observed_at, evicted_owner_session, evicted_owner_name, evicted_fencing_token, ticket";

/// Who holds what.
async fn held(session: &Session) -> String {
    session
        .ask("select coalesce(string_agg(concat_ws(' ', mutex_id, owner_session), ', ' order by mutex_id, permit), '') from pgmutex.hold")
        .await
}

/// Who waits for what.
async fn lines(session: &Session) -> String {
    session
        .ask("select coalesce(string_agg(concat_ws(' ', mutex_id, owner_session), ', ' order by mutex_id, ticket), '') from pgmutex.mutex_waiter")
        .await
}

const WAIT: &str = ", wait => true";

#[tokio::test]
async fn each_gets_its_own_answer_in_the_order_asked() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.capture("2", "other").await;
    s.capture("3", "other").await;
    s.age("3", "1 hour").await;
    s.capture("4", "me").await;
    let call = each(&["5", "2", "4", "3", "1", "5"], "me");
    assert_eq!(
        s.ask(&answers(&call)).await,
        "5 captured me, 2 busy other, 4 refreshed me, 3 evicted me, 1 captured me, 5 refreshed me"
    );
    assert_eq!(held(&s).await, "1 me, 2 other, 3 me, 4 me, 5 me");
    // Each has its token, and its owner.
    let distinct = "select count(distinct fencing_token)::text from pgmutex.held";
    assert_eq!(s.ask(distinct).await, "5");
    assert_eq!(s.ask(&answers(&each(&[], "me"))).await, "");
}

#[tokio::test]
async fn a_request_says_what_capture_can_be_told_and_defaults_say_the_rest() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let call = "capture_each('[{\"mutex_id\": \"1\", \"owner_name\": \"Ada\", \"access\": \"shared\", \"permits\": 3}, \
                               {\"mutex_id\": \"2\", \"owner_session\": \"you\", \"auto_release_rule\": \"never\", \"auto_release_config\": \"\"}, \
                               {\"mutex_id\": 3, \"status_data\": \"s\"}]', \
                             '{\"mutex_group\": \"g\", \"mutex_mode\": \"m\", \"owner_session\": \"me\", \"owner_name\": \"N\", \"owner_host\": \"h\", \
                               \"owner_id\": \"i\", \"owner_login\": \"l\", \"auto_release_rule\": \"timeout\", \"auto_release_config\": \"77\"}')";
    s.ask(&format!("select count(*)::text from pgmutex.{call}"))
        .await;
    let rows = "select string_agg(concat_ws('/', mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name, \
                       permit, permits, auto_release_rule, auto_release_config, status_data), ' ' order by mutex_id) from pgmutex.hold";
    assert_eq!(
        s.ask(rows).await,
        "g/m/1/me/h/i/l/Ada/1/3/timeout/77 g/m/2/you/h/i/l/N/0/never/ g/m/3/me/h/i/l/N/0/timeout/77/s"
    );
}

#[tokio::test]
async fn what_a_request_cannot_say_is_refused() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let many: Vec<String> = (0..1001).map(|id| id.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for function in ["capture_each", "capture_all", "release_each"] {
        for arguments in [
            "'{}'",
            "'7'",
            "'\"x\"'",
            "'[7]'",
            "'[[]]'",
            "'[]', '[]'",
            "'[]', '7'",
            "'[{\"mutex_id\": \"1\", \"owner_session\": \"a\", \"owner\": \"a\"}]'",
            "'[{\"mutex_id\": \"1\", \"owner_session\": \"a\"}]', '{\"wait\": true}'",
            "'[{\"mutex_id\": \"1\", \"owner_session\": \"\"}]'",
            "'[{\"mutex_id\": \"1\"}]'",
            "'[{\"owner_session\": \"a\"}]'",
            "'[{\"mutex_id\": \"1\", \"owner_session\": \"a\"}, {\"owner_session\": \"a\"}]'",
            &requests(&many, "a"),
        ] {
            let call = format!("{function}({arguments})");
            let (code, message) = s.refusal(&call).await;
            assert_eq!(code, "PM003", "{call:.200}");
            assert!(message.len() < 300, "{message}");
        }
    }
    assert_eq!(held(&s).await, "");
    let (_, message) = s
        .refusal(
            "capture_each('[{\"mutex_id\": \"1\", \"owner_session\": \"a\", \"owner\": \"a\"}]')",
        )
        .await;
    assert!(
        message
            .starts_with("owner is not something that a request can say; it can say mutex_group, "),
        "{message}"
    );
    // A thousand are fine.
    let count = format!(
        "select count(*) filter (where outcome = 'captured')::text from pgmutex.{}",
        each(&many[..1000], "a")
    );
    assert_eq!(s.ask(&count).await, "1000");
    let count = format!(
        "select count(*) filter (where outcome = 'released')::text from pgmutex.release_each({}, {DEFAULTS})",
        requests(&many[..1000], "a")
    );
    assert_eq!(s.ask(&count).await, "1000");
}

#[tokio::test]
async fn all_at_once_are_for_one_owner_and_name_each_mutex_once() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for call in [
        "capture_all('[{\"mutex_id\": \"1\", \"owner_session\": \"a\"}, {\"mutex_id\": \"2\", \"owner_session\": \"b\"}]')",
        "capture_all('[{\"mutex_id\": \"1\"}, {\"mutex_id\": \"1\"}]', '{\"owner_session\": \"a\"}')",
        // Nothing and an empty name are the same.
        "capture_all('[{\"mutex_id\": \"1\"}, {\"mutex_group\": \"\", \"mutex_id\": \"1\"}]', '{\"owner_session\": \"a\"}')",
        "capture_all('[{\"mutex_id\": 1}, {\"mutex_id\": \"1\", \"mutex_mode\": null}]', '{\"owner_session\": \"a\"}')",
    ] {
        assert_eq!(s.refusal(call).await.0, "PM003", "{call}");
    }
    assert_eq!(held(&s).await, "");
}

#[tokio::test]
async fn all_or_nothing() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let ids = ["3", "1", "2"];
    assert_eq!(
        s.ask(&answers(&all(&ids, "a", ""))).await,
        "3 captured a, 1 captured a, 2 captured a"
    );
    // Those in the way are shown, and nothing is kept.
    s.capture("4", "c").await;
    let refused = all(&["5", "2", "4", "6"], "b", "");
    assert_eq!(s.ask(&answers(&refused)).await, "2 busy a, 4 busy c");
    assert_eq!(held(&s).await, "1 a, 2 a, 3 a, 4 c");
    assert_eq!(lines(&s).await, "");
    // Its own are refreshed.
    assert_eq!(
        s.ask(&answers(&all(&["7", "1"], "a", ""))).await,
        "7 captured a, 1 refreshed a"
    );
    assert_eq!(s.ask(&answers(&all(&[], "a", ""))).await, "");
}

#[tokio::test]
async fn what_made_way_for_nothing_is_still_there() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for (id, owner) in [("1", "old"), ("2", "mine"), ("3", "c")] {
        s.capture(id, owner).await;
    }
    s.age("1", "1 hour").await;
    let since = "select captured_since::text from pgmutex.hold where mutex_id = '2'";
    let mine = s.ask(since).await;
    let call = answers(&all(&["1", "2", "3"], "mine", ""));
    assert_eq!(s.ask(&call).await, "3 busy c");
    // The hold that is over, and the time of the one that would have been refreshed.
    assert_eq!(held(&s).await, "1 old, 2 mine, 3 c");
    assert_eq!(s.ask(since).await, mine);
    s.release("3", "c").await;
    assert_eq!(
        s.ask(&call).await,
        "1 evicted mine, 2 refreshed mine, 3 captured mine"
    );
}

#[tokio::test]
async fn locks_are_kept_to_the_end_also_when_nothing_was_captured() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.capture("2", "c").await;
    a.run("begin").await;
    assert_eq!(
        a.ask(&answers(&all(&["1", "2"], "a", ""))).await,
        "2 busy c"
    );
    let other = b.begin_capture("1", "b");
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(other.text().await, "captured");
}

#[tokio::test]
async fn opposite_orders_wait_for_each_other_and_do_not_deadlock() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let forth: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    let forth: Vec<&str> = forth.iter().map(String::as_str).collect();
    let back: Vec<&str> = forth.iter().rev().copied().collect();
    let release =
        |owner: &str| format!("select count(*)::text from pgmutex.release_owner('{owner}')");
    let count =
        |call: String| format!("select string_agg(distinct outcome, ' ') from pgmutex.{call}");
    for (first, second, expected) in [
        (each(&forth, "a"), each(&back, "b"), "busy"),
        (each(&forth, "a"), all(&back, "b", ""), "busy"),
        (all(&forth, "a", ""), all(&back[10..], "b", ""), "busy"),
        (
            all(&forth[..11], "a", ""),
            all(&back[..10], "b", ""),
            "busy",
        ),
    ] {
        a.run("begin").await;
        assert_eq!(a.ask(&count(first)).await, "captured");
        let waiting = b.begin(&count(second));
        b.is_blocked().await;
        // It has not got one of the others before it waits for the first of these.
        a.run("commit").await;
        assert_eq!(waiting.text().await, expected);
        a.ask(&release("a")).await;
    }
}

/// The first lock that a call waits for is the first of all its locks: it holds none that another
/// call could be waiting for.
#[tokio::test]
async fn a_call_that_waits_for_its_first_lock_has_no_other() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let order = "select string_agg(id, ' ' order by pgmutex.mutex_key('tests', 'step', id)) from generate_series(1, 9) number cross join lateral (select number::text) i (id)";
    let order = a.ask(order).await;
    let ids: Vec<&str> = order.split(' ').collect();
    let back: Vec<&str> = ids.iter().rev().copied().collect();
    for call in [
        each(&back, "b"),
        all(&back, "b", ""),
        format!("release_each({}, {DEFAULTS})", requests(&back, "b")),
    ] {
        a.run("begin").await;
        assert_eq!(a.capture(ids[0], "a").await, "captured");
        let waiting = b.begin(&format!("select count(*)::text from pgmutex.{call}"));
        b.is_blocked().await;
        // Every other one can be decided about.
        for id in &ids[1..] {
            assert_eq!(a.capture(id, "a").await, "captured");
        }
        a.run("rollback").await;
        waiting.text().await;
        a.run("delete from pgmutex.mutex_model").await;
    }
}

#[tokio::test]
async fn one_who_waits_for_several_has_one_ticket_in_every_line() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    s.capture("2", "c").await;
    let call = all(&["1", "2", "3"], "a", WAIT);
    assert_eq!(s.ask(&answers(&call)).await, "2 queued c");
    assert_eq!(lines(&s).await, "1 a, 2 a, 3 a");
    let tickets = "select string_agg(distinct ticket::text, ' ') from pgmutex.waiting where owner_session = 'a'";
    let ticket = s.ask(tickets).await;
    let told = format!("select string_agg(distinct ticket::text, ' ') from pgmutex.{call}");
    assert_eq!(s.ask(&told).await, ticket);
    // Asking again keeps it, also for less; who wants more comes to a line anew, and so to all.
    s.ask(&answers(&all(&["1", "2"], "a", WAIT))).await;
    assert_eq!(s.ask(tickets).await, ticket);
    s.ask(&answers(&all(&["0", "1", "2", "3"], "a", WAIT)))
        .await;
    let later = s.ask(tickets).await;
    assert!(later.parse::<i64>().unwrap() > ticket.parse().unwrap());
    s.release("2", "c").await;
    assert_eq!(s.capture("3", "x").await, "busy");
    assert_eq!(
        s.ask(&answers(&call)).await,
        "1 captured a, 2 captured a, 3 captured a"
    );
    assert_eq!(lines(&s).await, "0 a");
}

#[tokio::test]
async fn waiting_alone_and_then_for_several_ends_in_one_ticket() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for id in ["1", "2"] {
        s.capture(id, "c").await;
    }
    s.capture_as("1", "a", "wait => true").await;
    s.ask(&answers(&all(&["1", "2"], "b", WAIT))).await;
    s.capture_as("2", "a", "wait => true").await;
    assert_eq!(lines(&s).await, "1 a, 1 b, 2 b, 2 a");
    // With a place before b in one line and after it in the other, both would wait for ever.
    s.ask(&answers(&all(&["1", "2"], "a", WAIT))).await;
    assert_eq!(lines(&s).await, "1 b, 1 a, 2 b, 2 a");
    for id in ["1", "2"] {
        s.release(id, "c").await;
    }
    assert_eq!(
        s.ask(&answers(&all(&["1", "2"], "a", WAIT))).await,
        "1 queued b, 2 queued b"
    );
    assert_eq!(
        s.ask(&answers(&all(&["1", "2"], "b", WAIT))).await,
        "1 captured b, 2 captured b"
    );
    s.ask("select count(*)::text from pgmutex.release_owner('b')")
        .await;
    assert_eq!(
        s.ask(&answers(&all(&["1", "2"], "a", WAIT))).await,
        "1 captured a, 2 captured a"
    );
}

#[tokio::test]
async fn of_those_who_wait_for_several_one_can_always_go_on() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for id in ["1", "2", "3"] {
        s.capture(id, "c").await;
    }
    let mut groups = vec![
        (vec!["1", "2"], "a"),
        (vec!["3", "2"], "b"),
        (vec!["1", "3"], "d"),
        (vec!["3", "2", "1"], "e"),
    ];
    for (ids, owner) in &groups {
        s.ask(&answers(&all(ids, owner, WAIT))).await;
    }
    for id in ["3", "1", "2"] {
        s.release(id, "c").await;
    }
    while !groups.is_empty() {
        let mut left = Vec::new();
        let mut captured = 0;
        // The last one asks first.
        for (ids, owner) in groups.iter().rev() {
            let outcomes = format!(
                "select string_agg(distinct outcome, ' ') from pgmutex.{}",
                all(ids, owner, WAIT)
            );
            if s.ask(&outcomes).await == "captured" {
                captured += 1;
                s.ask(&format!(
                    "select count(*)::text from pgmutex.release_owner('{owner}')"
                ))
                .await;
            } else {
                left.push((ids.clone(), *owner));
            }
        }
        assert!(captured > 0, "{left:?} wait for each other");
        left.reverse();
        groups = left;
    }
}

#[tokio::test]
async fn what_one_holds_already_one_does_not_wait_for() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    s.capture("1", "a").await;
    s.capture("2", "c").await;
    assert_eq!(
        s.ask(&answers(&all(&["1", "2", "3"], "a", WAIT))).await,
        "2 queued c"
    );
    assert_eq!(lines(&s).await, "2 a, 3 a");
    s.release("2", "c").await;
    assert_eq!(
        s.ask(&answers(&all(&["1", "2", "3"], "a", WAIT))).await,
        "1 refreshed a, 2 captured a, 3 captured a"
    );
    // One that is over is not held, and has a line.
    s.capture("4", "b").await;
    s.age("1", "1 hour").await;
    assert_eq!(
        s.ask(&answers(&all(&["1", "4"], "a", WAIT))).await,
        "4 queued b"
    );
    assert_eq!(lines(&s).await, "1 a, 4 a");
}

#[tokio::test]
async fn nobody_waits_to_have_alone_what_it_shares() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for owner in ["a", "b"] {
        s.capture_as("1", owner, "access => 'shared'").await;
    }
    assert_eq!(
        s.ask(&answers(&all(&["1", "2"], "a", WAIT))).await,
        "1 busy b"
    );
    assert_eq!(lines(&s).await, "");
    assert_eq!(held(&s).await, "1 a, 1 b");
}

#[tokio::test]
async fn one_who_waits_for_several_is_told_of_each() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut process = database.listener().await;
    for id in ["1", "2"] {
        s.capture(id, "c").await;
    }
    let waits = format!("{WAIT}, listener => {}", process.number());
    s.ask(&answers(&all(&["1", "2"], "a", &waits))).await;
    let ticket = s.ask("select min(ticket)::text from pgmutex.waiting").await;
    let mut told = Vec::new();
    for id in ["1", "2"] {
        s.release(id, "c").await;
        told.extend(process.told().await);
    }
    assert_eq!(told, [ticket.clone(), ticket]);
    // Giving up wakes those behind in every line.
    let more = format!("wait => true, listener => {}", process.number());
    let mut behind = Vec::new();
    for (id, owner) in [("1", "x"), ("2", "y")] {
        s.capture_as(id, owner, &more).await;
        behind.push(
            s.ask(&format!(
                "select ticket::text from pgmutex.waiting where owner_session = '{owner}'"
            ))
            .await,
        );
    }
    assert_eq!(
        s.ask("select count(*)::text from pgmutex.release_owner('a')")
            .await,
        "0"
    );
    let mut told = process.told().await;
    told.sort();
    behind.sort();
    assert_eq!(told, behind);
    assert_eq!(lines(&s).await, "1 x, 2 y");
}

#[tokio::test]
async fn releasing_many_says_of_each_what_release_says() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let mut tokens = Vec::new();
    for id in ["1", "2", "3", "4"] {
        let owner = if id == "2" { "other" } else { "me" };
        s.capture(id, owner).await;
        tokens.push(
            s.ask(&format!(
                "select fencing_token::text from pgmutex.hold where mutex_id = '{id}'"
            ))
            .await,
        );
    }
    s.age("3", "1 hour").await;
    let call = format!(
        "release_each('[{{\"mutex_id\": \"4\", \"fencing_token\": {}}}, {{\"mutex_id\": \"2\"}}, {{\"mutex_id\": \"3\"}}, {{\"mutex_id\": \"1\", \"fencing_token\": 7}}, {{\"mutex_id\": \"5\"}}]', \
         '{{\"mutex_group\": \"tests\", \"mutex_mode\": \"step\", \"owner_session\": \"me\"}}')",
        tokens[3]
    );
    assert_eq!(
        s.ask(&answers(&call)).await,
        "4 released me, 2 busy other, 3 not_held me, 1 not_held, 5 not_held"
    );
    assert_eq!(held(&s).await, "1 me, 2 other");
}

#[tokio::test]
async fn releasing_many_need_not_wait_for_the_disk_unless_one_would_never_end() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for (rule, setting) in [("timeout", "off"), ("never", "on")] {
        s.capture("1", "a").await;
        s.capture_as("2", "a", &format!("auto_release_rule => '{rule}'"))
            .await;
        s.run("begin").await;
        let call = format!(
            "select count(*)::text from pgmutex.release_each({}, {DEFAULTS}, durable => false)",
            requests(&["1", "2"], "a")
        );
        s.ask(&call).await;
        assert_eq!(s.ask("show synchronous_commit").await, setting);
        s.run("commit").await;
    }
}

#[tokio::test]
async fn an_owner_gives_back_everything_and_leaves_every_line() {
    let database = Database::fresh().await;
    let (s, b) = (database.session().await, database.session().await);
    for id in ["1", "2", "3", "4"] {
        s.capture(id, "me").await;
    }
    s.capture("5", "other").await;
    s.capture_as("5", "me", "wait => true").await;
    s.capture_as("6", "me", "access => 'shared'").await;
    s.capture_as("6", "other", "access => 'shared'").await;
    s.age("4", "1 hour").await;
    let token = s
        .ask("select fencing_token::text from pgmutex.hold where mutex_id = '2'")
        .await;
    b.run("begin").await;
    b.ask(&format!(
        "select pgmutex.fence('tests', 'step', '2', {token})::text"
    ))
    .await;
    let release = "select coalesce(string_agg(concat_ws(' ', mutex_id, outcome, owner_session), ', ' order by mutex_id), '') from pgmutex.release_owner('me')";
    assert_eq!(
        s.ask(release).await,
        "1 released me, 2 busy me, 3 released me, 6 released me"
    );
    assert_eq!(held(&s).await, "2 me, 5 other, 6 other");
    assert_eq!(lines(&s).await, "");
    b.run("commit").await;
    assert_eq!(s.ask(release).await, "2 released me");
    assert_eq!(s.ask(release).await, "");
}

#[tokio::test]
async fn an_owner_gives_back_so_many_at_a_time() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for id in ["1", "2", "3"] {
        s.capture(id, "me").await;
    }
    let release = "select count(*)::text from pgmutex.release_owner('me', 2)";
    for left in ["2", "1", "0"] {
        assert_eq!(s.ask(release).await, left);
    }
    for batch in ["0", "1001", "-1", "null"] {
        let call = format!("release_owner('me', {batch})");
        assert_eq!(s.refusal(&call).await.0, "PM003", "{batch}");
    }
}

#[tokio::test]
async fn an_earlier_place_is_not_carried_into_a_line_that_is_joined_only_now() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    s.ask(&answers(&all(&["x", "y"], "holder", ""))).await;
    s.ask(&answers(&all(&["x"], "a", WAIT))).await;
    s.ask(&answers(&all(&["y"], "c", WAIT))).await;
    s.ask(&answers(&all(&["x", "y"], "a", WAIT))).await;
    assert_eq!(lines(&s).await, "x a, y c, y a");
    s.ask("select count(*)::text from pgmutex.release_owner('holder')")
        .await;
    assert_eq!(
        s.ask(&answers(&all(&["x", "y"], "a", WAIT))).await,
        "y queued c"
    );
    assert_eq!(
        s.ask(&answers(&all(&["y"], "c", WAIT))).await,
        "y captured c"
    );
}

#[tokio::test]
async fn who_was_taken_for_dead_in_one_line_begins_again_in_all() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    s.ask(&answers(&all(&["x", "y"], "holder", ""))).await;
    s.ask(&answers(&all(&["x", "y"], "a", WAIT))).await;
    s.run("update pgmutex.mutex_waiter set seen_at = seen_at - interval '1 day'")
        .await;
    assert_eq!(
        s.ask("select outcome from pgmutex.capture('tests', 'step', 'x', 'c', wait => true)")
            .await,
        "queued"
    );
    assert_eq!(lines(&s).await, "x c, y a");
    s.ask(&answers(&all(&["x", "y"], "a", WAIT))).await;
    s.ask("select count(*)::text from pgmutex.release_owner('holder')")
        .await;
    assert_eq!(
        s.ask(&answers(&all(&["x", "y"], "a", WAIT))).await,
        "x queued c"
    );
    assert_eq!(
        s.ask(&answers(&all(&["x"], "c", WAIT))).await,
        "x captured c"
    );
}
