//! What a reader is not shown: whose session it is by name, and what the holder wrote.

use pgmutex::Role;

use super::{DENIED, Login, refusal};
use crate::support::{Database, Session, session_at};

/// Everything that a reader may read, as one text.
const EVERYTHING: &str = "select concat((select string_agg(h::text, ' ') from pgmutex.held h), \
     (select string_agg(w::text, ' ') from pgmutex.waiting w), \
     (select string_agg(b::text, ' ') from pgmutex.blocking b), \
     (select string_agg(p::text, ' ') from pgmutex.pool_statistics p))";

/// Two holders, one in line behind one of them, and another behind that one; a session with a lease.
async fn with_secrets(s: &Session) {
    for (id, session) in [("1", "key-of-ada"), ("2", "key-of-bob")] {
        s.capture_as(id, session, "status_data => 'word', owner_name => 'Name'")
            .await;
    }
    s.capture_as("1", "key-of-cid", "wait => true").await;
    s.capture_as("1", "key-of-dan", "wait => true").await;
    s.run("select pgmutex.pool_add('p', '{\"password\": \"word\"}')")
        .await;
    s.run("select pgmutex.pool_checkout('p', 'key-of-eve', status_data => 'word')")
        .await;
}

#[tokio::test]
async fn a_reader_sees_who_is_who_but_no_session_and_no_status() {
    let database = Database::fresh().await;
    let s = database.session().await;
    with_secrets(&s).await;
    let reader = Login::new(&database, Role::Reader).await;
    let them = reader.session().await;

    let seen = them.ask(EVERYTHING).await;
    assert!(seen.contains("sha256:") && seen.contains("Name"), "{seen}");
    assert!(!seen.contains("key-of") && !seen.contains("word"), "{seen}");
    let status = "select count(*)::text || count(status_data) from pgmutex.held";
    assert_eq!(them.ask(status).await, "30");
    // The digest is that of the session's bytes, and the same everywhere.
    let ada = s
        .ask("select 'sha256:' || left(encode(sha256('key-of-ada'), 'hex'), 12)")
        .await;
    for view in [
        "select owner_session from pgmutex.held where mutex_group = 'tests' and mutex_id = '1'",
        "select behind_owner_session from pgmutex.waiting where place = 1",
        "select distinct blocker_owner_session from pgmutex.blocking where blocked_by = 'holder'",
    ] {
        assert_eq!(them.ask(view).await, ada, "{view}");
    }
    let cid = "select string_agg(distinct digest, ' ') from \
               (select owner_session from pgmutex.waiting where place = 1 \
                union select behind_owner_session from pgmutex.waiting where place = 2 \
                union select owner_session from pgmutex.blocking where place = 1 \
                union select blocker_owner_session from pgmutex.blocking where blocked_by = 'waiter') c (digest)";
    assert_eq!(them.ask(cid).await.split(' ').count(), 1);

    // Those who may release see what a release is compared with.
    for role in [Role::Application, Role::Admin] {
        let login = Login::new(&database, role).await;
        let seen = login.session().await.ask(EVERYTHING).await;
        assert!(!seen.contains("sha256:"), "{seen}");
        for secret in ["ada", "bob", "cid", "dan", "eve"] {
            assert!(
                seen.contains(&format!("key-of-{secret}")),
                "{secret}: {seen}"
            );
        }
        assert!(seen.contains("word"), "{seen}");
    }
    for query in [
        "select * from pgmutex.pool",
        "select * from pgmutex.hold",
        "select * from pgmutex.live_hold",
        "select payload from pgmutex.pool_session",
        "select * from pgmutex.list()",
        "select * from pgmutex.list_waiting()",
        "select * from pgmutex.pool_find('p')",
    ] {
        assert_eq!(
            refusal(&them, query).await.as_deref(),
            Some(DENIED),
            "{query}"
        );
    }
}

