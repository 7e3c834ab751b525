//! Handing the schema over: in databases where no superuser takes part, too.

use pgmutex::{Error, Mutexes, Role};

use super::{DENIED, refusal};
use crate::support::{Database, Session, mutex_id, session_at};

/// Who owns the objects of the schema, and the schema.
const OWNERS: &str = "
    select string_agg(distinct pg_get_userbyid(owner), ' ') from (
        select nspowner from pg_namespace where nspname = 'pgmutex'
        union all select relowner from pg_class where relnamespace = 'pgmutex'::regnamespace
        union all select proowner from pg_proc where pronamespace = 'pgmutex'::regnamespace
        union all select typowner from pg_type where typnamespace = 'pgmutex'::regnamespace) o (owner)";

/// Makes the newest migration one that is still to come.
const FORGET_THE_NEWEST: &str = "delete from pgmutex.refinery_schema_history \
     where version = (select max(version) from pgmutex.refinery_schema_history)";

/// A role that owns its database, may make roles, and is no superuser: as on a managed server.
async fn owner_of(database: &Database) -> (String, String) {
    let (name, url) = database.role_called("dba", "createrole").await;
    let hand_over = format!("alter database {} owner to {name}", database.name());
    database.session().await.run(&hand_over).await;
    (name, url)
}

#[tokio::test]
async fn where_nobody_is_superuser_everything_can_be_granted_and_handed_over() {
    let database = Database::empty().await;
    let (dba, dba_url) = owner_of(&database).await;
    let (app, app_url) = database.role_called("app", "").await;
    let (team, team_url) = database.role_called("team", "").await;
    let (reader, reader_url) = database.role_called("reader", "").await;

    // From here on as these roles alone.
    let owner = Mutexes::connect(&dba_url).await.unwrap();
    assert!(!owner.migrate().await.unwrap().applied.is_empty());
    let s = session_at(&dba_url).await;
    assert_eq!(s.ask(OWNERS).await, dba);
    owner.grant_role(&app, Role::Application).await.unwrap();
    owner.grant_role(&reader, Role::Reader).await.unwrap();
    let locks = Mutexes::connect(&app_url).await.unwrap();
    let first = locks.capture(mutex_id("m")).await.unwrap();

    let not_yet = owner.grant_role(&team, Role::Owner).await.unwrap_err();
    let advice = format!("grant {team} to {dba}");
    assert!(
        matches!(&not_yet, Error::PermissionDenied { reason } if reason.contains(&advice)),
        "{not_yet:?}"
    );
    assert_eq!(s.ask(OWNERS).await, dba);
    // What an administrator of roles does.
    let admin = database.session().await;
    admin.run(&advice).await;
    owner.grant_role(&team, Role::Owner).await.unwrap();
    assert_eq!(s.ask(OWNERS).await, team);
    admin.run(&format!("revoke {team} from {dba}")).await;

    // The new owner migrates, those who had roles go on, and the old owner is a stranger.
    let theirs = session_at(&team_url).await;
    theirs.run(FORGET_THE_NEWEST).await;
    let new_owner = Mutexes::connect(&team_url).await.unwrap();
    for migrates in [&owner, &locks] {
        let denied = migrates.migrate().await.unwrap_err();
        assert!(
            matches!(denied, Error::PermissionDenied { .. }),
            "{denied:?}"
        );
    }
    assert_eq!(new_owner.migrate().await.unwrap().applied.len(), 1);
    assert_eq!(s.ask(OWNERS).await, team);
    assert_eq!(
        refusal(&s, "select * from pgmutex.held").await.as_deref(),
        Some(DENIED)
    );
    let again = locks.capture(mutex_id("m")).await.unwrap();
    assert_eq!(again.fencing_token, first.fencing_token);
    locks.capture(mutex_id("n")).await.unwrap();
    let seen = session_at(&reader_url)
        .await
        .ask("select count(*)::text from pgmutex.held where owner_session like 'sha256:%'")
        .await;
    assert_eq!(seen, "2");
    let denied = owner.grant_role(&app, Role::Admin).await.unwrap_err();
    assert!(
        matches!(denied, Error::PermissionDenied { .. }),
        "{denied:?}"
    );
    new_owner.grant_role(&dba, Role::Admin).await.unwrap();
    new_owner
        .revoke_role(&app, Role::Application)
        .await
        .unwrap();
    let granted: Vec<(String, Role)> = new_owner
        .roles()
        .await
        .unwrap()
        .into_iter()
        .map(|granted| (granted.database_role, granted.role))
        .collect();
    assert_eq!(
        granted,
        [
            (dba, Role::Admin),
            (reader, Role::Reader),
            (team, Role::Owner)
        ]
    );
}

