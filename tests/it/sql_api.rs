//! The SQL functions as other programs rely on them: names, arguments, answers, and the examples of
//! the README.

use crate::support::Database;

#[tokio::test]
async fn functions_have_their_published_names_and_arguments() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let signature = async |function: &str| {
        session
            .ask(&format!(
                "select pg_get_function_identity_arguments(p.oid) from pg_proc p \
                 where p.pronamespace = 'pgmutex'::regnamespace and p.proname = '{function}'"
            ))
            .await
    };
    for (function, arguments) in [
        (
            "capture",
            "mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text, \
             owner_name text, auto_release_rule text, auto_release_config text, status_data text, access text, permits integer, \
             wait boolean, listener bigint, while_holding bigint[], lock_parents boolean, lock_children boolean",
        ),
        (
            "holder_in_the_way",
            "mutex_group text, mutex_mode text, mutex_id text, owner_session text, access text, permits integer, \
             lock_parents boolean, lock_children boolean",
        ),
        (
            "list_waiting",
            "mutex_group text, mutex_mode text, mutex_id text, mutex_id_prefix text, owner_session text, page_size bigint, \
             after_group text, after_mode text, after_id text, after_ticket bigint",
        ),
        (
            "refresh",
            "mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint, status_data text",
        ),
        (
            "release",
            "mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint, durable boolean",
        ),
        (
            "request",
            "mutex_group text, mutex_mode text, mutex_id text, owner_session text",
        ),
        (
            "force_release",
            "mutex_group text, mutex_mode text, mutex_id text, reason text, fencing_token bigint",
        ),
        (
            "fence",
            "mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint",
        ),
        ("sweep", "batch integer"),
        (
            "keep",
            "mutex_groups text[], mutex_modes text[], mutex_ids text[], fencing_tokens bigint[]",
        ),
        (
            "leave_line",
            "mutex_group text, mutex_mode text, mutex_id text, owner_session text",
        ),
        ("attach_session", "listen boolean, instead_of bigint"),
        (
            "look_at_lines",
            "listener bigint, has_session boolean, tickets bigint[]",
        ),
        ("capture_each", "requests jsonb, defaults jsonb"),
        (
            "capture_all",
            "requests jsonb, defaults jsonb, wait boolean, listener bigint, while_holding bigint[]",
        ),
        (
            "release_each",
            "requests jsonb, defaults jsonb, durable boolean",
        ),
        ("release_owner", "owner_session text, batch integer"),
        ("bump_generation", ""),
        (
            "pool_checkout",
            "collection text, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, \
             auto_release_rule text, auto_release_config text, status_data text, count_use bigint, next_use_delay interval, \
             filter jsonb, wait boolean, listener bigint, while_holding bigint[], OUT lease pgmutex.hold_outcome, OUT session pgmutex.pool_outcome",
        ),
        (
            "pool_get_session",
            "collection text, count_use bigint, next_use_delay interval, request_id text, filter jsonb",
        ),
        (
            "pool_success",
            "collection text, id bigint, count_success bigint, next_use_delay interval, fencing_token bigint",
        ),
        (
            "pool_lock",
            "collection text, id bigint, period interval, fencing_token bigint",
        ),
        (
            "pool_block",
            "collection text, id bigint, period interval, fencing_token bigint",
        ),
        ("pool_inactive", "collection text, id bigint"),
        ("pool_activate", "collection text, id bigint"),
        ("pool_add", "collection text, payload jsonb"),
        (
            "pool_update",
            "collection text, id bigint, payload jsonb, unset_payload text[]",
        ),
        ("pool_delete", "collection text, id bigint"),
        ("pool_get", "collection text, id bigint"),
        (
            "pool_find",
            "collection text, filter jsonb, projection text[], page_size bigint, after_id bigint",
        ),
        ("pool_count", "collection text, filter jsonb"),
        ("pool_count_active", "collection text, filter jsonb"),
        (
            "pool_find_one_and_update",
            "collection text, filter jsonb, payload jsonb, unset_payload text[]",
        ),
        ("pool_delete_one", "collection text, filter jsonb"),
        ("pool_create_index", "collection text, path text"),
        ("pool_list_indexes", "collection text"),
        ("pool_drop_index", "collection text, path text"),
        ("pool_statistics", "collection text"),
    ] {
        assert_eq!(signature(function).await, arguments, "{function}");
    }
}

