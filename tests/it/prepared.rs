//! Statements that are prepared, where they may be, and what happens when one is not what was
//! prepared.

use std::{env, process::Command, time::Duration};

use pgmutex::{
    CaptureOutcome, MutexQuery, Mutexes, PreparedStatements, SchemaName,
    deadpool_postgres::{Object, Pool},
    pool_for_url,
    private_server::PrivatePostgres,
};
use tokio::time::timeout;

use crate::{
    guards::must,
    support::{Database, Proxy, mutex_id, owner, pool_of, run_in_private_server},
};

/// Mutexes on a pool of one connection, and that pool.
fn on_one_connection(url: &str, prepared_statements: PreparedStatements) -> (Mutexes, Pool) {
    let pool = pool_of(url, 1);
    let mutexes = Mutexes::builder()
        .prepared_statements(prepared_statements)
        .pool(pool.clone());
    (mutexes, pool)
}

pub(crate) async fn prepared(pool: &Pool) -> Vec<String> {
    let client = pool.get().await.unwrap();
    let rows = client
        .query_typed(
            "select split_part(split_part(statement, '.', 2), '(', 1) from pg_prepared_statements order by 1",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn run(pool: &Pool, statement: &str) {
    let client = pool.get().await.unwrap();
    client.batch_execute(statement).await.unwrap();
}

/// Closes the pool's connection: the next call opens another.
pub(crate) async fn reconnect(pool: &Pool) {
    drop(Object::take(pool.get().await.unwrap()));
}

/// A capture by someone new, a refresh and a release: all of them succeed.
async fn goes_on(mutexes: &Mutexes, session_id: &str) {
    let id = mutex_id("goes on");
    let captured = mutexes.capture(&id).owner(owner(session_id)).await.unwrap();
    assert_eq!(captured.outcome, CaptureOutcome::Captured);
    mutexes.refresh(&id).owner(owner(session_id)).await.unwrap();
    let released = mutexes.release(&id).owner(owner(session_id)).await.unwrap();
    assert!(released.is_released());
}

/// The same, after which nothing is prepared any more.
async fn goes_on_without(mutexes: &Mutexes, pool: &Pool) {
    goes_on(mutexes, "a").await;
    reconnect(pool).await;
    goes_on(mutexes, "a").await;
    assert_eq!(prepared(pool).await, [""; 0]);
}

const HOT: [&str; 3] = ["capture", "refresh", "release"];

#[tokio::test]
async fn a_statement_is_prepared_once_for_each_connection() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let (mutexes, pool) = on_one_connection(proxy.url(), PreparedStatements::Always);
    goes_on(&mutexes, "a").await;
    assert_eq!(prepared(&pool).await, HOT);
    let before = proxy.requests();
    for session_id in ["a", "b", "c"] {
        goes_on(&mutexes, session_id).await;
    }
    assert_eq!(proxy.requests() - before, 9);
    assert_eq!(prepared(&pool).await, HOT);
    reconnect(&pool).await;
    goes_on(&mutexes, "a").await;
    assert_eq!(prepared(&pool).await, HOT);
}

#[tokio::test]
async fn nothing_is_prepared_where_that_is_said_nor_before_it_is_known_to_be_safe() {
    let database = Database::fresh().await;
    for wanted in [PreparedStatements::Never, PreparedStatements::WhereDirect] {
        let (mutexes, pool) = on_one_connection(database.url(), wanted);
        goes_on(&mutexes, "a").await;
        assert_eq!(prepared(&pool).await, [""; 0], "{wanted:?}");
    }
    let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Never);
    for _ in 0..200 {
        goes_on(&mutexes, "a").await;
    }
    assert_eq!(prepared(&pool).await, [""; 0]);
}