#[tokio::test]
async fn whoever_may_make_no_schema_is_told_so() {
    let database = Database::fresh().await;
    let (plain, plain_url) = database.role_called("plain", "").await;
    let (team, _) = database.role_called("team", "").await;
    let owner = database.mutexes().await;
    owner.grant_role(&plain, Role::Admin).await.unwrap();
    owner.grant_role(&plain, Role::Owner).await.unwrap();
    owner.grant_role(&plain, Role::Owner).await.unwrap();
    let s = database.session().await;
    assert_eq!(s.ask(OWNERS).await, plain);
    s.run(&format!("grant {team} to {plain}")).await;
    let plain = Mutexes::connect(&plain_url).await.unwrap();
    let denied = plain.grant_role(&team, Role::Owner).await.unwrap_err();
    let advice = format!("grant create on database {}", database.name());
    assert!(
        matches!(&denied, Error::PermissionDenied { reason } if reason.contains(&advice)),
        "{denied:?}"
    );
    s.run(&format!("{advice} to {}_plain", database.name()))
        .await;
    plain.grant_role(&team, Role::Owner).await.unwrap();
    assert_eq!(s.ask(OWNERS).await, team);
}

/// A member that sees nothing of what its group may do without saying so.
#[tokio::test]
async fn one_who_does_not_inherit_hands_over_too() {
    let database = Database::empty().await;
    let (dba, url) = database.role_called("dba", "noinherit").await;
    let (team, _) = database.role_called("team", "").await;
    let s = database.session().await;
    s.run(&format!(
        "grant create on database {} to {dba}; grant {team} to {dba}",
        database.name()
    ))
    .await;
    let owner = Mutexes::connect(&url).await.unwrap();
    owner.migrate().await.unwrap();
    owner.grant_role(&team, Role::Owner).await.unwrap();
    assert_eq!(s.ask(OWNERS).await, team);
}

async fn as_a_later_migration(session: &Session) {
    session
        .run(
            "begin; set local search_path = pgmutex, pg_temp; \
             create function novelty() returns text language sql security definer as 'select current_user::text'; \
             create table novelties (novelty text); create view new_view as select 1 as one; create type new_type as enum ('a'); \
             insert into object_role (kind, name, role) values ('function', 'novelty', 'application'), \
                 ('relation', 'novelties', 'owner'), ('relation', 'new_view', 'reader'), ('type', 'new_type', 'application'); \
             create table of_another_program (a integer); \
             select complete_grants(); \
             commit",
        )
        .await;
}

/// Functions run with the owner's rights, not with those of whoever happened to migrate.
#[tokio::test]
async fn what_a_superuser_or_a_member_migrates_belongs_to_the_owner() {
    for attributes in ["superuser", ""] {
        let database = Database::fresh().await;
        let (team, _) = database.role_called("team", "").await;
        let (app, app_url) = database.role_called("app", "").await;
        let (migrator, migrator_url) = database.role_called("migrator", attributes).await;
        let owner = database.mutexes().await;
        owner.grant_role(&app, Role::Application).await.unwrap();
        owner.grant_role(&team, Role::Owner).await.unwrap();
        let s = database.session().await;
        if attributes.is_empty() {
            s.run(&format!("grant {team} to {migrator}")).await;
        }
        as_a_later_migration(&session_at(&migrator_url).await).await;
        let runs_as = session_at(&app_url)
            .await
            .ask("select pgmutex.novelty()")
            .await;
        assert_eq!(runs_as, team);
        // Another program's are left to it.
        s.run(&format!(
            "alter table pgmutex.of_another_program owner to {migrator}; \
             select pgmutex.complete_grants()"
        ))
        .await;
        let theirs = "select pg_get_userbyid(relowner)::text from pg_class where oid = 'pgmutex.of_another_program'::regclass";
        assert_eq!(s.ask(theirs).await, migrator);
        s.run("drop table pgmutex.of_another_program").await;
        assert_eq!(s.ask(OWNERS).await, team);
    }
}

/// Where an administrator has made the schema, and only lets the application fill it.
#[tokio::test]
async fn one_who_does_not_own_the_schema_is_told_who_grants() {
    let database = Database::empty().await;
    let (filler, url) = database.role_called("filler", "").await;
    let (app, _) = database.role_called("app", "").await;
    let s = database.session().await;
    s.run(&format!(
        "create schema pgmutex; grant usage, create on schema pgmutex to {filler}"
    ))
    .await;
    let mutexes = Mutexes::connect(&url).await.unwrap();
    mutexes.migrate().await.unwrap();
    let denied = mutexes.grant_role(&app, Role::Reader).await.unwrap_err();
    let administrator = s.ask("select current_user::text").await;
    assert!(
        matches!(&denied, Error::PermissionDenied { reason } if reason.contains(&format!("connect as {administrator}"))),
        "{denied:?}"
    );
    // The administrator makes it whole.
    let administrator = database.mutexes().await;
    administrator
        .grant_role(&filler, Role::Owner)
        .await
        .unwrap();
    assert_eq!(s.ask(OWNERS).await, filler);
    mutexes.grant_role(&app, Role::Reader).await.unwrap();
}
