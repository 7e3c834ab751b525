//! Rows that another program wrote straight into the table, with only the columns it knows and
//! whatever it thought a setting or a time looks like. Each is read, held or over as `rule_ends_at`
//! documents, evicted and swept like any other, and spoils nothing for its neighbours. Nor does
//! what that program does to the table itself.

use chrono::{DateTime, TimeDelta, Utc};
use pgmutex::{AutoRelease, CaptureOutcome, Error, ForceReleased, MutexQuery, MutexState, Mutexes};
use tokio_postgres::Client;

use crate::support::{Database, Session, mutex_id, owner};

/// Writes a hold of `tests/step/<id>` as the old program does. The time is a text for the server to
/// read.
async fn insert(client: &Client, id: &str, rule: &str, config: &str, captured_since: &str) {
    let statement = "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, \
                     owner_session, owner_host, owner_id, owner_login, owner_name, \
                     auto_release_rule, auto_release_config, captured_since, status_data) \
                     values ('tests', 'step', $1, 'django', '10.0.0.1', '7', 'ada', 'Ada', $2, $3, $4::text::timestamptz, 'editing')";
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&id, &rule, &config, &captured_since];
    client.execute(statement, &parameters).await.unwrap();
}

/// When a row is over, in seconds from its `captured_since`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    After(i64),
    /// Long ago, whenever that was.
    Before,
    /// At once, and not by time.
    Gone,
    /// Not in this age, or only when someone decides so.
    Never,
}

use End::{After, Before, Gone, Never};

/// What other programs have been seen to write, or might.
const SHAPES: [(&str, &str, End); 53] = [
    ("timeout", "300", After(300)),
    ("timeout", " 900 ", After(900)),
    ("timeout", "\t900\r\n", After(900)),
    ("timeout", "+900", After(900)),
    ("timeout", "00900", After(900)),
    ("timeout", "0", After(0)),
    ("timeout", "-0", After(0)),
    ("timeout", "-5", After(-5)),
    ("timeout", "3153600000", After(3_153_600_000)),
    ("timeout", "-3153600000", After(-3_153_600_000)),
    ("timeout", "3153600001", Never),
    ("timeout", "99999999999999999999", Never),
    ("timeout", "-3153600001", Before),
    ("timeout", "-99999999999999999999", Before),
    // What is no whole number counts as 300.
    ("timeout", "", After(300)),
    ("timeout", "abc", After(300)),
    ("timeout", "12.5", After(300)),
    ("timeout", "1e3", After(300)),
    ("timeout", "0x10", After(300)),
    ("timeout", "1_000", After(300)),
    ("timeout", "900 s", After(300)),
    ("timeout", "+-5", After(300)),
    ("timeout", "-", After(300)),
    ("timeout", "900\n1000", After(300)),
    ("timeout", "NaN", After(300)),
    ("timeout", "infinity", After(300)),
    ("timeout", "９００", After(300)),
    ("timeout", "\u{a0}900", After(300)),
    ("timeout", "{\"ttl\":\"soon\"}", After(300)),
    ("timeout", "{ttl:1", After(300)),
    // So does what is no time.
    ("deadline", "", After(300)),
    ("deadline", "soon", After(300)),
    ("deadline", "infinity", After(300)),
    ("deadline", "2026-02-31T00:00:00Z", After(300)),
    ("deadline", "2026-01-01T25:00:00Z", After(300)),
    ("deadline", "2026-01-01 10:00:00", After(300)),
    ("deadline", "2026-01-01T10:00:00 Europe/Berlin", After(300)),
    ("deadline", "20000-01-01T00:00:00Z", After(300)),
    ("deadline", "0000-01-01T00:00:00Z", After(300)),
    // What the database does not judge.
    ("", "", Never),
    ("never", "", Never),
    ("never", "300", Never),
    ("Timeout", "300", Never),
    (" timeout", "300", Never),
    ("ttl", "300", Never),
    // A session that nobody has is gone; what names no session counts as 300 seconds.
    ("connection", "17", Gone),
    ("connection", "17 300", Gone),
    ("connection", "17 soon", After(300)),
    ("connection", "", After(300)),
    ("connection", "soon", After(300)),
    ("connection", "1234567890123456789", After(300)),
    ("ConnectionAutoRelease", "{\"pid\": 1}", Never),
    ("таймаут", "300", Never),
];