#[tokio::test]
async fn where_connections_lead_straight_to_the_server_that_is_found_out() {
    let database = Database::fresh().await;
    let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::default());
    let found_out = async {
        while prepared(&pool).await != HOT {
            goes_on(&mutexes, "a").await;
        }
    };
    timeout(Duration::from_secs(60), found_out)
        .await
        .expect("it is never found out");
}

#[tokio::test]
async fn nothing_is_prepared_in_a_transaction_of_the_callers() {
    let database = Database::fresh().await;
    let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
    let mut client = pool.get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let id = mutex_id("m");
    let within = mutexes.in_transaction(&transaction);
    within.capture(&id).owner(owner("a")).await.unwrap();
    within.release(&id).owner(owner("a")).await.unwrap();
    transaction.commit().await.unwrap();
    drop(client);
    assert_eq!(prepared(&pool).await, [""; 0]);
}

#[tokio::test]
async fn another_default_isolation_is_found_out_by_a_prepared_statement_too() {
    let database = Database::fresh().await;
    let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
    run(
        &pool,
        "set default_transaction_isolation = 'repeatable read'",
    )
    .await;
    goes_on(&mutexes, "a").await;
}

/// The name of a hot statement that is prepared, its text and the types of its parameters.
pub(crate) async fn statement_of(pool: &Pool, function: &str) -> (String, String, String) {
    let client = pool.get().await.unwrap();
    let rows = client
        .query_typed(
            "select name, statement, array_to_string(parameter_types, ', ') from pg_prepared_statements",
            &[],
        )
        .await
        .unwrap();
    let calls = format!(".{function}(");
    let mut found = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2)));
    found
        .find(|(_, statement, _): &(String, String, String)| statement.contains(&calls))
        .unwrap()
}

/// Puts another statement in the place of the prepared capture, as a session that a pooler lends may
/// have it.
async fn replace_capture(pool: &Pool, replace: impl FnOnce(&str) -> String) {
    let (name, statement, types) = statement_of(pool, "capture").await;
    let other = replace(&statement);
    assert_ne!(other, statement);
    let types = match other.contains('$') {
        true => format!("({types})"),
        false => String::new(),
    };
    run(
        pool,
        &format!("deallocate {name}; prepare {name} {types} as {other}"),
    )
    .await;
}

/// With a status and without: both are sent where a release has something else.
async fn refresh_in_both_ways(mutexes: &Mutexes, session_id: &str) {
    for status in [Some("a status"), None, Some("\u{1}")] {
        let id = mutex_id("refreshed");
        let captured = mutexes.capture(&id).owner(owner(session_id)).await.unwrap();
        let mut refresh = mutexes.refresh(&id).owner(owner(session_id));
        if let Some(status) = status {
            refresh = refresh.status_data(status);
        }
        let refreshed = refresh.await.unwrap();
        assert_eq!(refreshed.status_data.as_deref(), status);
        assert_eq!(refreshed.fencing_token, captured.mutex.fencing_token);
        let released = mutexes.release(&id).owner(owner(session_id)).await.unwrap();
        assert!(released.is_released());
    }
}

