//! The codes with which the program ends, where no other file has them.

use crate::{
    program::{Ended, pgmutex, run},
    running::{eventually, running},
    support::{Cut, Database, Proxy},
};

#[tokio::test]
async fn a_database_that_is_not_there_is_69() {
    let nowhere = "postgres://me:hidden@127.0.0.1:1/x?connect_timeout=2";
    for arguments in [
        &["list"][..],
        &["capture", "a/b/c"],
        &["sweep"],
        &["wait", "a/b/c"],
    ] {
        let ended = run(nowhere, arguments);
        assert_eq!(ended.code, Some(69), "{ended:?}");
        assert!(ended.said.contains("unavailable"), "{ended:?}");
        assert!(!ended.said.contains("hidden"), "{ended:?}");
        assert_eq!(ended.said.lines().count(), 1, "{ended:?}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_decide_is_69_and_may_be_looked_at() {
    let database = Database::fresh().await;
    let read_only = |arguments: &[&str]| {
        let mut command = pgmutex(arguments);
        command.env("DATABASE_URL", database.url());
        command.env("PGOPTIONS", "-c default_transaction_read_only=on");
        Ended::from(command.output().unwrap())
    };
    let refused = read_only(&["capture", "a/b/c"]);
    assert_eq!(refused.code, Some(69), "{refused:?}");
    assert!(refused.said.contains("primary"), "{refused:?}");
    assert_eq!(read_only(&["list"]).code, Some(0));
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_70() {
    let database = Database::fresh().await;
    let broken = "drop function pgmutex.sweep;
        create function pgmutex.sweep(batch integer default 1000) returns text language sql as $$ select 'many' $$";
    database.client().await.batch_execute(broken).await.unwrap();
    let ended = run(database.url(), &["sweep"]);
    assert_eq!(ended.code, Some(70), "{ended:?}");
    assert!(ended.said.contains("makes no sense"), "{ended:?}");
}

#[tokio::test]
async fn a_role_without_rights_is_77_and_is_told_who_can_help() {
    let database = Database::fresh().await;
    let (role, url) = database.role("").await;
    for arguments in [
        &["list"][..],
        &["show", "a/b/c"],
        &["capture", "a/b/c"],
        &["sweep"],
        &["pool", "stats"],
        &["force-release", "a/b/c", "--yes", "--reason", "x"],
    ] {
        let ended = run(&url, arguments);
        assert_eq!(ended.code, Some(77), "{arguments:?}: {ended:?}");
        assert!(ended.said.contains("pgmutex grant"), "{ended:?}");
    }
    let drop_role = format!("drop role {role}");
    database
        .client()
        .await
        .batch_execute(&drop_role)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_schema_that_is_missing_or_newer_is_78() {
    let database = Database::empty().await;
    let missing = run(database.url(), &["list"]);
    assert_eq!(missing.code, Some(78), "{missing:?}");
    assert!(
        missing.said.contains("run `pgmutex migrate`"),
        "{missing:?}"
    );

    let database = Database::fresh().await;
    let elsewhere = run(database.url(), &["list", "--schema", "elsewhere"]);
    assert_eq!(elsewhere.code, Some(78), "{elsewhere:?}");
    assert!(elsewhere.said.contains("elsewhere"), "{elsewhere:?}");
    let newer = "insert into pgmutex.refinery_schema_history (version, name, applied_on, checksum)
        values (9999, 'of_the_future', '2030-01-01T00:00:00Z', '1')";
    database.client().await.batch_execute(newer).await.unwrap();
    for arguments in [
        &["list"][..],
        &["capture", "a/b/c"],
        &["migrate"],
        &["migrate", "--check"],
    ] {
        let ended = run(database.url(), arguments);
        assert_eq!(ended.code, Some(78), "{arguments:?}: {ended:?}");
        assert!(
            ended.said.contains("9999") && ended.said.contains("newer"),
            "{ended:?}"
        );
    }
}

/// The proxy goes on while the test waits for the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_while_something_is_decided_is_80() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let client = database.client().await;
    client
        .batch_execute("begin; lock table pgmutex.pool_session in exclusive mode")
        .await
        .unwrap();
    let adding = running(proxy.url(), &["pool", "add", "accounts", "{}"]);
    let waits = "select count(*) from pg_locks where relation = 'pgmutex.pool_session'::regclass and not granted and database = (select oid from pg_database where datname = current_database())";
    eventually(async || client.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 1).await;
    proxy.set(Cut::Everything);
    let ended = adding.ended();
    client.batch_execute("commit").await.unwrap();
    assert_eq!(ended.code, Some(80), "{ended:?}");
    assert!(
        ended.said.contains("may have been carried out"),
        "{ended:?}"
    );
    assert_eq!(ended.output, "");
}

/// The answer is lost, not the capture: whoever is told the session finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_of_which_nobody_knows_says_by_which_session() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let client = database.client().await;
    client
        .batch_execute("begin; lock table pgmutex.mutex_model in exclusive mode")
        .await
        .unwrap();
    let capturing = running(proxy.url(), &["capture", "tests/step/1"]);
    let waits = "select count(*) from pg_locks where relation = 'pgmutex.mutex_model'::regclass and not granted and database = (select oid from pg_database where datname = current_database())";
    eventually(async || client.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 1).await;
    proxy.set(Cut::AnswersFromNowOn);
    client.batch_execute("commit").await.unwrap();
    let ended = capturing.ended();
    assert_eq!(ended.code, Some(80), "{ended:?}");
    let session = ended.said.split("--session ").nth(1);
    let session = session.and_then(|rest| rest.lines().next()).unwrap();
    let release = ["release", "tests/step/1", "--session", session];
    let released = run(database.url(), &release);
    assert!(released.output.starts_with("released "), "{released:?}");
}

#[test]
fn arguments_that_make_no_sense_are_2() {
    for wrong in [
        &[][..],
        &["sing"],
        &["list", "extra"],
        &["show"],
        &["show", "no-slashes"],
        &["show", "a/b/%zz"],
        &["capture", "a/b/c", "--session", ""],
        &["list", "--log", "=="],
        &["list", "--database-url", "mysql://x"],
        &["list", "--schema", ""],
        &["list", "--schema", "pg_own"],
    ] {
        let ended = Ended::from(
            pgmutex(wrong)
                .env("DATABASE_URL", "postgres://host/db")
                .output()
                .unwrap(),
        );
        assert_eq!(ended.code, Some(2), "{wrong:?}: {ended:?}");
        assert!(!ended.said.is_empty());
    }
}
