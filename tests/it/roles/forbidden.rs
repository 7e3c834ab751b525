//! What each role must not do, tried one by one.

use pgmutex::{Mutexes, Role};

use super::{DENIED, Login, refusal};
use crate::support::{Database, session_at};

/// The functions that only an admin may call, beside those of an application.
const FOR_ADMINS: &str = "bump_generation force_release pool_create_index pool_drop_index";
const FOR_APPLICATIONS: &str = "attach_session capture capture_all capture_each capture_together doctor ensure_generation evict fence holder_in_the_way \
     keep leave_line list list_count list_waiting look_at_lines pool_activate pool_add pool_block pool_checkout \
     pool_count pool_count_active pool_delete pool_delete_one pool_find pool_find_one_and_update pool_get pool_get_session pool_inactive \
     pool_list_indexes pool_lock pool_statistics pool_success pool_update refresh refresh_together \
     release release_each release_owner release_together request statistics sweep";
const FOR_READERS: &str = "blocking held pool_statistics refinery_schema_history waiting";
const READ_BY_APPLICATIONS: &str = "hold pool";

fn functions_of(role: Role) -> Vec<&'static str> {
    let words = |list: &'static str| list.split_whitespace();
    match role {
        Role::Reader => Vec::new(),
        Role::Application => words(FOR_APPLICATIONS).collect(),
        _ => words(FOR_APPLICATIONS).chain(words(FOR_ADMINS)).collect(),
    }
}

fn relations_of(role: Role) -> Vec<&'static str> {
    let words = |list: &'static str| list.split_whitespace();
    match role {
        Role::Reader => words(FOR_READERS).collect(),
        _ => words(FOR_READERS)
            .chain(words(READ_BY_APPLICATIONS))
            .chain(words(if role == Role::Admin { "audit" } else { "" }))
            .collect(),
    }
}

/// The names that a query gives.
async fn names(database: &Database, query: &str) -> Vec<String> {
    let rows = database.client().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const FUNCTIONS: &str = "select distinct proname::text from pg_proc where pronamespace = 'pgmutex'::regnamespace order by 1";
const RELATIONS: &str = "select relname::text from pg_class \
     where relnamespace = 'pgmutex'::regnamespace and relkind not in ('i', 'I', 't', 'c') order by 1";

#[tokio::test]
async fn nothing_is_for_everybody() {
    let database = Database::fresh().await;
    let for_everybody = "
        with ours (object, acl) as (
            select 'schema', coalesce(n.nspacl, acldefault('n', n.nspowner)) from pg_namespace n where n.nspname = 'pgmutex'
            union all
            select c.oid::regclass::text, coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::\"char\", c.relowner))
            from pg_class c where c.relnamespace = 'pgmutex'::regnamespace
            union all
            select a.attrelid::regclass || '.' || a.attname, a.attacl
            from pg_attribute a join pg_class c on c.oid = a.attrelid where c.relnamespace = 'pgmutex'::regnamespace
            union all
            select p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner))
            from pg_proc p where p.pronamespace = 'pgmutex'::regnamespace
            union all
            -- An array's privileges are those of its elements.
            select t.oid::regtype::text, coalesce(t.typacl, acldefault('T', t.typowner))
            from pg_type t where t.typnamespace = 'pgmutex'::regnamespace and t.typelem = 0
        )
        select object from ours where exists (select from aclexplode(acl) a where a.grantee = 0)";
    assert_eq!(names(&database, for_everybody).await, [""; 0]);

    // And in the server's own words, for one who was given nothing.
    let (stranger, url) = database.role("").await;
    let given = "
        select 'schema' where has_schema_privilege(current_user, 'pgmutex', 'usage, create')
        union all
        select t.oid::text from pg_type t join pg_namespace n on n.oid = t.typnamespace
        where n.nspname = 'pgmutex' and has_type_privilege(t.oid, 'usage')
        union all
        select p.oid::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'pgmutex' and has_function_privilege(p.oid, 'execute')
        union all
        select c.oid::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'pgmutex' and c.relkind in ('r', 'p', 'v', 'm', 'f')
          and (has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger')
               or has_any_column_privilege(c.oid, 'select, insert, update, references'))
        union all
        select c.oid::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'pgmutex' and case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'usage, select, update') end";
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let rows = client.query(given, &[]).await.unwrap();
    assert_eq!(rows.len(), 0, "{stranger}");
}

