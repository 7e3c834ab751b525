//! Who may do what about the audit, and what those who may not can make it say: nothing but the truth.

use super::{audited, trail};
use crate::support::{Database, Session, session_at};

/// What an application may call: all of them, even those that it should not be granted.
async fn application(database: &Database) -> (String, String) {
    let (role, url) = database.role("").await;
    let grant = format!(
        "grant usage on schema pgmutex to {role}; grant execute on all functions in schema pgmutex to {role}"
    );
    database.session().await.run(&grant).await;
    (role, url)
}

/// Takes the role away once its session is over, which removes its temporary tables itself.
async fn goes(role: &str, caller: Session, session: &Session) {
    let there = format!(
        "select count(*)::text from pg_stat_activity where pid = {}",
        caller.process_id()
    );
    drop(caller);
    session.ask_until(&there, |count| count == "0").await;
    session
        .run(&format!("drop owned by {role} cascade; drop role {role}"))
        .await;
}

#[tokio::test]
async fn only_the_owner_switches_it_reads_it_and_drops_months() {
    let (database, session) = audited().await;
    let (role, url) = application(&database).await;
    let caller = session_at(&url).await;
    // As an application finds it that is granted every function, and has something to keep and to drop.
    session
        .run(
            "select pgmutex.make_audit_partition('audit_2020_01', $$for values from ('2020-01-01 00:00+00') to ('2020-02-01 00:00+00')$$, null)",
        )
        .await;
    for forbidden in [
        "select pgmutex.disable_audit()::text",
        "select made::text from pgmutex.keep_audit('0')",
        "select pgmutex.make_audit_partition('audit_2030_01', 'default', null)::text",
        "select event from pgmutex.audit",
        "select event from pgmutex.audit_default",
        "insert into pgmutex.audit (event) values ('forced') returning event",
        "update pgmutex.audit set event = 'forced' returning event",
        "delete from pgmutex.audit returning event",
        "update pgmutex.mutex_model set ending = 'forced by nobody' returning ending",
        "do $$ begin truncate pgmutex.audit; end $$",
        "do $$ begin drop trigger audit_hold on pgmutex.mutex_model; end $$",
        "select nextval('pgmutex.audit_number_sequence')::text",
    ] {
        let error = caller.try_ask(forbidden).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}");
    }
    super::on_or_off(&session, "disable").await;
    let error = caller
        .try_ask("select pgmutex.enable_audit()::text")
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    goes(&role, caller, &session).await;
}

#[tokio::test]
async fn those_who_may_capture_cannot_forge_why_a_hold_ended() {
    let (database, session) = audited().await;
    let (role, url) = application(&database).await;
    let caller = session_at(&url).await;
    caller
        .run("set application_name = 'forger'; set pgmutex.ending = 'forced by Ada'")
        .await;
    caller.capture("m", "a").await;
    caller.release("m", "a").await;
    assert_eq!(trail(&session, "m").await, "captured a, released a");
    // What names contain is data.
    let name = "x'); drop table pgmutex.audit; --";
    let capture = format!(
        "capture('tests', 'step', 'n', 'b', owner_name => '{}')",
        name.replace('\'', "''")
    );
    caller.outcome(&capture).await;
    // A trigger runs with the owner's rights; it says who was logged in.
    let who = "select string_agg(distinct concat_ws(' ', database_role, application_name), ', ') from pgmutex.audit";
    assert_eq!(session.ask(who).await, format!("{role} forger"));
    let kept = "select owner_name from pgmutex.audit where mutex_id = 'n'";
    assert_eq!(session.ask(kept).await, name);
    // Neither a path nor temporary objects of the caller's stand in for ours.
    caller
        .run(
            "create temporary table audit (at timestamptz); create temporary table mutex_model (mutex_id text); \
             set search_path = pg_temp, public",
        )
        .await;
    caller.capture("o", "a").await;
    caller.release("o", "a").await;
    assert_eq!(trail(&session, "o").await, "captured a, released a");
    goes(&role, caller, &session).await;
}

/// It may write holds, not events; and neither its path nor temporary tables of its own stand in for ours.
#[tokio::test]
async fn another_program_that_writes_rows_itself_is_recorded_by_the_owner() {
    let (database, session) = audited().await;
    let (role, url) = database.role("").await;
    session
        .run(&format!(
            "grant usage on schema pgmutex to {role}; grant insert, delete, select on pgmutex.mutex_model to {role}; \
             grant execute on function pgmutex.next_fencing_token, pgmutex.rule_ends_at, pgmutex.hold_is_within_limits to {role}; \
             grant temporary on database {} to {role}",
            database.name()
        ))
        .await;
    let caller = session_at(&url).await;
    caller
        .run(
            "create temporary table audit (at timestamptz); set search_path = pg_temp, pgmutex; \
             insert into pgmutex.mutex_model (mutex_id, owner_session) values ('m', 'a'); \
             delete from pgmutex.mutex_model where mutex_id = 'm'",
        )
        .await;
    assert_eq!(trail(&session, "m").await, "captured a, released a");
    goes(&role, caller, &session).await;
}

/// A partition that a superuser makes belongs to the owner of the rest.
#[tokio::test]
async fn whoever_keeps_the_months_the_owner_owns_them() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let (role, url) = database.role("").await;
    session
        .run(&format!(
            "grant create on database {} to {role}; grant usage, create on schema pgmutex to {role}; \
             alter table pgmutex.audit owner to {role}; alter table pgmutex.mutex_model owner to {role}",
            database.name()
        ))
        .await;
    session.run("select pgmutex.enable_audit()").await;
    let owners = "select string_agg(distinct c.relowner::regrole::text, ', ') from pg_inherits i join pg_class c on c.oid = i.inhrelid \
                  where i.inhparent = 'pgmutex.audit'::regclass and c.relname <> 'audit_default'";
    assert_eq!(session.ask(owners).await, role);
    drop(url);
    session
        .run(&format!(
            "reassign owned by {role} to current_user; drop owned by {role} cascade; drop role {role}"
        ))
        .await;
}
