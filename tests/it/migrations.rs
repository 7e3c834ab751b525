//! Migrating: from many processes at once, cut off in the middle, over what others left behind; and
//! what comes of it.

use pgmutex::{
    Error, Mutexes, SchemaName, embedded_migrations,
    refinery::{Migration, Runner},
    run_migrations,
};

use crate::support::{Database, Session, mutex_id, owner};

/// How often each migration stands in the history.
const HISTORY: &str = "select string_agg(version || ' ' || name, ', ' order by version) from pgmutex.refinery_schema_history";

fn known() -> Vec<String> {
    let runner = embedded_migrations();
    let mut known: Vec<&Migration> = runner.get_migrations().iter().collect();
    known.sort();
    known
        .into_iter()
        .map(|migration| format!("V{}__{}", migration.version(), migration.name()))
        .collect()
}

#[tokio::test]
async fn an_empty_database_is_migrated_once() {
    let database = Database::empty().await;
    let mutexes = database.mutexes().await;
    let status = mutexes.schema_status().await.unwrap().unwrap();
    assert_eq!((status.found, status.pending), (None, known()));
    assert!(matches!(
        mutexes.capture(mutex_id("m")).await,
        Err(Error::NotMigrated { .. })
    ));
    assert!(matches!(
        mutexes.verify().await,
        Err(Error::NotMigrated { .. })
    ));
    assert_eq!(mutexes.migrate().await.unwrap().applied, known());
    assert_eq!(mutexes.migrate().await.unwrap().applied, [""; 0]);
    let status = mutexes.schema_status().await.unwrap().unwrap();
    assert_eq!(status.found, Some(status.expected));
    assert_eq!(status.pending, [""; 0]);
    mutexes.verify().await.unwrap();
    mutexes.capture(mutex_id("m")).await.unwrap();
}

async fn migrate_at_once(count: usize) {
    let database = Database::empty().await;
    let migrators: Vec<_> = (0..count)
        .map(|_| {
            let url = database.url().to_owned();
            tokio::spawn(async move {
                let mutexes = Mutexes::connect(&url).await.unwrap();
                mutexes.migrate().await.unwrap().applied.len()
            })
        })
        .collect();
    let mut applied = Vec::new();
    for migrator in migrators {
        applied.push(migrator.await.unwrap());
    }
    applied.sort_unstable();
    // One did it all, and the others nothing.
    let mut expected = vec![0; count - 1];
    expected.push(known().len());
    assert_eq!(applied, expected);
    let expected: Vec<String> = known()
        .iter()
        .map(|name| name.trim_start_matches('V').replacen("__", " ", 1))
        .collect();
    let session = database.session().await;
    assert_eq!(session.ask(HISTORY).await, expected.join(", "));
}

#[tokio::test]
async fn eight_at_once_on_an_empty_database_all_succeed() {
    migrate_at_once(8).await;
}

#[tokio::test]
async fn sixty_four_at_once_on_an_empty_database_all_succeed() {
    migrate_at_once(64).await;
}

/// Keeps migrations from making functions, until it ends its transaction.
async fn in_the_way(database: &Database) -> Session {
    let session = database.session().await;
    session
        .run("begin; lock table pg_catalog.pg_proc in share mode")
        .await;
    session
}

/// The backend that waits for that.
async fn stuck_backend(session: &Session) -> String {
    let waiting = "select pid::text from pg_locks where not granted and relation = 'pg_catalog.pg_proc'::regclass and database = \
                   (select oid from pg_database where datname = current_database())";
    session.ask_until(waiting, |_| true).await
}