/// A condition of the reader's own, cheap and talkative, is asked before the views' own conditions
/// if it can be; and the planner asks an operator about the commonest values of a column.
#[tokio::test]
async fn no_condition_of_a_readers_own_is_asked_about_a_secret() {
    let database = Database::fresh().await;
    let s = database.session().await;
    with_secrets(&s).await;
    s.run(
        "insert into pgmutex.mutex_model (mutex_id, owner_session, status_data) \
         select 'm' || n, 'key-of-many', 'word' from generate_series(1, 500) n; analyze",
    )
    .await;
    let reader = Login::new(&database, Role::Reader).await;
    let (name, own) = (&reader.name, format!("own_{}", reader.name));
    s.run(&format!("create schema {own} authorization {name}"))
        .await;
    let them = session_at(&reader.url).await;
    them.run(&format!(
        "create table {own}.overheard (what text); \
         create function {own}.hear(text, text) returns boolean language plpgsql cost 0.0000001 as $$ \
         begin insert into {own}.overheard values ($1); return true; end $$; \
         create function {own}.hears(text, text) returns boolean language plpgsql stable cost 0.0000001 as $$ \
         begin perform set_config('{own}.heard', current_setting('{own}.heard', true) || ' ' || coalesce($1, ''), false); \
         return true; end $$; \
         create operator {own}.~~~ (leftarg = text, rightarg = text, function = {own}.hears, restrict = eqsel); \
         create operator {own}.~~> (leftarg = text, rightarg = text, function = {own}.hears, restrict = scalarltsel)"
    ))
    .await;
    them.run(&format!("set {own}.heard = ''")).await;
    for (view, column) in [
        ("held", "owner_session"),
        ("held", "status_data"),
        ("waiting", "owner_session"),
        ("waiting", "behind_owner_session"),
        ("blocking", "owner_session"),
        ("blocking", "blocker_owner_session"),
    ] {
        them.run(&format!(
            "select * from pgmutex.{view} where {own}.hear({column}, ''); \
             select * from pgmutex.{view} where {column} operator({own}.~~~) 'x'; \
             select * from pgmutex.{view} where {column} operator({own}.~~>) 'x'; \
             explain select * from pgmutex.{view} where {column} operator({own}.~~~) 'x'"
        ))
        .await;
    }
    let heard = them
        .ask(&format!(
            "select concat(current_setting('{own}.heard'), (select string_agg(what, ' ') from {own}.overheard))"
        ))
        .await;
    assert!(heard.contains("sha256:"), "nothing was heard: {heard:?}");
    assert!(
        !heard.contains("key-of") && !heard.contains("word"),
        "{heard}"
    );
    let statistics = "select count(*)::text from pg_stats where schemaname = 'pgmutex'";
    assert_ne!(s.ask(statistics).await, "0");
    assert_eq!(
        them.ask(
            "select count(*)::text from pg_stats where schemaname = 'pgmutex' and tablename <> 'refinery_schema_history'"
        )
        .await,
        "0"
    );
    drop(them);
    s.run(&format!("drop schema {own} cascade")).await;
}

/// Whether secrets are shown is found out once for a query, and a hold is still found by its key.
#[tokio::test]
async fn a_lookup_by_key_uses_the_index_whoever_asks() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.run(
        "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session) \
         select 'g', 'm', n::text, 's' || n from generate_series(1, 5000) n; \
         insert into pgmutex.mutex_waiter (mutex_group, mutex_mode, mutex_id, ticket, access, owner_session, owner_host, owner_id, \
                                           owner_login, owner_name, queued_since, seen_at) \
         select 'g', 'm', (n % 1000)::text, n, 'exclusive', 'w' || n, '', '', '', '', now(), now() from generate_series(1, 5000) n; \
         analyze",
    )
    .await;
    for login in Login::all(&database).await {
        let client = {
            let (client, connection) = tokio_postgres::connect(&login.url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client
        };
        for (view, index) in [
            ("held", "mutex_model_pkey"),
            ("waiting", "mutex_waiter_pkey"),
            ("blocking", "mutex_waiter_pkey"),
        ] {
            let query = format!(
                "explain (analyze, costs off, timing off, summary off) \
                 select * from pgmutex.{view} where mutex_group = 'g' and mutex_mode = 'm' and mutex_id = '17'"
            );
            let plan: Vec<String> = client
                .query(query.as_str(), &[])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            let plan = plan.join("\n");
            assert!(plan.contains(&format!("using {index}")), "{plan}");
            assert!(plan.contains("InitPlan"), "{plan}");
            let read = plan
                .lines()
                .filter(|line| {
                    line.contains("Seq Scan on mutex_") && !line.contains("never executed")
                })
                .filter(|line| !line.contains("mutex_listener"))
                .count();
            assert_eq!(read, 0, "{plan}");
        }
    }
}
