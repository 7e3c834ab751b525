//! Callers whose snapshot, settings or server would make a decision wrong: refused with a clear
//! error, or right.

use pgmutex::{CaptureOutcome, Error, MutexQuery, Mutexes, private_server::PrivatePostgres};

use crate::support::{Database, mutex_id, owner};

/// Every function that decides, called with arguments that it would accept.
const DECISIONS: [&str; 15] = [
    "select outcome from pgmutex.capture('tests', 'step', 'm', 'b')",
    "select outcome from pgmutex.refresh('tests', 'step', 'm', 'b')",
    "select outcome from pgmutex.release('tests', 'step', 'm', 'b')",
    "select outcome from pgmutex.request('tests', 'step', 'm', 'b')",
    "select outcome from pgmutex.force_release('tests', 'step', 'm', 'why')",
    "select pgmutex.sweep()::text",
    "select pgmutex.leave_line('tests', 'step', 'm', 'b')::text",
    "select count(*)::text from pgmutex.keep('{tests}', '{step}', '{m}', '{7}')",
    "select count(*)::text from pgmutex.capture_each('[]')",
    "select count(*)::text from pgmutex.capture_all('[]', wait => true)",
    "select count(*)::text from pgmutex.release_each('[]')",
    "select count(*)::text from pgmutex.release_owner('b')",
    "select count(*)::text from pgmutex.capture_together('{tests}', '{step}', '{m}', '{b}', '{h}', '{i}', '{l}', '{n}', '{timeout}', '{7}', \
     '{s}', '{exclusive}', '{null}', '{true}', '{false}')",
    "select count(*)::text from pgmutex.refresh_together('{tests}', '{step}', '{m}', '{b}', '{7}', '{s}')",
    "select count(*)::text from pgmutex.release_together('{tests}', '{step}', '{m}', '{b}', '{7}')",
];

#[tokio::test]
async fn snapshots_older_than_the_lock_are_refused() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for level in ["repeatable read", "serializable"] {
        for decision in DECISIONS {
            // Refused also as the first statement of the transaction.
            b.run(&format!("begin isolation level {level}")).await;
            let error = b.try_ask(decision).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "PM001", "{decision}");
            b.run("rollback").await;
        }
    }
    assert_eq!(a.capture("m", "a").await, "captured");
}

#[tokio::test]
async fn read_uncommitted_is_read_committed_and_is_served() {
    let database = Database::fresh().await;
    let a = database.session().await;
    a.run("begin isolation level read uncommitted").await;
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("commit").await;
}

#[tokio::test]
async fn looking_at_the_list_is_allowed_at_every_level() {
    let database = Database::fresh().await;
    let a = database.session().await;
    assert_eq!(a.capture("m", "a").await, "captured");
    a.run("begin isolation level repeatable read").await;
    assert_eq!(a.ask("select mutex_id from pgmutex.list()").await, "m");
    assert_eq!(a.ask("select mutex_id from pgmutex.held").await, "m");
    a.run("rollback").await;
}

#[tokio::test]
async fn inside_a_callers_transaction_the_level_is_refused_with_advice() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let mut client = database.client().await;
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    let refused = mutexes
        .in_transaction(&transaction)
        .capture(mutex_id("m"))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::IsolationLevel { .. }));
    assert!(refused.to_string().contains("read committed"), "{refused}");
}

/// A role with a setting of its own, which may use everything; and its URL.
async fn role_with(database: &Database, setting: &str) -> (String, String) {
    let (role, url) = database.role("superuser").await;
    let set = format!("alter role {role} set {setting}");
    database.client().await.batch_execute(&set).await.unwrap();
    (role, url)
}

async fn drop_role(database: &Database, role: &str) {
    let drop = format!("drop role {role}");
    database.client().await.batch_execute(&drop).await.unwrap();
}

#[tokio::test]
async fn a_role_with_another_default_isolation_is_served_right() {
    let database = Database::fresh().await;
    for level in ["repeatable read", "serializable"] {
        let (role, url) = role_with(
            &database,
            &format!("default_transaction_isolation = '{level}'"),
        )
        .await;
        let mutexes = Mutexes::connect(&url).await.unwrap();
        // Migrating too is done in a transaction that says its level.
        mutexes.migrate().await.unwrap();
        let id = mutex_id(level);
        for _ in 0..2 {
            let captured = mutexes.capture(&id).owner(owner("a")).await.unwrap();
            let refused = mutexes.capture(&id).owner(owner("b")).await;
            assert!(refused.unwrap_err().is_busy());
            mutexes.refresh(&id).owner(owner("a")).await.unwrap();
            let released = mutexes.release(&id).owner(owner("a")).await.unwrap();
            assert!(released.is_released());
            assert_eq!(captured.outcome, CaptureOutcome::Captured);
        }
        assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
        drop_role(&database, &role).await;
    }
}

#[tokio::test]
async fn a_role_that_may_only_read_by_default_is_told_so() {
    let database = Database::fresh().await;
    let (role, url) = role_with(&database, "default_transaction_read_only = on").await;
    let mutexes = Mutexes::builder().pool(pgmutex::pool_for_url(&url).unwrap());
    let refused = mutexes.capture(mutex_id("m")).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused:?}");
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
    drop_role(&database, &role).await;
}

