//! Settings of a session, and what others have done to the schema.

use pgmutex::{Mutexes, Verdict};

use super::{about, judged, judged_with};
use crate::support::Database;

/// Makes a state, sees it found, and unmakes it.
async fn is_found(statements: &[(&str, &str, &str, &str)]) {
    let database = Database::fresh().await;
    for (make, subject, verdict, says) in statements {
        // Settings and all in one transaction, which takes them back. Notices of what goes with what is dropped do not matter.
        let session = database.session().await;
        session.run("begin").await;
        let (before, words) = judged(&session, subject).await;
        let expected = match *subject {
            "owner" => "note", // the migrator of the tests is a superuser
            "durability" if words.starts_with("fsync is off") => "problem",
            _ => "ok",
        };
        // Other tests of this run make roles of the whole server that begin elsewhere.
        let is_others = *subject == "isolation" && before == "note";
        assert!(
            before == expected || is_others,
            "{subject}: {before} {words}"
        );
        session.run(make).await;
        let (after, words) = judged(&session, subject).await;
        assert_eq!(after, *verdict, "{make}: {words}");
        assert!(words.contains(says), "{make}: {words}");
        assert!(!words.ends_with("| "), "no advice: {make}: {words}");
        session.run("rollback").await;
    }
}

#[tokio::test]
async fn settings_that_hurt_are_found() {
    is_found(&[
        (
            "set synchronous_commit = off",
            "commits",
            "note",
            "synchronous_commit is off",
        ),
        (
            "set synchronous_commit = local",
            "commits",
            "note",
            "raise it for themselves",
        ),
        (
            "set default_transaction_read_only = on",
            "writing",
            "warning",
            "read-only by default",
        ),
        (
            "set default_transaction_isolation = 'serializable'",
            "isolation",
            "warning",
            "begin at serializable",
        ),
    ])
    .await;
    let database = Database::fresh().await;
    let session = database.session().await;
    // One that comes into force in the middle of the look does not end it.
    let late = "(select interval '5 minutes' from set_config('statement_timeout', '3s', true))";
    let (verdict, words) = judged_with(&session, late, "timeouts").await;
    assert_eq!(verdict, "warning", "{words}");
    assert!(words.contains("statement_timeout is 3s"), "{words}");
    assert!(!words.ends_with("| "), "no advice: {words}");
    // Long enough for any wait.
    session.run("set statement_timeout = '10min'").await;
    assert_eq!(judged(&session, "timeouts").await.0, "ok");
    let version = "select current_setting('server_version_num')";
    if session.ask(version).await.parse::<u32>().unwrap() >= 140_000 {
        session.run("set idle_session_timeout = '1min'").await;
        let (verdict, words) = judged(&session, "timeouts").await;
        assert_eq!(verdict, "note", "{words}");
        assert!(words.contains("sessions that listen"), "{words}");
    }
}

#[tokio::test]
async fn tables_that_are_not_kept_well_are_found() {
    is_found(&[
        (
            "alter table pgmutex.mutex_model set unlogged",
            "durability",
            "problem",
            "mutex_model is unlogged",
        ),
        (
            "alter table pgmutex.mutex_waiter set (autovacuum_enabled = off)",
            "autovacuum",
            "warning",
            "alter table pgmutex.mutex_waiter reset (autovacuum_enabled);",
        ),
        (
            "drop index pgmutex.mutex_model_owner_session",
            "indexes",
            "problem",
            "mutex_model_owner_session is missing",
        ),
        (
            "update pg_index set indisvalid = false where indexrelid = 'pgmutex.pool_session_due'::regclass",
            "indexes",
            "warning",
            "reindex index pgmutex.pool_session_due;",
        ),
        (
            "create index by_end on pgmutex.mutex_model (expires_at)",
            "indexes",
            "warning",
            "by_end makes every heartbeat write it",
        ),
        (
            "create index late on pgmutex.mutex_model (mutex_id) where status_data is not null",
            "indexes",
            "warning",
            "late",
        ),
        (
            "drop view pgmutex.waiting cascade",
            "views",
            "problem",
            "waiting.mutex_group",
        ),
        (
            "alter table pgmutex.mutex_model disable trigger lease_has_ended",
            "triggers",
            "problem",
            "lease_has_ended on mutex_model is missing or disabled",
        ),
        (
            "create function public.theirs() returns trigger language plpgsql as 'begin return new; end'; \
             create trigger theirs before update on pgmutex.mutex_model for each row execute function public.theirs()",
            "triggers",
            "warning",
            "theirs on mutex_model of another program",
        ),
        (
            "drop table pgmutex.mutex_model cascade",
            "holds over",
            "problem",
            "cannot be looked at",
        ),
    ])
    .await;
}