#[tokio::test]
async fn after_a_migrator_killed_half_way_the_next_one_completes() {
    let database = Database::empty().await;
    let observer = database.session().await;
    let in_the_way = in_the_way(&database).await;
    let migrate = || {
        let url = database.url().to_owned();
        tokio::spawn(async move { Mutexes::connect(&url).await?.migrate().await })
    };
    let killed = migrate();
    let pid = stuck_backend(&observer).await;
    // A second one is waiting for its turn when the first one dies.
    let waiting = migrate();
    let turns = "select count(*)::text from pg_locks where locktype = 'advisory' and not granted and database = \
                 (select oid from pg_database where datname = current_database())";
    observer.ask_until(turns, |count| count == "1").await;
    observer
        .ask(&format!("select pg_terminate_backend({pid})::text"))
        .await;
    let error = killed.await.unwrap().unwrap_err();
    assert!(
        matches!(error, Error::Migration { .. } | Error::Unavailable { .. }),
        "{error:?}"
    );
    stuck_backend(&observer).await;
    in_the_way.run("rollback").await;
    assert_eq!(waiting.await.unwrap().unwrap().applied, known());
    database
        .mutexes()
        .await
        .capture(mutex_id("m"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() {
    let database = Database::empty().await;
    let session = database.session().await;
    // Something of the same name is in the way of the last migration.
    session
        .run("create schema pgmutex; create function pgmutex.sweep(batch integer) returns bigint language sql as 'select 1::bigint'")
        .await;
    let error = database.mutexes().await.migrate().await.unwrap_err();
    assert!(matches!(error, Error::Migration { .. }));
    assert!(error.to_string().contains("sweep"), "{error}");
    let tables = "select count(*)::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'pgmutex'";
    assert_eq!(session.ask(tables).await, "0");
    session.run("drop function pgmutex.sweep(integer)").await;
    assert_eq!(
        database.mutexes().await.migrate().await.unwrap().applied,
        known()
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_advice() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let session = database.session().await;
    session
        .run("insert into pgmutex.refinery_schema_history values (900, 'from_the_future', '2030-01-01T00:00:00Z', '1')")
        .await;
    let connecting = Mutexes::connect(database.url()).await.map(drop);
    for refused in [
        mutexes.migrate().await.map(drop),
        mutexes.verify().await,
        mutexes.schema_status().await.map(drop),
        connecting,
    ] {
        let error = refused.unwrap_err();
        assert!(
            error.to_string().contains("deploy a newer version"),
            "{error}"
        );
        let Error::SchemaVersion {
            found, expected, ..
        } = error
        else {
            panic!("{error:?}");
        };
        let runner = embedded_migrations();
        let newest = runner.get_migrations().iter().map(Migration::version).max();
        assert_eq!((found, Some(expected)), (900, newest.map(i64::from)));
    }
    let newest = "select max(version)::text from pgmutex.refinery_schema_history";
    assert_eq!(session.ask(newest).await, "900");
}

#[tokio::test]
async fn a_history_that_is_not_ours_is_refused() {
    for damage in [
        "update pgmutex.refinery_schema_history set checksum = '1' where version = 2",
        "update pgmutex.refinery_schema_history set checksum = 'none' where version = 2",
        "update pgmutex.refinery_schema_history set applied_on = 'yesterday' where version = 2",
        "update pgmutex.refinery_schema_history set name = null where version = 2",
        "delete from pgmutex.refinery_schema_history where version = 2",
    ] {
        let database = Database::fresh().await;
        let mutexes = database.mutexes().await;
        database.session().await.run(damage).await;
        let error = mutexes.migrate().await.unwrap_err();
        assert!(
            matches!(error, Error::Migration { .. }),
            "{damage}: {error:?}"
        );
        mutexes.capture(mutex_id("m")).await.unwrap();
    }
}

#[tokio::test]
async fn schemas_of_one_database_are_independent() {
    let database = Database::fresh().await;
    let schema = SchemaName::new("Other \"locks'").unwrap();
    let there = Mutexes::builder()
        .schema(schema)
        .connect(database.url())
        .await
        .unwrap();
    assert_eq!(there.migrate().await.unwrap().applied, known());
    assert_eq!(there.migrate().await.unwrap().applied, [""; 0]);
    let here = database.mutexes().await;
    let id = mutex_id("m");
    here.capture(&id).owner(owner("a")).await.unwrap();
    there.capture(&id).owner(owner("b")).await.unwrap();
    assert!(
        there
            .capture(&id)
            .owner(owner("a"))
            .await
            .unwrap_err()
            .is_busy()
    );
    assert!(
        there
            .release(&id)
            .owner(owner("b"))
            .await
            .unwrap()
            .is_released()
    );
}

#[tokio::test]
async fn a_role_that_may_not_create_can_still_find_everything_done() {
    let database = Database::fresh().await;
    let (role, url) = database.role("").await;
    let session = database.session().await;
    session
        .run(&format!(
            "grant usage on schema pgmutex to {role}; \
             grant execute on all functions in schema pgmutex to {role}; \
             grant select on pgmutex.refinery_schema_history to {role}"
        ))
        .await;
    let mutexes = Mutexes::connect(&url).await.unwrap();
    assert_eq!(mutexes.migrate().await.unwrap().applied, [""; 0]);
    let captured = mutexes.capture(mutex_id("m")).await.unwrap();
    // It may use the functions and nothing behind them.
    let client = {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    };
    for forbidden in [
        "select * from pgmutex.mutex_model",
        "delete from pgmutex.mutex_model",
        "select nextval('pgmutex.fencing_token_sequence')",
        "update pgmutex.token_generation set generation = 1",
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}");
    }
    // Its own temporary table of the same name stands in for nothing.
    client
        .batch_execute("create temporary table mutex_model (mutex_group text); create temporary view hold as select 1 as mutex_group")
        .await
        .unwrap();
    let row = client
        .query_one(
            "select fencing_token from pgmutex.capture('tests', 'step', 'm', 'console-session')",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), captured.fencing_token.get());
    // Its temporary objects go when its session does.
    let process_id: i32 = client
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    drop((client, mutexes));
    let is_there = format!("select count(*)::text from pg_stat_activity where pid = {process_id}");
    session.ask_until(&is_there, |count| count == "0").await;
    session
        .run(&format!("drop owned by {role} cascade; drop role {role}"))
        .await;
}

#[tokio::test]
async fn a_role_that_may_not_even_look_is_told_so() {
    let database = Database::fresh().await;
    let (role, url) = database.role("").await;
    let error = Mutexes::connect(&url).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    let drop = format!("drop role {role}");
    database.session().await.run(&drop).await;
}

#[tokio::test]
async fn what_an_applications_migration_leaves_in_its_session_goes_with_it() {
    let database = Database::fresh().await;
    let pool = pgmutex::pool_for_url(database.url()).unwrap();
    let mutexes = Mutexes::new(pool.clone());
    let careless = Runner::new(&[migration(
        "V1__dump",
        "select set_config('statement_timeout', '7s', false)",
    )]);
    mutexes.run_migrations(&careless).await.unwrap();
    let client = pool.get().await.unwrap();
    let row = client
        .query_one("show statement_timeout", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "0");
}

#[tokio::test]
async fn waiting_for_a_turn_is_not_ended_by_the_roles_own_limits() {
    let database = Database::empty().await;
    let session = database.session().await;
    session
        .run(&format!(
            "alter database {0} set lock_timeout = '1ms'; alter database {0} set statement_timeout = '30s'",
            database.name()
        ))
        .await;
    let first = database.mutexes().await;
    session
        .run("begin; select pg_advisory_xact_lock(hashtextextended('pgmutex: migrations of schema pgmutex', 31638917211252088))")
        .await;
    let migrating = tokio::spawn(async move { first.migrate().await });
    let observer = database.session().await;
    let waiting = "select count(*)::text from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    observer.ask_until(waiting, |count| count != "0").await;
    observer.ask("select pg_sleep(0.05)::text").await;
    session.run("commit").await;
    assert_eq!(migrating.await.unwrap().unwrap().applied, known());
}

fn migration(name: &str, sql: &str) -> Migration {
    Migration::unapplied(name, sql).unwrap()
}

#[tokio::test]
async fn an_applications_own_migrations_can_be_run_by_many_at_once() {
    let database = Database::fresh().await;
    let runner = || {
        Runner::new(&[
            migration(
                "V1__account",
                "create table account (id bigint primary key)",
            ),
            migration("V2__names", "alter table account add column name text"),
        ])
    };
    let migrators: Vec<_> = (0..8)
        .map(|_| {
            let (url, runner) = (database.url().to_owned(), runner());
            tokio::spawn(async move {
                let mutexes = Mutexes::connect(&url).await.unwrap();
                mutexes.run_migrations(&runner).await.unwrap().applied.len()
            })
        })
        .collect();
    let mut applied = 0;
    for migrator in migrators {
        applied += migrator.await.unwrap();
    }
    assert_eq!(applied, 2);
    let session = database.session().await;
    session.run("insert into account values (1, 'Ada')").await;
    // Both histories live side by side.
    let histories = "select string_agg(schemaname, ' ' order by schemaname) from pg_tables where tablename = 'refinery_schema_history'";
    assert_eq!(session.ask(histories).await, "pgmutex public");
}

#[tokio::test]
async fn an_applications_migrations_are_all_or_nothing() {
    let database = Database::fresh().await;
    let mut client = database.client().await;
    let broken = Runner::new(&[
        migration(
            "V1__account",
            "create table account (id bigint primary key)",
        ),
        migration("V2__broken", "alter table missing add column name text"),
    ]);
    let error = run_migrations(&mut client, &broken).await.unwrap_err();
    assert!(matches!(error, Error::Migration { .. }));
    let text = error.to_string();
    assert!(
        text.contains("V2__broken") && text.contains("missing"),
        "{text}"
    );
    let session = database.session().await;
    let tables = "select count(*)::text from pg_tables where schemaname = 'public'";
    assert_eq!(session.ask(tables).await, "0");
}
