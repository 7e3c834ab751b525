//! However it ends, nothing is left behind.

use pgmutex::private_server::PrivatePostgres;

use super::is_gone;
use crate::{
    program::run,
    running::{eventually, running},
    support::{Database, Session, session_at},
};

/// A run that would take minutes.
const LONG: [&str; 5] = ["bench", "--scenario", "pairs", "--set", "full"];
/// One that takes its time to make so many holds.
const FILLING: [&str; 5] = ["bench", "--scenario", "rows", "--rows", "50000000"];

/// What somebody is at in this database.
fn at_work(database: &Database, what: &str) -> String {
    format!(
        "select count(*)::text from pg_stat_activity where datname = '{}' and pid <> pg_backend_pid() and query like '%{what}%'",
        database.name()
    )
}

async fn is_at(session: &Session, database: &Database, what: &str) {
    let question = at_work(database, what);
    eventually(async || session.ask(&question).await != "0").await;
}

/// A floor of the bench's is there, to be made to fail.
async fn has_floor(session: &Session) {
    let floors = "select count(*)::text from pg_tables where tablename = 'floor'";
    eventually(async || session.ask(floors).await == "1").await;
}

#[tokio::test]
async fn a_signal_ends_it_and_removes_what_it_made() {
    for (arguments, what, name, code) in [
        (LONG, "pgmutex_bench_%floor", "INT", 130),
        (
            FILLING,
            "insert into%pgmutex_bench_%generate_series",
            "INT",
            130,
        ),
        (LONG, "pgmutex_bench_%floor", "TERM", 143),
        (LONG, "pgmutex_bench_%floor", "HUP", 129),
    ] {
        let database = Database::empty().await;
        let session = database.session().await;
        let bench = running(database.url(), &arguments);
        is_at(&session, &database, what).await;
        assert!(
            !is_gone(&session).await,
            "{name}: there is nothing to remove"
        );
        bench.signal(name);
        let ended = bench.ended();
        assert_eq!(
            (ended.code, ended.output.as_str()),
            (Some(code), ""),
            "{ended:?}"
        );
        assert!(is_gone(&session).await, "{name}: {ended:?}");
        // Nobody is at work any more.
        let others = at_work(&database, "pgmutex_bench_");
        eventually(async || session.ask(&others).await == "0").await;
    }
}

#[tokio::test]
async fn an_error_in_the_middle_is_told_and_nothing_is_left() {
    let database = Database::empty().await;
    let session = database.session().await;
    let bench = running(database.url(), &LONG);
    has_floor(&session).await;
    let spoil = "do $$ declare place text; begin
                     select quote_ident(nspname) into place from pg_namespace where nspname like 'pgmutex\\_bench\\_%';
                     execute format('drop table %s.floor', place);
                 end $$";
    database.client().await.batch_execute(spoil).await.unwrap();
    let ended = bench.ended();
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(1), ""),
        "{ended:?}"
    );
    assert!(ended.said.contains("floor"), "{ended:?}");
    assert!(is_gone(&session).await, "{ended:?}");
}

#[tokio::test]
async fn whoever_does_not_get_into_line_ends_it() {
    let database = Database::empty().await;
    let session = database.session().await;
    let bench = running(
        database.url(),
        &["bench", "--scenario", "hand-over", "--set", "full"],
    );
    has_floor(&session).await;
    let shorten = "create function shorten() returns trigger language plpgsql as $f$ begin
                       if (select count(*) from mutex_waiter) >= 5 then raise 'the line is long enough'; end if;
                       return new;
                   end $f$;
                   do $$ declare place text; begin
                       select quote_ident(nspname) into place from pg_namespace where nspname like 'pgmutex\\_bench\\_%';
                       execute format('alter function shorten() set search_path = %s', place);
                       execute format('create trigger shorten before insert on %s.mutex_waiter for each row execute function public.shorten()', place);
                   end $$";
    database
        .client()
        .await
        .batch_execute(shorten)
        .await
        .unwrap();
    let ended = bench.ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.said.contains("long enough"), "{ended:?}");
    assert!(is_gone(&session).await, "{ended:?}");
}