#[tokio::test]
async fn every_index_of_ours_is_missed() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let names = "select string_agg(indexname, ' ') from pg_indexes where schemaname = 'pgmutex' \
                 and tablename in ('token_generation', 'mutex_model', 'mutex_listener', 'mutex_waiter', 'pool_session')";
    for index in session.ask(names).await.split(' ') {
        session
            .run(&format!(
                "begin; alter index pgmutex.{index} rename to another"
            ))
            .await;
        let (verdict, words) = judged(&session, "indexes").await;
        assert_eq!(verdict, "problem", "{index}");
        assert!(words.contains(index), "{words}");
        session.run("rollback").await;
    }
}

#[tokio::test]
async fn tokens_that_could_run_back_or_out_are_found() {
    is_found(&[
        (
            "delete from pgmutex.token_generation",
            "generation",
            "problem",
            "no token can be given",
        ),
        (
            "update pgmutex.token_generation set timeline = 77",
            "generation",
            "warning",
            "select pgmutex.ensure_generation();",
        ),
        (
            "update pgmutex.token_generation set system_identifier = 77",
            "generation",
            "warning",
            "of another server",
        ),
        (
            "update pgmutex.token_generation set generation = 8000001",
            "token room",
            "problem",
            "8000001 of 8388607",
        ),
        (
            // What the sequence carries into the generation counts.
            "select setval('pgmutex.fencing_token_sequence', 5000000::bigint << 40)",
            "token room",
            "warning",
            "5000001 of 8388607",
        ),
    ])
    .await;
    // The advice helps.
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run(
            "update pgmutex.token_generation set timeline = 77; select pgmutex.ensure_generation()",
        )
        .await;
    assert_eq!(judged(&session, "generation").await.0, "ok");
}

#[tokio::test]
async fn rights_that_are_too_wide_are_found() {
    is_found(&[
        (
            "grant execute on function pgmutex.sweep to public",
            "public rights",
            "warning",
            "everybody may use function sweep",
        ),
        (
            "grant usage on schema pgmutex to public",
            "public rights",
            "warning",
            "schema pgmutex",
        ),
        (
            "grant select on pgmutex.mutex_model, pgmutex.held to public",
            "public rights",
            "warning",
            "and 1 more",
        ),
        (
            "grant create on schema pgmutex to pg_monitor",
            "schema rights",
            "problem",
            "revoke create on schema pgmutex from pg_monitor;",
        ),
        (
            "grant create on schema pgmutex to public",
            "schema rights",
            "problem",
            "by public",
        ),
        (
            "alter function pgmutex.sweep owner to pg_monitor",
            "owner",
            "note",
            "1 function(s) belong to another",
        ),
    ])
    .await;
    // The advice helps.
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run("grant execute on function pgmutex.sweep to public; grant select on pgmutex.held to public; grant usage on schema pgmutex to public")
        .await;
    let (_, words) = judged(&session, "public rights").await;
    session.run(words.split_once(" | ").unwrap().1).await;
    assert_eq!(judged(&session, "public rights").await.0, "ok");
}