#[tokio::test]
async fn captures_wait_for_the_disk_whatever_the_role_says() {
    let database = Database::fresh().await;
    let session = database.session().await;
    for setting in ["off", "local", "remote_write"] {
        session
            .run(&format!("set synchronous_commit = {setting}; begin"))
            .await;
        assert_eq!(session.capture(setting, "a").await, "captured");
        assert_eq!(session.ask("show synchronous_commit").await, "on");
        session.run("commit").await;
        // It does not outlive the transaction.
        assert_eq!(session.ask("show synchronous_commit").await, setting);
        session.run("begin").await;
        session
            .ask(&format!(
                "select outcome from pgmutex.refresh('tests', 'step', '{setting}', 'a')"
            ))
            .await;
        assert_eq!(session.ask("show synchronous_commit").await, "on");
        session.run("commit").await;
    }
    // What is stronger stays.
    session
        .run("set synchronous_commit = remote_apply; begin")
        .await;
    assert_eq!(session.capture("strong", "a").await, "captured");
    assert_eq!(session.ask("show synchronous_commit").await, "remote_apply");
    session.run("rollback").await;
}

#[tokio::test]
async fn only_a_release_that_is_asked_to_does_not_wait_for_the_disk() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let release = |id: &str, durable: bool| {
        format!(
            "select outcome from pgmutex.release('tests', 'step', '{id}', 'a', durable => {durable})"
        )
    };
    for (id, rule, durable, expected) in [
        ("1", "'timeout', auto_release_config => '60'", false, "off"),
        ("2", "'timeout', auto_release_config => '60'", true, "on"),
        // Nothing else would end it: its release must not be lost.
        ("3", "'never'", false, "on"),
        ("4", "'custom'", false, "on"),
    ] {
        session.run("begin").await;
        session
            .ask(&format!(
                "select outcome from pgmutex.capture('tests', 'step', '{id}', 'a', auto_release_rule => {rule})"
            ))
            .await;
        session.run("commit; begin").await;
        assert_eq!(session.ask(&release(id, durable)).await, "released");
        assert_eq!(
            session.ask("show synchronous_commit").await,
            expected,
            "{id}"
        );
        session.run("commit").await;
    }
}

#[tokio::test]
async fn nothing_of_a_call_stays_in_the_session() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run("create temporary table before as select name, setting from pg_settings")
        .await;
    session.capture("m", "a").await;
    for decision in DECISIONS {
        session.ask(decision).await;
    }
    // The language's own settings appear with its first use.
    let changed = "select coalesce(string_agg(name, ' '), '') from pg_settings now left join before using (name) \
                   where name not like 'plpgsql.%' and now.setting is distinct from before.setting";
    assert_eq!(session.ask(changed).await, "");
    let locks = format!(
        "select count(*)::text from pg_locks where pid = {} and locktype = 'advisory'",
        session.process_id()
    );
    assert_eq!(session.ask(&locks).await, "0");
}

#[tokio::test]
async fn a_standby_decides_nothing_but_may_be_looked_at() {
    let primary = PrivatePostgres::start().unwrap();
    let mutexes = Mutexes::connect(&primary.url("postgres")).await.unwrap();
    mutexes.migrate().await.unwrap();
    mutexes
        .capture(mutex_id("m"))
        .owner(owner("a"))
        .await
        .unwrap();
    let standby = crate::tokens::standby_of(primary);
    let mutexes = Mutexes::connect(&standby.server.url("postgres"))
        .await
        .unwrap();
    for answer in [
        mutexes
            .capture(mutex_id("m"))
            .owner(owner("a"))
            .await
            .map(drop),
        mutexes
            .refresh(&mutex_id("m"))
            .owner(owner("a"))
            .await
            .map(drop),
        mutexes
            .release(&mutex_id("m"))
            .owner(owner("a"))
            .await
            .map(drop),
        mutexes.request(&mutex_id("m")).await.map(drop),
        mutexes.sweep().await.map(drop),
    ] {
        let refused = answer.unwrap_err();
        assert!(matches!(refused, Error::ReadOnly { .. }), "{refused:?}");
    }
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
}

/// The function gives up a place in line and answers busy: an answer is not undone.
#[tokio::test]
async fn where_another_level_is_the_default_a_wait_in_vain_leaves_no_place_in_line() {
    let database = Database::fresh().await;
    let client = database.client().await;
    client
        .batch_execute(&format!(
            "alter database {} set default_transaction_isolation = 'repeatable read'",
            database.name()
        ))
        .await
        .unwrap();
    let mutexes = Mutexes::builder().pool(pgmutex::pool_for_url(database.url()).unwrap());
    let id = mutex_id("m");
    let held = mutexes.lock(&id).await.unwrap();
    let waiting = Mutexes::builder().pool(pgmutex::pool_for_url(database.url()).unwrap());
    let wait = std::time::Duration::from_millis(50);
    let refused = waiting.lock(&id).wait(wait).await;
    assert!(matches!(refused, Err(Error::Timeout { .. })), "{refused:?}");
    // It may have been told before it was even in line.
    waiting.shutdown().await;
    let session = database.session().await;
    let places = "select count(*)::text from pgmutex.mutex_waiter";
    assert_eq!(session.ask(places).await, "0");
    held.release().await.unwrap();
    assert!(mutexes.try_lock(&id).await.unwrap().guard().is_some());
}