#[tokio::test]
async fn hot_statements_that_are_mixed_up_do_nothing_and_the_calls_are_made_again() {
    let database = Database::fresh().await;
    for (one, another) in [
        ("capture", "refresh"),
        ("refresh", "release"),
        ("release", "capture"),
    ] {
        let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
        refresh_in_both_ways(&mutexes, "a").await;
        let (one, another) = (
            statement_of(&pool, one).await,
            statement_of(&pool, another).await,
        );
        for (name, statement, types) in [
            (&one.0, &another.1, &another.2),
            (&another.0, &one.1, &one.2),
        ] {
            run(
                &pool,
                &format!("deallocate {name}; prepare {name} ({types}) as {statement}"),
            )
            .await;
        }
        refresh_in_both_ways(&mutexes, "a").await;
        goes_on_without(&mutexes, &pool).await;
        assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn another_statement_of_this_library_that_has_the_name_does_nothing() {
    for plan in ["force_generic_plan", "force_custom_plan"] {
        let database = Database::fresh().await;
        let elsewhere = Mutexes::builder()
            .schema(SchemaName::new("elsewhere").unwrap())
            .pool(pool_for_url(database.url()).unwrap());
        elsewhere.migrate().await.unwrap();
        let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
        goes_on(&mutexes, "a").await;
        run(&pool, &format!("set plan_cache_mode = {plan}")).await;
        replace_capture(&pool, |statement| {
            statement
                .replace("\"pgmutex\".", "\"elsewhere\".")
                .replace("'pgmutex/", "'elsewhere/")
        })
        .await;
        let id = mutex_id("m");
        let captured = mutexes.capture(&id).owner(owner("a")).await.unwrap();
        let held = mutexes.list(&MutexQuery::all()).await.unwrap();
        assert_eq!(held.mutexes, [captured.mutex]);
        assert_eq!(elsewhere.count(&MutexQuery::all()).await.unwrap(), 0);
        goes_on_without(&mutexes, &pool).await;
        assert_eq!(elsewhere.count(&MutexQuery::all()).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn without_its_gate_the_other_statement_would_have_captured() {
    let database = Database::fresh().await;
    let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
    goes_on(&mutexes, "a").await;
    replace_capture(&pool, |statement| {
        let gate = statement.find(" where ").unwrap();
        let (open, closed) = (statement[..gate].to_owned(), &statement[gate..]);
        format!("{open}{}", closed.replace(" = ", " <> '' or '' = "))
    })
    .await;
    let captured = mutexes.capture(mutex_id("m")).owner(owner("a")).await;
    assert_eq!(captured.unwrap().outcome, CaptureOutcome::Captured);
    // By the statement that was put in the place of the prepared one: that was not noticed.
    reconnect(&pool).await;
    goes_on(&mutexes, "a").await;
    assert_eq!(prepared(&pool).await, HOT);
}

#[tokio::test]
async fn a_statement_with_other_parameters_or_another_answer_ends_the_preparing() {
    let database = Database::fresh().await;
    for other in [
        "select 1",
        "select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19",
    ] {
        let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
        goes_on(&mutexes, "a").await;
        replace_capture(&pool, |_| other.to_owned()).await;
        goes_on_without(&mutexes, &pool).await;
    }
}

#[tokio::test]
async fn a_statement_with_parameters_of_other_types_ends_the_preparing() {
    let database = Database::fresh().await;
    let places: Vec<String> = (1..=19).map(|place| format!("${place}")).collect();
    for (place, other) in [(0, "boolean"), (13, "text")] {
        let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
        goes_on(&mutexes, "a").await;
        let (name, _, types) = statement_of(&pool, "capture").await;
        let mut types: Vec<&str> = types.split(", ").collect();
        assert_ne!(types[place], other);
        types[place] = other;
        run(
            &pool,
            &format!(
                "deallocate {name}; prepare {name} ({}) as select {}",
                types.join(", "),
                places.join(", ")
            ),
        )
        .await;
        goes_on_without(&mutexes, &pool).await;
    }
}

#[tokio::test]
async fn statements_that_are_gone_are_done_without() {
    let database = Database::fresh().await;
    let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
    goes_on(&mutexes, "a").await;
    run(&pool, "discard all").await;
    goes_on_without(&mutexes, &pool).await;
}

const DATABASE: &str = "PGMUTEX_TEST_TAKEN_NAMES_DATABASE";

/// The driver counts the statements of a whole process: this one has a process of its own, where no other
/// test drives the count on.
#[tokio::test]
async fn a_name_that_is_taken_is_done_without() {
    if let Ok(url) = env::var(DATABASE) {
        return must(names_are_taken(&url)).await;
    }
    let database = Database::fresh().await;
    let alone = Command::new(env::current_exe().unwrap())
        .args(["prepared::a_name_that_is_taken_is_done_without", "--exact"])
        .env(DATABASE, database.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(
        alone.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

async fn names_are_taken(url: &str) {
    let (mutexes, pool) = on_one_connection(url, PreparedStatements::Always);
    // These are the next ones.
    let client = pool.get().await.unwrap();
    let last = client.prepare("select 1").await.unwrap();
    let name: String = client
        .query_typed("select name from pg_prepared_statements", &[])
        .await
        .unwrap()[0]
        .get(0);
    let number: usize = name.trim_start_matches('s').parse().unwrap();
    let taken: String = (number + 1..number + 2_000)
        .map(|number| format!("prepare s{number} as select 1;"))
        .collect();
    client.batch_execute(&taken).await.unwrap();
    drop((last, client));
    goes_on(&mutexes, "a").await;
    reconnect(&pool).await;
    goes_on(&mutexes, "a").await;
    assert_eq!(prepared(&pool).await, [""; 0]);
}

#[tokio::test]
async fn functions_may_be_replaced_meanwhile() {
    let database = Database::fresh().await;
    let (mutexes, pool) = on_one_connection(database.url(), PreparedStatements::Always);
    let client = database.client().await;
    for function in HOT {
        goes_on(&mutexes, "a").await;
        let row = client
            .query_one(
                "select pg_get_functiondef(oid), oid::regprocedure::text from pg_proc \
                 where pronamespace = 'pgmutex'::regnamespace and proname = $1",
                &[&function],
            )
            .await
            .unwrap();
        let (definition, signature): (String, String) = (row.get(0), row.get(1));
        client.batch_execute(&definition).await.unwrap();
        goes_on(&mutexes, "a").await;
        client
            .batch_execute(&format!("drop function {signature}; {definition}"))
            .await
            .unwrap();
        goes_on(&mutexes, "a").await;
    }
    assert_eq!(prepared(&pool).await, HOT);
}

#[tokio::test]
async fn a_function_that_answers_with_other_types_is_prepared_anew() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let (mutexes, pool) = on_one_connection(proxy.url(), PreparedStatements::Always);
    goes_on(&mutexes, "a").await;
    // The same function behind another, one column of whose answer is of another type.
    let client = database.client().await;
    client
        .batch_execute(
            "create schema behind; alter function pgmutex.release set schema behind; \
             do $$ declare columns text; answer text; begin \
             select string_agg(format('%I %s', attname, given), ', ' order by attnum), \
                    string_agg(format('(r).%I::%s', attname, given), ', ' order by attnum) \
             into columns, answer \
             from (select attname, attnum, case attname when 'ticket' then 'integer' else format_type(atttypid, atttypmod) end as given \
                   from pg_attribute where attrelid = 'pgmutex.hold_outcome'::regclass and attnum > 0) a; \
             execute format('create function pgmutex.release(text, text, text, text, bigint, boolean) returns table (%s) \
                             language sql as $sql$ select %s from behind.release($1, $2, $3, $4, $5, $6) r $sql$', columns, answer); \
             end $$",
        )
        .await
        .unwrap();
    goes_on(&mutexes, "a").await;
    let before = proxy.requests();
    goes_on(&mutexes, "a").await;
    assert_eq!(proxy.requests() - before, HOT.len());
    assert_eq!(prepared(&pool).await, HOT);
}

#[tokio::test]
async fn a_server_that_was_restarted_prepares_anew() {
    let (mut server, other) = run_in_private_server(PrivatePostgres::builder()).await;
    drop(other);
    let url = server.url("postgres");
    let (mutexes, pool) = on_one_connection(&url, PreparedStatements::Always);
    goes_on(&mutexes, "a").await;
    let _server = tokio::task::spawn_blocking(move || {
        server.stop().unwrap();
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    goes_on(&mutexes, "a").await;
    assert_eq!(prepared(&pool).await, HOT);
}