/// Writes all of them, captured now, each under its number, and a good neighbour before each.
async fn insert_shapes(client: &Client) {
    for (number, (rule, config, _)) in SHAPES.iter().enumerate() {
        let id = |kind: &str| format!("{number:02} {kind}");
        insert(client, &id("neighbour"), "timeout", "86400", "now").await;
        insert(client, &id("strange"), rule, config, "now").await;
    }
}

/// The numbers of the strange rows that are still there.
async fn left(mutexes: &Mutexes) -> Vec<usize> {
    let page = mutexes.list(&MutexQuery::all().include_over()).await;
    let ids = page.unwrap().mutexes.into_iter().map(|mutex| mutex.id);
    ids.filter_map(|id| id.id().strip_suffix(" strange")?.parse().ok())
        .collect()
}

/// The numbers of the shapes that end like this.
fn that_end(how: impl Fn(End) -> bool) -> Vec<usize> {
    (0..SHAPES.len()).filter(|n| how(SHAPES[*n].2)).collect()
}

fn at_once(end: End) -> bool {
    matches!(end, Before | Gone | After(..=0))
}

async fn let_pass(client: &Client, interval: &str) {
    let statement = "update pgmutex.mutex_model set captured_since = captured_since - interval";
    let update = format!("{statement} '{interval}'");
    client.batch_execute(&update).await.unwrap();
}

#[tokio::test]
async fn every_shape_is_read_and_ends_when_the_documentation_says() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    insert_shapes(&client).await;
    let page = mutexes.list(&MutexQuery::all().include_over()).await;
    let all = page.unwrap().mutexes;
    assert_eq!(all.len(), 2 * SHAPES.len());
    for (mutex, (rule, config, end)) in all.iter().skip(1).step_by(2).zip(SHAPES) {
        let expected = match end {
            After(seconds) => Some(mutex.captured_since + TimeDelta::seconds(seconds)),
            Before => Some(DateTime::<Utc>::MIN_UTC),
            Gone if config == "17" => None,
            Gone => Some(mutex.captured_since + TimeDelta::seconds(300)),
            Never => (rule == "timeout").then_some(DateTime::<Utc>::MAX_UTC),
        };
        assert_eq!(mutex.expires_at, expected, "{rule} {config:?}");
        assert_eq!(mutex.auto_release, AutoRelease::restore(rule, config));
        assert_eq!(mutex.owner.name(), "Ada");
        assert_eq!(mutex.status_data.as_deref(), Some("editing"));
    }
    // Those that are held, and only those, are in the view, in a list and in the answer to a
    // request.
    let held = all.len() - that_end(at_once).len();
    let view = client.query("select * from pgmutex.held", &[]).await;
    assert_eq!(view.unwrap().len(), held);
    let listed = mutexes.list(&MutexQuery::all()).await.unwrap().mutexes;
    assert_eq!(listed.len(), held);
    for mutex in &all {
        let state = mutexes.request_by(&mutex.id, &owner("me")).await.unwrap();
        let expected = if listed.contains(mutex) {
            MutexState::CapturedByOther(mutex.clone())
        } else {
            MutexState::Free
        };
        assert_eq!(state, expected);
    }
}

#[tokio::test]
async fn a_sweep_takes_what_is_over_and_is_stopped_by_nothing() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    insert_shapes(&client).await;
    let swept = mutexes.sweep().await.unwrap() as usize;
    assert_eq!(swept, that_end(at_once).len());
    assert_eq!(left(&mutexes).await, that_end(|end| !at_once(end)));
    let_pass(&client, "1 hour").await;
    let swept = mutexes.sweep().await.unwrap() as usize;
    assert_eq!(swept, that_end(|end| matches!(end, After(1..3600))).len());
    let lasting = that_end(|end| matches!(end, After(3600..) | Never));
    assert_eq!(left(&mutexes).await, lasting);
    let all = mutexes.count(&MutexQuery::all()).await.unwrap() as usize;
    assert_eq!(all, SHAPES.len() + lasting.len());
}