#[tokio::test]
async fn named_arguments_and_defaults_are_enough() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let row = session
        .ask("select concat_ws(' ', outcome, auto_release_rule, auto_release_config, permit) from pgmutex.capture('orders', 'edit', '42', owner_session => 'me')")
        .await;
    assert_eq!(row, "captured timeout 300 0");
    let ends = session
        .ask("select (expires_at - captured_since)::text from pgmutex.held")
        .await;
    assert_eq!(ends, "00:05:00");
}

#[tokio::test]
async fn a_refused_capture_shows_the_holder_and_the_time() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .ask("select outcome from pgmutex.capture('g', 'm', 'i', 'a', owner_name => 'Ada', owner_host => 'h', status_data => 's')")
        .await;
    let answer = session
        .ask("select concat_ws(' ', outcome, owner_session, owner_name, owner_host, status_data, observed_at between held_since and clock_timestamp()) \
              from pgmutex.capture('g', 'm', 'i', 'b', owner_name => 'Bob', status_data => 'other')")
        .await;
    assert_eq!(answer, "busy a Ada h s t");
}

#[tokio::test]
async fn an_eviction_names_whom_it_evicted() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let first = session
        .ask("select fencing_token::text from pgmutex.capture('tests', 'step', 'm', 'a', owner_name => 'Ada')")
        .await;
    session.age("m", "1 hour").await;
    let answer = session
        .ask("select concat_ws(' ', outcome, owner_session, evicted_owner_session, evicted_owner_name, evicted_fencing_token) \
              from pgmutex.capture('tests', 'step', 'm', 'b')")
        .await;
    assert_eq!(answer, format!("evicted b a Ada {first}"));
}

#[tokio::test]
async fn held_shows_what_is_held_and_hold_everything() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.capture("live", "a").await;
    session.capture("over", "a").await;
    session.age("over", "1 hour").await;
    session
        .ask("select outcome from pgmutex.capture('tests', 'step', 'never', 'a', auto_release_rule => 'never')")
        .await;
    let names = async |view: &str| {
        session
            .ask(&format!(
                "select string_agg(mutex_id, ' ' order by mutex_id) from pgmutex.{view}"
            ))
            .await
    };
    assert_eq!(names("held").await, "live never");
    assert_eq!(names("hold").await, "live never over");
    let clear = "select (held_for >= interval '0' and time_left <= interval '300 seconds')::text from pgmutex.held where mutex_id = 'live'";
    assert_eq!(session.ask(clear).await, "true");
    let never = "select (expires_at is null and time_left is null)::text from pgmutex.held where mutex_id = 'never'";
    assert_eq!(session.ask(never).await, "true");
}

#[tokio::test]
async fn a_forced_release_is_written_to_the_servers_log() {
    let server = pgmutex::private_server::PrivatePostgres::start().unwrap();
    let mutexes = pgmutex::Mutexes::connect(&server.url("postgres"))
        .await
        .unwrap();
    mutexes.migrate().await.unwrap();
    let id = crate::support::mutex_id("m");
    mutexes
        .capture(&id)
        .owner(crate::support::owner("a"))
        .await
        .unwrap();
    mutexes
        .force_release(&id, "the build\nis stuck")
        .await
        .unwrap();
    let log = std::fs::read_to_string(server.log()).unwrap();
    let entry = log
        .lines()
        .find(|line| line.contains("forced the release of 'tests'/'step'/'m'"))
        .expect("an entry in the log");
    assert!(
        entry.contains("'postgres'") && entry.contains("the build"),
        "{entry}"
    );
}

/// Each of the README's SQL blocks, one after the other in one session.
#[tokio::test]
async fn the_readmes_sql_runs() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let readme = include_str!("../../README.md");
    let blocks: Vec<&str> = readme
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 7);
    session.run("begin").await;
    for block in blocks {
        session.run(block).await;
    }
    session.run("rollback").await;
    assert_eq!(session.capture("m", "a").await, "captured");
}
