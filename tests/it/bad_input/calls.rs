//! Calls that are refused leave everything as it was; nulls, filters and schema names that nobody
//! expects.

use std::time::Duration;

use pgmutex::{Error, MutexId, MutexQuery, MutexState, Mutexes, Page, SchemaName};

use super::refusal;
use crate::support::{Database, mutex_id, owner};

/// What can be told apart about holds and tokens: rows, their versions, and the sequence.
const STATE: &str = "select concat((select string_agg(concat_ws(' ', m, m.xmin, m.xmax, m.ctid), ', ' order by m.fencing_token) from pgmutex.mutex_model m), \
                     ' last token ', (select last_value from pgmutex.fencing_token_sequence))";

#[tokio::test]
async fn a_refused_call_changes_nothing_also_in_a_larger_transaction() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.capture("mine", "me").await;
    let long = |bytes: usize| format!("repeat('x', {bytes})");
    let mine = "'tests', 'step', 'mine'";
    let calls = [
        "capture('', '', '', 'me')".to_owned(),
        "capture('tests', 'step', 'new', '')".to_owned(),
        format!("capture({mine}, 'me', status_data => {})", long(65_537)),
        format!(
            "capture({mine}, 'me', auto_release_rule => 'timeout', auto_release_config => '0')"
        ),
        format!("capture({mine}, 'me', auto_release_rule => 'connection')"),
        format!(
            "capture('tests', 'step', 'new', 'me', owner_host => {})",
            long(1601)
        ),
        format!("refresh({mine}, 'me', status_data => {})", long(65_537)),
        format!("refresh({mine}, '')"),
        format!("release('tests', 'step', {}, 'me')", long(1601)),
        format!("release({mine}, {})", long(401)),
        "request('', '', '', 'me')".to_owned(),
        format!("request({}, 'step', 'mine', 'me')", long(401)),
        format!("evict({mine}, null)"),
        "force_release('', '', '')".to_owned(),
        "sweep(0)".to_owned(),
        "sweep(1001)".to_owned(),
        "list(page_start => -1)".to_owned(),
        "list(page_size => -2)".to_owned(),
    ];
    let before = session.ask(STATE).await;
    for call in &calls {
        let error = session
            .try_ask(&format!("select '' from pgmutex.{call}"))
            .await;
        assert_eq!(refusal(error.unwrap_err()).0, "PM003", "{call}");
        assert_eq!(session.ask(STATE).await, before, "{call}");
    }
    session.run("begin").await;
    session.capture("other", "me").await;
    let before = session.ask(STATE).await;
    for call in &calls {
        session.run("savepoint before").await;
        let error = session
            .try_ask(&format!("select '' from pgmutex.{call}"))
            .await;
        assert_eq!(refusal(error.unwrap_err()).0, "PM003", "{call}");
        session.run("rollback to savepoint before").await;
        assert_eq!(session.ask(STATE).await, before, "{call}");
    }
    session.run("commit").await;
    assert_eq!(session.capture("other", "you").await, "busy");
}

#[tokio::test]
async fn what_rust_refuses_leaves_the_callers_transaction_usable() {
    let database = Database::fresh().await;
    let (mutexes, mut client) = (database.mutexes().await, database.client().await);
    let transaction = client.transaction().await.unwrap();
    let inside = mutexes.in_transaction(&transaction);
    let m = mutex_id("m");
    let refused = inside
        .capture(&m)
        .timeout(Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::InvalidRule { .. }), "{refused}");
    let refused = inside.capture(&m).status_data("\0").await.unwrap_err();
    assert!(matches!(refused, Error::InvalidInput { .. }), "{refused}");
    inside.capture(&m).await.unwrap();
    let refused = inside
        .refresh(&m)
        .status_data("x".repeat(65_537))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::InvalidInput { .. }), "{refused}");
    transaction.commit().await.unwrap();
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
}