#[tokio::test]
async fn another_session_is_refused_until_the_row_is_over_and_then_evicts_it() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    let capture = || mutexes.capture(mutex_id("m")).owner(owner("me"));
    for (rule, config, end) in SHAPES {
        insert(&client, "m", rule, config, "now").await;
        if !at_once(end) {
            let refused = capture().await.unwrap_err();
            assert!(refused.is_busy(), "{rule} {config:?}: {refused}");
            let_pass(&client, "1 day").await;
        }
        match (end, capture().await) {
            (Never | After(86_400..), answer) => assert!(answer.unwrap_err().is_busy()),
            (_, answer) => {
                let captured = answer.unwrap();
                let evicted = captured.evicted().unwrap();
                assert_eq!((&*evicted.session_id, &*evicted.name), ("django", "Ada"));
                assert!(captured.fencing_token > evicted.fencing_token);
            }
        }
        let forced = mutexes.force_release(&mutex_id("m"), "next").await;
        assert!(matches!(forced.unwrap(), ForceReleased::Released(_)));
    }
}

#[tokio::test]
async fn the_same_session_refreshes_its_row_which_keeps_its_rule_and_token() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    let (m, django) = (mutex_id("m"), owner("django"));
    let first = mutexes.capture(mutex_id("first")).await.unwrap();
    insert(&client, "m", "timeout", "soon", "now").await;
    let_pass(&client, "200 seconds").await;
    let state = mutexes.request_by(&m, &django).await.unwrap();
    let MutexState::CapturedByMe(before) = state else {
        panic!("{state:?}");
    };
    // The token that the row was given by default is in line with all others.
    assert!(before.fencing_token > first.fencing_token);
    let captured = mutexes.capture(&m).owner(django.clone()).await.unwrap();
    assert_eq!(captured.outcome, CaptureOutcome::Refreshed);
    assert_eq!(captured.fencing_token, before.fencing_token);
    assert_eq!(captured.auto_release, before.auto_release);
    assert_eq!(captured.status_data, before.status_data);
    assert!(captured.captured_since >= before.captured_since + TimeDelta::seconds(200));
    let refreshed = mutexes.refresh(&m).owner(django.clone()).await.unwrap();
    assert!(refreshed.captured_since > captured.captured_since);
    let released = mutexes.release(&m).owner(django).await.unwrap();
    assert!(released.is_released());
    let last = mutexes.capture(&m).await.unwrap();
    assert!(last.fencing_token > before.fencing_token);
}

#[tokio::test]
async fn naive_times_are_those_of_the_session_that_wrote_them() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    for (zone, expected) in [
        ("UTC", "2026-01-01T10:00:00Z"),
        ("Asia/Kamchatka", "2025-12-31T22:00:00Z"),
        ("America/New_York", "2026-01-01T15:00:00Z"),
    ] {
        let set = format!("set time zone '{zone}'");
        client.batch_execute(&set).await.unwrap();
        insert(&client, zone, "timeout", "300", "2026-01-01 10:00:00").await;
        let one = MutexQuery::all().include_over().mutex_id(zone);
        let page = mutexes.list(&one).await.unwrap();
        let expected: DateTime<Utc> = expected.parse().unwrap();
        assert_eq!(page.mutexes[0].captured_since, expected);
        // One that is fresh by the clock on the wall there is held, whatever the zone of those who
        // look.
        let wall = client.query_one("select localtimestamp::text", &[]).await;
        let fresh = mutex_id(&format!("fresh in {zone}"));
        insert(&client, fresh.id(), "timeout", "300", wall.unwrap().get(0)).await;
        let refused = mutexes.capture(&fresh).owner(owner("me")).await;
        assert!(refused.unwrap_err().is_busy());
    }
}