#[tokio::test]
async fn holds_and_waiters_that_stay_behind_are_found() {
    let hold = "insert into pgmutex.mutex_model (mutex_id, owner_session, auto_release_rule, auto_release_config, fencing_token, captured_since, held_since) \
                select 'm' || n, 'o', ";
    let over =
        format!("{hold} 'timeout', '1', n, 'epoch', 'epoch' from generate_series(1, 1000) n");
    // Sessions that never were, and configs that make no sense.
    let detached = format!(
        "{hold} 'connection', (array['17', '17 600', '999999999999999999', 'x'])[n % 4 + 1], n, clock_timestamp(), clock_timestamp() from generate_series(1, 1400) n"
    );
    let for_ever = format!(
        "{hold} (array['', 'never'])[n], '', n, now(), now() - interval '25 hours' from generate_series(1, 2) n"
    );
    let custom = format!("{hold} E'bat\\nch', '', n, now(), now() from generate_series(1, 3) n");
    let gone = "insert into pgmutex.mutex_waiter (mutex_group, mutex_mode, mutex_id, ticket, access, owner_session, owner_host, owner_id, \
                owner_login, owner_name, listener, queued_since, seen_at) \
                select 'g', 'm', 'i', n, 'exclusive', 'o', '', '', '', '', (array[null, 4711])[n], now(), now() - interval '1 minute' from generate_series(1, 2) n";
    is_found(&[
        (
            over.as_str(),
            "holds over",
            "note",
            "1000 over and not swept | select pgmutex.sweep();",
        ),
        (
            detached.as_str(),
            "holds over",
            "note",
            "1050 over and not swept",
        ),
        (
            for_ever.as_str(),
            "holds for ever",
            "note",
            "2 under the rule never",
        ),
        (
            custom.as_str(),
            "custom rules",
            "note",
            "3 under rules that the database does not know, such as 'bat ch'",
        ),
        (gone, "waiters", "note", "2 in line, 2 of them gone"),
    ])
    .await;
}

#[tokio::test]
async fn what_lives_is_not_taken_for_dead() {
    let database = Database::fresh().await;
    let listener = database.listener().await;
    let session = database.session().await;
    let attached = format!(
        "auto_release_rule => 'connection', auto_release_config => '{}'",
        listener.number()
    );
    for number in 0..1100 {
        let outcome = session
            .capture_as(&number.to_string(), "o", &attached)
            .await;
        assert_eq!(outcome, "captured");
    }
    let waits = format!("wait => true, listener => {}", listener.number());
    assert_eq!(session.capture_as("7", "b", &waits).await, "queued");
    // Seen just now, however long the looks take.
    session
        .run("update pgmutex.mutex_listener set seen_at = clock_timestamp() + interval '1 hour'")
        .await;
    let (verdict, words) = judged(&session, "holds over").await;
    assert_eq!(verdict, "ok", "{words}");
    assert!(words.starts_with("0 over"), "{words}");
    let (verdict, words) = judged(&session, "waiters").await;
    assert_eq!(verdict, "ok", "{words}");
    assert!(words.starts_with("1 in line, 0 of them gone"), "{words}");
    listener.ends(&session).await;
    let (verdict, words) = judged(&session, "holds over").await;
    assert_eq!(verdict, "note", "{words}");
}

#[tokio::test]
async fn the_settings_of_a_role_are_those_of_its_sessions() {
    let database = Database::fresh().await;
    let (role, url) = database.role("superuser").await;
    let session = database.session().await;
    session
        .run(&format!(
            "alter role {role} in database {} set default_transaction_isolation = 'repeatable read'; \
             alter role {role} set synchronous_commit = off",
            database.name()
        ))
        .await;
    let diagnosis = Mutexes::connect(&url)
        .await
        .unwrap()
        .diagnose()
        .await
        .unwrap();
    let (verdict, words) = about(&diagnosis, "isolation");
    assert_eq!(verdict, Verdict::Warning, "{words}");
    assert!(
        words.contains(&format!(
            "alter role {role} set default_transaction_isolation"
        )),
        "{words}"
    );
    assert_eq!(about(&diagnosis, "commits").0, Verdict::Note);
    // Others are told of the role.
    let (verdict, words) = judged(&session, "isolation").await;
    assert_eq!(verdict, "note", "{words}");
    assert!(words.contains(&format!("role {role}")), "{words}");
    // The advice helps.
    let advice = about(&diagnosis, "isolation").1;
    let statement = advice
        .split_once(" | ")
        .unwrap()
        .1
        .split_once(';')
        .unwrap()
        .0;
    session
        .run(&statement.replace(&role, &format!("{role} in database {}", database.name())))
        .await;
    let diagnosis = Mutexes::connect(&url)
        .await
        .unwrap()
        .diagnose()
        .await
        .unwrap();
    assert!(about(&diagnosis, "isolation").0 < Verdict::Warning);
    session.run(&format!("drop role {role}")).await;
}