#[tokio::test]
async fn every_function_refuses_nulls() {
    let database = Database::fresh().await;
    let session = database.session().await;
    // The functions that callers call, from the catalog, so that new ones are not forgotten; where
    // null means 'any', it is a filter, and where it can only mean 'no', it does.
    let calls = "select string_agg(format('%s(%s)', oid::regproc, (select string_agg('null::' || argument::regtype, ', ') from unnest(proargtypes) argument)), ';') \
                 from pg_proc where pronamespace = 'pgmutex'::regnamespace and prosecdef and pronargs > 0 and proname not like 'list%' and proname not in ('attach_session', 'pool_statistics')";
    let mut calls: Vec<String> = session
        .ask(calls)
        .await
        .split(';')
        .map(str::to_owned)
        .collect();
    for verb in [
        "capture",
        "refresh",
        "release",
        "request",
        "evict",
        "force_release",
        "sweep",
        "keep",
        "leave_line",
        "look_at_lines",
        "capture_each",
        "capture_all",
        "release_each",
        "release_owner",
        "capture_together",
        "refresh_together",
        "release_together",
    ] {
        assert!(
            calls
                .iter()
                .any(|call| call.starts_with(&format!("pgmutex.{verb}("))),
            "{verb}"
        );
    }
    let required = [
        ("capture", "me"),
        ("refresh", "me"),
        ("release", "me"),
        ("request", "me"),
        ("evict", "7"),
        ("leave_line", "me"),
        ("force_release", "why"),
    ];
    for (function, last) in required {
        let arguments = ["g", "m", "i", last].map(|text| format!("'{text}'"));
        for null in 0..if function == "force_release" { 3 } else { 4 } {
            let mut arguments = arguments.clone();
            arguments[null] = "null".to_owned();
            calls.push(format!("pgmutex.{function}({})", arguments.join(", ")));
        }
    }
    calls.extend(
        [
            "keep(null, '{m}', '{i}', '{7}')",
            "keep('{g}', '{m,m}', '{i}', '{7}')",
            "keep('{g}', '{m}', '{i}', '{null}')",
            "keep('{g,g}', '{m,m}', '{i,i}', '{7,null}')",
            "look_at_lines(null, true)",
            "look_at_lines(7, null)",
            "capture('g', 'm', 'i', 'me', access => null)",
            "capture_each(null)",
            "capture_each('[]', null)",
            "capture_each('null')",
            "capture_each('[null]')",
            "capture_each('[{\"mutex_id\": \"i\", \"owner_session\": null}]')",
            "capture_all(null)",
            "capture_all('[]', 'null')",
            "capture_all('[{\"mutex_id\": null, \"owner_session\": \"me\"}]')",
            "release_each(null)",
            "release_each('[{\"mutex_id\": \"i\"}]')",
            "release_owner(null)",
            "release_owner('')",
            "release_owner('me', null)",
            "refresh_together('{g,g}', '{m}', '{i}', '{me}', '{7}', '{s}')",
            "refresh_together('{g}', '{m}', '{i}', '{me}', '{7}', null)",
            "release_together('{g}', '{m}', '{i,i}', '{}', '{7}')",
            "release_together('{g}', '{m}', array_fill('i'::text, array[1001]), '{me}', '{7}')",
            "release_together('{g}', '{m}', '{{i}}', '{me}', '{7}')",
            // Their elements are not where one looks for them.
            "release_together('{g}', '{m}', '[0:1]={i,j}', '{me}', '{7}')",
            "release_together('{g}', '[2:3]={m,n}', '{i,j}', '{me}', '{7}')",
            "refresh_together('{g}', '{m}', '{i,j}', '{me}', '[0:1]={7,8}', '{s}')",
            "refresh_together('{g}', '{m}', '{i,j}', '{me}', '{7}', '[0:0]={s}')",
        ]
        .map(|call| format!("pgmutex.{call}")),
    );
    for call in calls {
        let error = session.try_ask(&format!("select '' from {call}")).await;
        assert_eq!(refusal(error.expect_err(&call)).0, "PM003", "{call}");
    }
    // What may be left out may be null.
    let outcome = "select outcome from pgmutex.capture('g', 'm', 'i', 'me', null, null, null, null, null, null, null, permits => null, wait => null, listener => null, while_holding => null)";
    assert_eq!(session.ask(outcome).await, "captured");
    let held = "select concat_ws('/', owner_host, owner_id, owner_login, owner_name, auto_release_rule, auto_release_config) from pgmutex.held";
    assert_eq!(session.ask(held).await, "////timeout/300");
    let listed = "select count(*)::text from pgmutex.list(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)";
    assert_eq!(session.ask(listed).await, "1");
    let number = "select (pgmutex.attach_session(null) > 0)::text";
    assert_eq!(session.ask(number).await, "true");
    for nothing in [
        "keep('{}', '{}', '{}', '{}')",
        "capture_each('[]')",
        "capture_all('[]', wait => null, while_holding => '{}')",
        "release_each('[]', durable => null)",
        "release_together('{g}', '{m}', '{}', '{me}', '{7}', durable => null)",
        // What is said of one request makes no sense: it is not decided about.
        "release_together('{null}', '{m}', '{i}', '{me}', '{7}')",
        "refresh_together('{g}', '{m}', '{i}', '{null}', '{7}', '{s}')",
        "look_at_lines(7, true, null)",
        "look_at_lines(7, true, '{}')",
    ] {
        let rows = format!("select count(*)::text from pgmutex.{nothing}");
        assert_eq!(session.ask(&rows).await, "0", "{nothing}");
    }
}