#[tokio::test]
async fn times_from_the_ends_of_the_calendar_are_read_and_judged() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    client.batch_execute("set time zone 'UTC'").await.unwrap();
    let times = [
        ("infinity", None, true),
        ("294276-12-31 23:59:59.999999", None, true),
        ("20000-01-01 00:00:00", Some("+20000-01-01T00:00:00Z"), true),
        ("9999-12-31 23:59:59", Some("9999-12-31T23:59:59Z"), true),
        ("0001-01-01 00:00:00", Some("0001-01-01T00:00:00Z"), false),
        (
            "0001-12-31 23:59:59 BC",
            Some("0000-12-31T23:59:59Z"),
            false,
        ),
        (
            "4713-01-01 00:00:00 BC",
            Some("-4712-01-01T00:00:00Z"),
            false,
        ),
        ("-infinity", None, false),
    ];
    for (rule, config) in [
        ("timeout", "300"),
        ("timeout", "-300"),
        ("timeout", "3153600000"),
        ("timeout", "-3153600000"),
        ("deadline", "soon"),
    ] {
        for (text, expected, is_held) in times {
            insert(&client, text, rule, config, text).await;
            let one = MutexQuery::all().include_over().mutex_id(text);
            let page = mutexes.list(&one).await.unwrap();
            let expected = match expected {
                Some(expected) => expected.parse().unwrap(),
                None if is_held => DateTime::<Utc>::MAX_UTC,
                None => DateTime::<Utc>::MIN_UTC,
            };
            assert_eq!(page.mutexes[0].captured_since, expected, "{text}");
            let held = mutexes.count(&MutexQuery::all()).await.unwrap();
            assert_eq!(held, u64::from(is_held), "{text} {rule} {config}");
            let swept = mutexes.sweep().await.unwrap();
            assert_eq!(swept, u64::from(!is_held), "{text} {rule} {config}");
            let remove = "delete from pgmutex.mutex_model";
            client.batch_execute(remove).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_row_without_an_owner_is_nobodys_until_it_is_over_or_forced_away() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    let nobodys = "update pgmutex.mutex_model set owner_session = '', owner_name = ''";
    let capture = || mutexes.capture(mutex_id("m")).owner(owner("me"));
    insert(&client, "m", "timeout", "300", "now").await;
    client.batch_execute(nobodys).await.unwrap();
    match capture().await {
        Err(Error::Busy { holder, .. }) => assert_eq!(holder.owner.session_id(), ""),
        answer => panic!("{answer:?}"),
    }
    let query = MutexQuery::all().session_id("");
    assert_eq!(mutexes.count(&query).await.unwrap(), 1);
    let forced = mutexes.force_release(&mutex_id("m"), "nobody's").await;
    assert!(matches!(forced.unwrap(), ForceReleased::Released(_)));
    insert(&client, "m", "timeout", "-1", "now").await;
    client.batch_execute(nobodys).await.unwrap();
    let captured = capture().await.unwrap();
    assert_eq!(captured.evicted().unwrap().session_id, "");
}

/// What every function answers, in a session that keeps its plans.
async fn answers(session: &Session) -> Vec<String> {
    let mut answers = Vec::new();
    for call in [
        "outcome from pgmutex.capture('tests', 'step', 'm', 'a', status_data => 'one')",
        "outcome from pgmutex.capture('tests', 'step', 'm', 'a')",
        "outcome || status_data from pgmutex.capture('tests', 'step', 'm', 'b')",
        "outcome || status_data from pgmutex.refresh('tests', 'step', 'm', 'a', status_data => 'two')",
        "outcome || status_data from pgmutex.request('tests', 'step', 'm', 'b')",
        "string_agg(owner_session || status_data, ' ') from pgmutex.list(mutex_group => 'tests')",
        "pgmutex.list_count(mutex_group => 'tests')::text",
        "string_agg(owner_session || status_data, ' ') from pgmutex.held",
        "outcome || status_data from pgmutex.release('tests', 'step', 'm', 'a')",
        "outcome from pgmutex.capture('tests', 'step', 'm', 'a', auto_release_rule => 'own')",
        "pgmutex.sweep()::text",
        "outcome from pgmutex.evict('tests', 'step', 'm', (select fencing_token from pgmutex.held))",
        "outcome from pgmutex.capture('tests', 'step', 'm', 'a', auto_release_rule => 'never')",
        "outcome from pgmutex.force_release('tests', 'step', 'm', 'test')",
    ] {
        answers.push(session.ask(&format!("select {call}")).await);
    }
    for step in [
        "pgmutex.sweep()::text",
        "outcome from pgmutex.capture('tests', 'step', 'm', 'b')",
    ] {
        session.capture("m", "a").await;
        session.age("m", "1 hour").await;
        answers.push(session.ask(&format!("select {step}")).await);
    }
    session.run("delete from pgmutex.mutex_model").await;
    answers
}

#[tokio::test]
async fn a_column_and_triggers_of_another_program_disturb_no_function() {
    let database = Database::fresh().await;
    let (session, other) = (database.session().await, database.session().await);
    let mutexes = database.mutexes().await;
    let before = answers(&session).await;
    assert_eq!(before[..3], ["captured", "refreshed", "busyone"]);
    assert_eq!(before[before.len() - 2..], ["1", "evicted"]);
    let captured = mutexes.capture(mutex_id("n")).await.unwrap();
    mutexes.release(&captured.id).await.unwrap();
    for change in [
        "alter table pgmutex.mutex_model add column note text default 'none', add column \"Größe\" integer",
        "create table journal (operation text, note text)",
        "create function journal() returns trigger language plpgsql as $$ begin \
             if tg_when = 'BEFORE' then new.note := 'noted'; \
             elsif tg_op = 'DELETE' then insert into public.journal values (tg_op, old.note); \
             else insert into public.journal values (tg_op, new.note); end if; \
             return new; end $$",
        "create trigger a before insert or update on pgmutex.mutex_model for each row execute function journal()",
        "create trigger b after insert or update or delete on pgmutex.mutex_model for each row execute function journal()",
        "alter table pgmutex.mutex_model drop column \"Größe\"",
    ] {
        other.run(change).await;
        assert_eq!(answers(&session).await, before, "after: {change}");
        let captured = mutexes.capture(mutex_id("n")).await.unwrap();
        let page = mutexes.list(&MutexQuery::all()).await.unwrap();
        assert_eq!(page.mutexes, [captured.mutex]);
        mutexes.release(&mutex_id("n")).await.unwrap();
    }
    // The triggers did run.
    let noted = "select string_agg(distinct concat_ws(' ', operation, note), ', ') from journal";
    assert_eq!(
        other.ask(noted).await,
        "DELETE noted, INSERT noted, UPDATE noted"
    );
}

#[tokio::test]
async fn triggers_that_suppress_changes_make_nothing_run_for_ever() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run("set statement_timeout = '10min'; create function nothing() returns trigger language plpgsql as 'begin return null; end'")
        .await;
    let suppress = |change: &str| {
        format!(
            "drop trigger if exists x on pgmutex.mutex_model; \
             create trigger x before {change} on pgmutex.mutex_model for each row execute function nothing()"
        )
    };
    let capture = "select outcome from pgmutex.capture('tests', 'step', 'm', 'a')";
    session.run(&suppress("insert")).await;
    let error = session.try_ask(capture).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM004");

    session.run("drop trigger x on pgmutex.mutex_model").await;
    assert_eq!(session.ask(capture).await, "captured");
    session.run(&suppress("update")).await;
    let error = session.try_ask(capture).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM004");

    session.run("drop trigger x on pgmutex.mutex_model").await;
    session.age("m", "1 hour").await;
    session.run(&suppress("delete")).await;
    assert_eq!(session.capture("m", "b").await, "busy");
    assert_eq!(session.ask("select pgmutex.sweep()::text").await, "0");
    let force = "select outcome from pgmutex.force_release('tests', 'step', 'm', 'test')";
    assert_eq!(session.ask(force).await, "busy");
    let swept = database.mutexes().await.sweep().await.unwrap();
    assert_eq!(swept, 0);
}