#[tokio::test]
async fn where_no_more_connections_are_to_be_had_it_is_removed_all_the_same() {
    let database = Database::empty().await;
    let (role, url) = database.role("").await;
    let client = database.client().await;
    let allow = format!(
        "grant create on database \"{}\" to \"{role}\"",
        database.name()
    );
    client.batch_execute(&allow).await.unwrap();
    let session = database.session().await;
    let bench = running(&url, &LONG);
    // It is made to stand still: otherwise it might want one more connection before it is told to end.
    has_floor(&session).await;
    let in_the_way = database.session().await;
    in_the_way.run("begin").await;
    let stand_still = "do $$ declare place text; begin
                           select quote_ident(nspname) into place from pg_namespace where nspname like 'pgmutex\\_bench\\_%';
                           execute format('lock table %s.floor in share mode', place);
                       end $$";
    in_the_way.run(stand_still).await;
    let stands = format!(
        "select count(*)::text from pg_stat_activity where datname = '{}' and wait_event_type = 'Lock'",
        database.name()
    );
    eventually(async || session.ask(&stands).await != "0").await;
    let no_more = format!("alter role \"{role}\" connection limit 0");
    client.batch_execute(&no_more).await.unwrap();
    bench.signal("TERM");
    is_at(&session, &database, "drop schema").await;
    in_the_way.run("commit").await;
    let ended = bench.ended();
    assert_eq!(ended.code, Some(143), "{ended:?}");
    assert!(is_gone(&session).await, "{ended:?}");
}

#[tokio::test]
async fn what_another_run_has_left_is_named() {
    let database = Database::empty().await;
    let client = database.client().await;
    let left = "create schema pgmutex_bench_0123456789abcdef";
    client.batch_execute(left).await.unwrap();
    let ended = run(database.url(), &["bench", "--quick", "--scenario", "list"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let remedy = "drop schema if exists pgmutex_bench_0123456789abcdef cascade;";
    assert!(ended.said.contains(remedy), "{ended:?}");
    let session = database.session().await;
    let others =
        "select string_agg(nspname, ' ') from pg_namespace where nspname like 'pgmutex\\_bench%'";
    assert_eq!(session.ask(others).await, "pgmutex_bench_0123456789abcdef");
}

#[tokio::test]
async fn time_limits_for_others_do_not_end_it() {
    let database = Database::empty().await;
    let limit = format!(
        "alter database \"{}\" set statement_timeout = '300ms'",
        database.name()
    );
    let client = database.client().await;
    client.batch_execute(&limit).await.unwrap();
    // To make so many holds takes longer. Where the machine stands still, so does anything else, which is
    // limited: then once more.
    let bench = || {
        run(
            database.url(),
            &["bench", "--quick", "--scenario", "list", "--rows", "200000"],
        )
    };
    let mut ended = bench();
    for _ in 1..5 {
        if ended.said.contains("statement timeout") {
            ended = bench();
        }
    }
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_removed_is_named() {
    let server = PrivatePostgres::start().unwrap();
    let url = server.url("postgres");
    let mut bench = running(&url, &LONG);
    let session = session_at(&url).await;
    has_floor(&session).await;
    let mut server = server;
    server.crash().unwrap();
    // It tries again for as long as nobody says that it need not.
    let mut word = bench.word();
    while !word.contains("it is tried again") {
        assert!(!word.is_empty(), "it has ended");
        word = bench.word();
    }
    bench.signal("INT");
    bench.signal("INT");
    let ended = bench.ended();
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let remedy = "to remove it: drop schema if exists pgmutex_bench_";
    assert!(ended.said.contains(remedy), "{ended:?}");
}