/// Whoever adds an object says whose it is.
#[tokio::test]
async fn every_object_is_said_to_be_somebodys() {
    let database = Database::fresh().await;
    let unknown = "
        select k.kind || ' ' || k.name from (
            select 'function' as kind, p.proname as name from pg_proc p where p.pronamespace = 'pgmutex'::regnamespace
            union
            select 'relation', c.relname from pg_class c
            where c.relnamespace = 'pgmutex'::regnamespace and c.relkind not in ('i', 'I', 't', 'c')
            union
            select 'type', t.typname from pg_type t
            where t.typnamespace = 'pgmutex'::regnamespace and t.typelem = 0
              and not exists (select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')) k
        full join pgmutex.object_role o using (kind, name)
        where k.name is null or o.name is null";
    assert_eq!(names(&database, unknown).await, [""; 0]);
}

#[tokio::test]
async fn a_role_may_call_its_functions_and_no_others() {
    let database = Database::fresh().await;
    let calls = "
        select format('select pgmutex.%I(%s)', p.proname,
                      (select string_agg('null::' || format_type(a.type, null), ', ' order by a.place)
                       from unnest(p.proargtypes) with ordinality a (type, place))), p.proname::text
        from pg_proc p where p.pronamespace = 'pgmutex'::regnamespace";
    let calls: Vec<(String, String)> = database
        .client()
        .await
        .query(calls, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    for login in Login::all(&database).await {
        let (session, may) = (login.session().await, functions_of(login.role));
        let called = names(&database, FUNCTIONS).await;
        assert!(may.iter().all(|f| called.iter().any(|c| c == f)), "{may:?}");
        for (call, function) in &calls {
            let refused = refusal(&session, call).await.as_deref() == Some(DENIED);
            assert_eq!(
                refused,
                !may.contains(&function.as_str()),
                "{}: {call}",
                login.role
            );
        }
    }
}

#[tokio::test]
async fn a_role_may_read_its_views_and_write_nothing() {
    let database = Database::fresh().await;
    let relations = names(&database, RELATIONS).await;
    assert!(relations.iter().any(|r| r == "mutex_model"));
    for login in Login::all(&database).await {
        let (session, may) = (login.session().await, relations_of(login.role));
        for relation in &relations {
            let look = format!("select * from pgmutex.{relation}");
            let refused = refusal(&session, &look).await.as_deref() == Some(DENIED);
            assert_eq!(
                refused,
                !may.contains(&relation.as_str()),
                "{}: {look}",
                login.role
            );
            for write in [
                format!("insert into pgmutex.{relation} default values"),
                format!("delete from pgmutex.{relation}"),
                format!("truncate pgmutex.{relation}"),
                format!("copy pgmutex.{relation} from stdin"),
                format!("do $$ begin lock table pgmutex.{relation} in share mode; end $$"),
                format!("select nextval('pgmutex.{relation}')"),
                format!("select setval('pgmutex.{relation}', 1)"),
                format!(
                    "create trigger t after insert on pgmutex.{relation} for each statement execute function pgmutex.lease_has_ended()"
                ),
                format!("create rule r as on insert to pgmutex.{relation} do nothing"),
                format!("select * from pgmutex.{relation} for update"),
            ] {
                let code = refusal(&session, &write).await;
                // Some cannot be done to a view or a table by anybody: those are refused for that.
                assert!(
                    matches!(code.as_deref(), Some(DENIED | "42809" | "55000" | "0A000")),
                    "{}: {write}: {code:?}",
                    login.role
                );
            }
        }
        for write in [
            "update pgmutex.mutex_model set owner_session = 'me'",
            "update pgmutex.hold set owner_session = 'me'",
            "update pgmutex.held set owner_session = 'me'",
            "delete from pgmutex.hold",
            "insert into pgmutex.hold (mutex_id, owner_session) values ('1', 'me')",
            "update pgmutex.mutex_waiter set ticket = 0",
            "update pgmutex.mutex_listener set has_session = false",
            "update pgmutex.pool_session set payload = '{}'",
            "update pgmutex.token_generation set generation = 1",
            "update pgmutex.object_role set role = 'reader'",
            "update pgmutex.refinery_schema_history set checksum = '1'",
            "select * from pgmutex.hold for update",
        ] {
            let code = refusal(&session, write).await;
            assert!(
                matches!(code.as_deref(), Some(DENIED | "55000" | "0A000")),
                "{}: {write}: {code:?}",
                login.role
            );
        }
    }
}

#[tokio::test]
async fn a_role_changes_nothing_about_the_schema_and_becomes_nobody_else() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let owner = s.ask("select current_user::text").await;
    let logins = Login::all(&database).await;
    let (victim, _) = database.role_called("victim", "").await;
    let privileges = "
        select concat((select string_agg(concat_ws(' ', n.nspowner, n.nspacl), ' ') from pg_namespace n where n.nspname = 'pgmutex'),
                      (select string_agg(concat_ws(' ', relname, relowner, relacl), ' ' order by oid) from pg_class
                       where relnamespace = 'pgmutex'::regnamespace),
                      (select string_agg(concat_ws(' ', proname, proowner, proacl, proconfig, md5(prosrc)), ' ' order by oid) from pg_proc
                       where pronamespace = 'pgmutex'::regnamespace),
                      (select string_agg(concat_ws(' ', typname, typowner, typacl), ' ' order by oid) from pg_type
                       where typnamespace = 'pgmutex'::regnamespace))";
    let before = s.ask(privileges).await;
    for login in &logins {
        let session = login.session().await;
        for change in [
            "create table pgmutex.mine (a integer)".to_owned(),
            "create view pgmutex.mine as select 1".to_owned(),
            "create function pgmutex.mine() returns integer language sql as 'select 1'".to_owned(),
            "create function pgmutex.capture(integer) returns integer language sql as 'select 1'".to_owned(),
            "create type pgmutex.mine as (a integer)".to_owned(),
            "create domain pgmutex.mine as integer".to_owned(),
            "create sequence pgmutex.mine".to_owned(),
            "create operator pgmutex.= (leftarg = text, rightarg = text, function = texteq)".to_owned(),
            "create or replace view pgmutex.held as select 1 as one".to_owned(),
            "create or replace function pgmutex.sweep(batch integer default 1000) returns bigint language sql as 'select 0::bigint'".to_owned(),
            "create index mine on pgmutex.mutex_model (owner_name)".to_owned(),
            "create statistics pgmutex.mine on owner_name, owner_id from pgmutex.mutex_model".to_owned(),
            "alter table pgmutex.mutex_model disable trigger all".to_owned(),
            "alter table pgmutex.mutex_model add column mine text".to_owned(),
            "alter table pgmutex.mutex_model enable row level security".to_owned(),
            format!("alter table pgmutex.mutex_model owner to {}", login.name),
            "alter function pgmutex.sweep reset all".to_owned(),
            "alter function pgmutex.sweep set search_path = mine".to_owned(),
            "alter type pgmutex.hold_outcome add attribute mine text".to_owned(),
            "alter sequence pgmutex.fencing_token_sequence restart".to_owned(),
            "alter schema pgmutex rename to mine".to_owned(),
            format!("alter schema pgmutex owner to {}", login.name),
            "comment on view pgmutex.held is 'mine'".to_owned(),
            "drop view pgmutex.blocking".to_owned(),
            "drop function pgmutex.sweep".to_owned(),
            "drop table pgmutex.mutex_model cascade".to_owned(),
            "drop schema pgmutex cascade".to_owned(),
            format!("alter default privileges for role {owner} in schema pgmutex grant all on tables to {}", login.name),
            format!("set role {owner}"),
            format!("set session authorization {owner}"),
            format!("grant {owner} to {}", login.name),
            format!("drop owned by {owner}"),
            format!("reassign owned by {owner} to {}", login.name),
            format!("select pgmutex.grant_role('{}', 'owner')", login.name),
            format!("select pgmutex.grant_role('{}', 'admin')", login.name),
            "select pgmutex.complete_grants()".to_owned(),
            "select reader from pgmutex.role_mark, pgmutex.roles".to_owned(),
        ] {
            let code = refusal(&session, &change).await;
            assert!(
                matches!(code.as_deref(), Some(DENIED | "0LP01")),
                "{}: {change}: {code:?}",
                login.role
            );
        }
        // Passing on what one was given is no error where one has it, and does nothing.
        for passing in [
            "usage on schema pgmutex",
            "select on pgmutex.held",
            "execute on function pgmutex.sweep",
        ] {
            let _ = refusal(&session, &format!("grant {passing} to {victim}")).await;
            let _ = refusal(&session, &format!("grant {passing} to public")).await;
        }
    }
    assert_eq!(s.ask(privileges).await, before);
}

/// The names that our functions and views use, made once more where a caller may make them.
#[tokio::test]
async fn objects_of_the_callers_do_not_stand_in_for_ours() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let logins = Login::all(&database).await;
    s.run("insert into pgmutex.mutex_model (mutex_id, owner_session) values ('theirs', 'secret')")
        .await;
    for login in &logins {
        let name = &login.name;
        s.run(&format!(
            "grant temporary, create on database {} to {name}",
            database.name()
        ))
        .await;
        let caller = session_at(&login.url).await;
        caller
            .run(&format!(
                "create schema {name}; set search_path = {name}; \
                 create function trap() returns boolean language plpgsql as $$ \
                 begin if current_user <> '{name}' then raise exception 'runs as %', current_user; end if; return true; end $$; \
                 create function equal(text, text) returns boolean language sql as 'select {name}.trap() or true'; \
                 create operator = (leftarg = text, rightarg = text, function = equal); \
                 create function has_table_privilege(oid, text) returns boolean language sql as 'select {name}.trap() or true'; \
                 create function has_table_privilege(regclass, text) returns boolean language sql as 'select {name}.trap() or true'; \
                 create function clock_timestamp() returns timestamptz language sql as 'select case when {name}.trap() then ''infinity''::timestamptz end'; \
                 create function pg_advisory_xact_lock(bigint) returns void language plpgsql as 'begin perform {name}.trap(); end'; \
                 create function format(text) returns text language sql as 'select {name}.trap()::text'; \
                 create function refuse_input(text) returns void language plpgsql as 'begin perform {name}.trap(); end'; \
                 create function check_granting(name, text) returns void language plpgsql as 'begin perform {name}.trap(); end'; \
                 create function lock_mutex(text, text, text) returns void language plpgsql as 'begin perform {name}.trap(); end'; \
                 create domain hold_outcome as text check ({name}.trap()); \
                 create temporary table mutex_model (mutex_group text); \
                 create temporary view hold as select trap(), 'me'::text as owner_session; \
                 create temporary view live_hold as select trap(), 'me'::text as owner_session; \
                 create temporary view object_role as select trap(); \
                 set search_path = {name}, pg_temp, pgmutex, pg_catalog"
            ))
            .await;
        for call in [
            "capture('g', 'm', '1', 'me')",
            "refresh('g', 'm', '1', 'me')",
            "request('g', 'm', '1', 'me')",
            "release('g', 'm', '1', 'me')",
            "force_release('g', 'm', '1')",
            "list_waiting()",
            "sweep()",
            "pool_find('p')",
            "grant_role('me', 'owner')",
        ] {
            let answer = caller.try_run(&format!("select pgmutex.{call}")).await;
            if let Err(error) = answer {
                let code = error.as_db_error().unwrap().code().code();
                assert_eq!(code, DENIED, "{}: {call}: {error:?}", login.role);
            }
        }
        let shown = "select owner_session::text from pgmutex.held where mutex_id operator(pg_catalog.=) 'theirs'";
        let shown = caller.ask(shown).await;
        match login.role {
            Role::Reader => assert!(shown.starts_with("sha256:"), "{shown}"),
            _ => assert_eq!(shown, "secret"),
        }
        // Its temporary objects go when its session does.
        let process_id = caller.process_id();
        drop(caller);
        let is_there =
            format!("select count(*)::text from pg_stat_activity where pid = {process_id}");
        s.ask_until(&is_there, |count| count == "0").await;
        s.run(&format!("drop owned by {name} cascade")).await;
    }
    assert_eq!(
        s.ask("select string_agg(mutex_id, ' ') from pgmutex.mutex_model")
            .await,
        "theirs"
    );
}

/// What the role that migrates gives to others by default is not for the locks.
#[tokio::test]
async fn default_privileges_show_nobody_what_its_role_does_not() {
    let database = Database::empty().await;
    let (owner, owner_url) = database.role_called("owner", "").await;
    let (reader, reader_url) = database.role_called("reader", "").await;
    let s = database.session().await;
    s.run(&format!(
        "grant create on database {} to {owner}; \
         alter default privileges for role {owner} grant select on tables to {reader}; \
         alter default privileges for role {owner} grant execute on functions to {reader}",
        database.name()
    ))
    .await;
    let mutexes = Mutexes::connect(&owner_url).await.unwrap();
    mutexes.migrate().await.unwrap();
    mutexes.grant_role(&reader, Role::Reader).await.unwrap();
    mutexes.enable_audit().await.unwrap();
    s.capture("1", "key-of-ada").await;
    let them = session_at(&reader_url).await;
    assert!(
        them.ask("select owner_session from pgmutex.held")
            .await
            .starts_with("sha256:")
    );
    for relation in names(&database, RELATIONS).await {
        if !FOR_READERS.split_whitespace().any(|name| name == relation) {
            let look = format!("select * from pgmutex.{relation}");
            assert_eq!(
                refusal(&them, &look).await.as_deref(),
                Some(DENIED),
                "{look}"
            );
        }
    }
    let call = "select outcome from pgmutex.force_release('tests', 'step', '1')";
    assert_eq!(refusal(&them, call).await.as_deref(), Some(DENIED));
    s.run(&format!("drop owned by {owner} cascade")).await;
}