#[tokio::test]
async fn filters_that_nothing_can_fit_find_nothing_or_are_refused() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes.capture(mutex_id("m")).await.unwrap();
    let (all, long) = (MutexQuery::all, "x".repeat(1 << 20));
    for filter in [
        all().group(&long),
        all().mutex_id_prefix(&long),
        all().session_id(&long),
        all().login("𝄞"),
    ] {
        assert_eq!(mutexes.list(&filter).await.unwrap(), Page::default());
    }
    for filter in [
        all().group("\0"),
        all().mutex_id_prefix("m\0"),
        all().user_id("\0"),
    ] {
        let refused = mutexes.list(&filter).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    }
    for reason in ["a\0b".to_owned(), "é".repeat(801)] {
        let refused = mutexes
            .force_release(&mutex_id("m"), reason)
            .await
            .unwrap_err();
        assert!(
            matches!(
                refused,
                Error::InvalidInput {
                    field: "reason",
                    ..
                }
            ),
            "{refused}"
        );
    }
    assert_eq!(mutexes.count(&all()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_schema_with_quotes_in_its_name_works_like_any_other() {
    let database = Database::empty().await;
    let schema = SchemaName::new("we\"ird 'schema'").unwrap();
    let builder = Mutexes::builder().schema(schema.clone());
    let mutexes = builder.connect(database.url()).await.unwrap();
    let applied = mutexes.migrate().await.unwrap().applied;
    assert!(!applied.is_empty());
    assert!(mutexes.migrate().await.unwrap().applied.is_empty());
    mutexes.verify().await.unwrap();
    let id = MutexId::new("o'brien", "\"", "'; drop schema public; --").unwrap();
    let (me, you) = (owner("it's \"me\""), owner("you"));
    let captured = mutexes.capture(&id).owner(me.clone()).await.unwrap();
    assert!(
        mutexes
            .capture(&id)
            .owner(you.clone())
            .await
            .unwrap_err()
            .is_busy()
    );
    let refreshed = mutexes.refresh(&id).owner(me.clone()).await.unwrap();
    assert_eq!(refreshed.fencing_token, captured.fencing_token);
    let state = mutexes.request_by(&id, &you).await.unwrap();
    assert_eq!(state, MutexState::CapturedByOther(refreshed.clone()));
    let page = mutexes.list(&MutexQuery::all().mutex_id_prefix("'")).await;
    assert_eq!(page.unwrap().mutexes, [refreshed]);
    assert!(mutexes.release(&id).owner(me).await.unwrap().is_released());
    mutexes.capture(&id).owner(you).await.unwrap();
    mutexes.force_release(&id, "quo'te").await.unwrap();
    assert_eq!(mutexes.sweep().await.unwrap(), 0);
    // Everything is in that schema, and nothing elsewhere.
    let session = database.session().await;
    let schemas = "select string_agg(distinct relnamespace::regnamespace::text, ', ') from pg_class \
                   where relnamespace::regnamespace::text not in ('pg_catalog', 'pg_toast', 'information_schema')";
    assert_eq!(session.ask(schemas).await, "\"we\"\"ird 'schema'\"");
    for name in ["", "x\0", "pg_mutex", &"x".repeat(64)] {
        let refused = SchemaName::new(name).unwrap_err();
        assert!(
            matches!(
                refused,
                Error::InvalidInput {
                    field: "schema",
                    ..
                }
            ),
            "{refused}"
        );
    }
}
