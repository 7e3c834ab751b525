//! What the migrations add up to: the schema, as people read it and as programs may rely on it.

use std::{collections::BTreeMap, env, fs, path::Path};

use pgmutex::embedded_migrations;

use crate::support::{Database, schema_dump, session_at};

#[test]
fn the_embedded_migrations_are_the_files_on_disk() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let on_disk: BTreeMap<String, String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    let runner = embedded_migrations();
    let embedded: BTreeMap<String, String> = runner
        .get_migrations()
        .iter()
        .map(|migration| {
            (
                format!("V{}__{}", migration.version(), migration.name()),
                migration.sql().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(
        embedded, on_disk,
        "touch src/postgres/migrate.rs and build again"
    );
}

/// A database may be in another encoding than UTF8, and then refuses other characters.
#[test]
fn migrations_are_written_in_ascii() {
    for migration in embedded_migrations().get_migrations() {
        let text = migration.sql().unwrap();
        let other = text.lines().find(|line| !line.is_ascii());
        assert_eq!(other, None, "{migration}");
    }
}

/// To accept a change of the schema, run this test with `UPDATE_SCHEMA_DUMP=1` and read the
/// difference.
#[tokio::test]
async fn the_schema_is_as_dumped() {
    let database = Database::as_installed().await;
    let dump = schema_dump(&database.client().await).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema.sql");
    if env::var_os("UPDATE_SCHEMA_DUMP").is_some() {
        fs::write(&file, &dump).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    for (line, (found, expected)) in dump.lines().zip(kept.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of tests/schema.sql", line + 1);
    }
    assert_eq!(dump.lines().count(), kept.lines().count());
}

#[tokio::test]
async fn every_object_explains_itself() {
    let database = Database::as_installed().await;
    let silent = "
        select coalesce(string_agg(object, ', '), '') from (
            select p.oid::regprocedure::text as object from pg_proc p
            where p.pronamespace = 'pgmutex'::regnamespace and obj_description(p.oid, 'pg_proc') is null
            union all
            select c.oid::regclass::text from pg_class c
            where c.relnamespace = 'pgmutex'::regnamespace and c.relkind in ('r', 'p', 'v', 'S') and obj_description(c.oid, 'pg_class') is null
            union all
            select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
            where c.relnamespace = 'pgmutex'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
                  and col_description(c.oid, a.attnum) is null
            union all
            select t.oid::regtype::text from pg_type t join pg_class c on c.oid = t.typrelid
            where t.typnamespace = 'pgmutex'::regnamespace and c.relkind = 'c' and obj_description(t.oid, 'pg_type') is null
            union all
            select 'schema' where obj_description('pgmutex'::regnamespace, 'pg_namespace') is null
        ) silent";
    assert_eq!(database.session().await.ask(silent).await, "");
}

/// What a role with the rights of an application might try, to have a function of its own run with the owner's rights.
#[tokio::test]
async fn a_type_of_the_callers_does_not_stand_in_for_ours() {
    let database = Database::as_installed().await;
    let (role, url) = database.role("").await;
    let session = database.session().await;
    session
        .run(&format!(
            "grant usage on schema pgmutex to {role}; grant execute on all functions in schema pgmutex to {role}; \
             grant usage on type pgmutex.hold_outcome to {role}; \
             grant temporary, create on database {} to {role}",
            database.name()
        ))
        .await;
    let caller = session_at(&url).await;
    caller
        .run(
            "create function pg_temp.seen_as(answer pgmutex.hold_outcome) returns boolean language plpgsql as $$ \
             begin if current_user <> session_user then raise exception 'runs as %', current_user; end if; return true; end $$; \
             create domain pg_temp.hold_outcome as pgmutex.hold_outcome check (pg_temp.seen_as(value)); \
             create schema mine; \
             create function mine.check_text(text, text, integer) returns void language plpgsql as $$ \
             begin if current_user <> session_user then raise exception 'runs as %', current_user; end if; end $$; \
             create view mine.token_generation as select 1::bigint as generation, 1 as timeline; \
             set search_path = pg_temp, mine, pgmutex",
        )
        .await;
    // Each inner function called first, so that it is compiled with this path; most are refused, which is as well.
    for inner in [
        "remove_hold('g', 'm', '1', null, 'forced')",
        "draw_fencing_token()",
        "check_call('g', 'm', '1', 's')",
        "check_rule('timeout', '300')",
        "is_plain_call('g', 'm', '1', 's')",
        "is_plain_rule('timeout', '300')",
        "capture_contended('g', 'm', '1', 's', '', '', '', '', 'timeout', '300', true, null, 'exclusive', null, false, null, null, false, false)",
        "hold_is_within_limits('g', 'm', '1', 's', '', '', '', '', '', '', null, 0, null, false, false)",
        "check_access('shared', 1)",
        "session_is_gone('17')",
        "hold_is_over('connection', '17', now(), now())",
        "waiter_is_gone(1, now())",
        "first_in_line('g', 'm', '1', null, true)",
        "could_be_captured('g', 'm', '/1/', 1, 'shared', 1, 's', true, true)",
        "wake_line('g', 'm', '1')",
        "wake_lines('g', 'm', '/1/')",
        "is_path('/1/')",
        "paths_above('/1/')",
        "end_of_path('/1/')",
        "check_path('/1/')",
        "check_reach('/1/', true, true)",
        "lock_mutex('g', 'm', '/1/')",
        "try_lock_mutex('g', 'm', '/1/')",
        "evict_hold('g', 'm', '/1/', 0, 1, now(), true)",
        "hold_in_the_way('g', 'm', '/1/', 's', 'shared', true)",
        "waiter_in_the_way('g', 'm', '/1/', 1, 's', 'shared', true, true)",
        "circle_of_waiting('g', 'm', '/1/', 'shared', 1, null, true, true, 's', 's', null, '{}', '{}', '{}')",
        "refuse_deadlock('g', 'm', '/1/', 'shared', 1, 's', 1, '{1}', true, true)",
        "join_line('g', 'm', '/1/', 1, 'shared', 1, 's', '', '', '', '', '{1}', 1, true, true)",
        "listener_is_seen(1, true)",
        "lock_mutexes('[{}]')",
        "check_requests('[{}]', '{}', '{}')",
        "refuse_input('x')",
        "refuse_transaction()",
        "current_timeline()",
        "check_text('a', 'b', 1)",
        "mutex_key('g', 'm', '1')",
        "rule_ends_at('timeout', '300', now())",
        "audit_is_on()",
        "audit_partitions()",
        "enable_audit()",
        "disable_audit()",
        "keep_audit()",
    ] {
        let _ = caller
            .try_ask(&format!("select pgmutex.{inner}::text"))
            .await;
    }
    for decision in [
        "capture('g', 'm', '1', 's')",
        "refresh('g', 'm', '1', 's')",
        "request('g', 'm', '1', 's')",
        "evict('g', 'm', '1', 1)",
        "force_release('g', 'm', '1')",
        "release('g', 'm', '1', 's')",
        "capture('g', 'm', '1', 's', access => 'shared', wait => true, listener => 1, while_holding => '{1}')",
        "capture('g', 'm', '1', 't', wait => true, listener => 1, while_holding => '{1}')",
        "release('g', 'm', '1', 's')",
    ] {
        let answer = caller
            .try_ask(&format!("select outcome from pgmutex.{decision}"))
            .await;
        assert!(answer.is_ok(), "{decision}: {answer:?}");
    }
    let one = "'[{\"mutex_id\": \"1\", \"owner_session\": \"s\"}]'";
    for decision in [
        "attach_session(true)".to_owned(),
        "look_at_lines(1, true, '{1}')".to_owned(),
        "leave_line('g', 'm', '1', 't')".to_owned(),
        "keep('{g}', '{m}', '{1}', '{1}')".to_owned(),
        format!("capture_each({one})"),
        format!("capture_all({one}, wait => true)"),
        format!("release_each({one})"),
        "release_owner('s')".to_owned(),
    ] {
        let answer = caller
            .try_ask(&format!("select count(*)::text from pgmutex.{decision}"))
            .await;
        assert!(answer.is_ok(), "{decision}: {answer:?}");
    }
    // Its temporary objects go when its session does.
    let process_id = caller.process_id();
    drop(caller);
    let is_there = format!("select count(*)::text from pg_stat_activity where pid = {process_id}");
    session.ask_until(&is_there, |count| count == "0").await;
    let drop_role = format!("drop owned by {role} cascade; drop role {role}");
    session.run(&drop_role).await;
}

#[tokio::test]
async fn functions_are_built_so_that_they_cannot_be_deceived() {
    let database = Database::as_installed().await;
    let session = database.session().await;
    let ours = "from pg_proc p where p.pronamespace = 'pgmutex'::regnamespace";
    let list = |wrong: &str| {
        format!("select coalesce(string_agg(proname, ' ' order by proname), '') {ours} and {wrong}")
    };
    // A stable or immutable function would decide on the snapshot of the statement that calls it.
    // These decide nothing.
    assert_eq!(
        session.ask(&list("provolatile <> 'v'")).await,
        "check_text end_of_path hold_is_within_limits is_path locks_of m3_mutex_config mutex_key owner_in_words paths_above pool_line rule_ends_at takes_turns"
    );
    // A type named in a declaration is looked up when a session first calls the function, by the path of then: a caller could
    // put a domain of its own there. These declare nothing but built-in types.
    assert_eq!(
        session
            .ask(&list(
                "not coalesce('search_path=pgmutex, pg_temp' = any (proconfig), false)"
            ))
            .await,
        "be_durable can_be_plain can_be_plain_rule capture_what_is_plain capture_what_is_usual check_access check_call check_count check_path \
         check_payload check_period check_pool check_reach check_requests check_rule check_text check_together \
         circle_of_waiting could_be_captured current_timeline document_with draw_fencing_token end_of_path evict_hold \
         first_in_line hold_in_the_way hold_is_over hold_is_within_limits is_path is_plain_call is_plain_rule join_line \
         listener_is_seen lock_mutex lock_mutexes lock_next_session lock_session lock_what_is_over_above lock_what_is_plain \
         locks_of look_at_lease mutex_key owner_in_words path_of_key paths_above pool_condition pool_could_give pool_line \
         projected_document refuse_deadlock refuse_input refuse_transaction release_locked rule_ends_at session_is_gone \
         session_that_fits sweep_hold sweep_later take_session takes_turns try_lock_mutex try_lock_together updated_document \
         waiter_in_the_way waiter_is_gone wake_line wake_lines wake_pool"
    );
    let declares_ours = "prolang = (select oid from pg_language where lanname = 'plpgsql') \
         and not coalesce('search_path=pgmutex, pg_temp' = any (proconfig), false) \
         and exists (select from pg_type t where t.typnamespace = 'pgmutex'::regnamespace \
                     and substring(prosrc from '^(.*?)\\mbegin\\M') ~ ('\\m' || t.typname || '\\M(?!\\s+(bigint|text|integer))'))";
    assert_eq!(session.ask(&list(declares_ours)).await, "");
    // What runs with its owner's rights finds its own objects, whatever the caller's path and
    // temporary tables.
    let pinned =
        "prosecdef and not coalesce('search_path=pgmutex, pg_temp' = any (proconfig), false)";
    assert_eq!(session.ask(&list(pinned)).await, "");
    let for_everybody = "exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) acl where acl.grantee = 0)";
    assert_eq!(session.ask(&list(for_everybody)).await, "");
}
