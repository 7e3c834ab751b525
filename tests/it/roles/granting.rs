//! Granting and revoking: what it does to whom, and who may.

use pgmutex::{Error, Mutexes, Role, SchemaName, SessionBackend};

use super::{DENIED, Login, refusal};
use crate::support::{Database, mutex_id, session_at};

async fn roles_of(mutexes: &Mutexes, database_role: &str) -> Vec<Role> {
    let all = mutexes.roles().await.unwrap();
    all.into_iter()
        .filter(|granted| granted.database_role == database_role)
        .map(|granted| granted.role)
        .collect()
}

#[tokio::test]
async fn a_role_is_granted_listed_replaced_and_revoked() {
    let database = Database::fresh().await;
    let owner = database.mutexes().await;
    let (name, url) = database.role("").await;
    let them = session_at(&url).await;
    let (look, count, force) = (
        "select * from pgmutex.held",
        "select pgmutex.list_count()",
        "select pgmutex.force_release('g', 'm', '1')",
    );
    let denied = || Some(DENIED.to_owned());
    let may = async || {
        [
            refusal(&them, look).await,
            refusal(&them, count).await,
            refusal(&them, force).await,
        ]
    };

    assert_eq!(may().await, [denied(), denied(), denied()]);
    owner.grant_role(&name, Role::Admin).await.unwrap();
    owner.grant_role(&name, Role::Admin).await.unwrap();
    assert_eq!(may().await, [None, None, None]);
    assert_eq!(roles_of(&owner, &name).await, [Role::Admin]);
    owner.grant_role(&name, Role::Application).await.unwrap();
    assert_eq!(may().await, [None, None, denied()]);
    assert_eq!(roles_of(&owner, &name).await, [Role::Application]);
    owner.grant_role(&name, Role::Reader).await.unwrap();
    assert_eq!(may().await, [None, denied(), denied()]);
    owner.grant_role(&name, Role::Application).await.unwrap();

    let other = owner.revoke_role(&name, Role::Reader).await.unwrap_err();
    assert!(
        matches!(&other, Error::Refused { reason } if reason.contains("has the role application, not reader")),
        "{other:?}"
    );
    assert_eq!(may().await, [None, None, denied()]);
    assert!(owner.revoke_role(&name, Role::Application).await.unwrap());
    assert!(!owner.revoke_role(&name, Role::Application).await.unwrap());
    assert_eq!(may().await, [denied(), denied(), denied()]);
    assert_eq!(roles_of(&owner, &name).await, []);
    // Nothing of it is left: the database role could be dropped.
    database
        .session()
        .await
        .run(&format!("drop role {name}"))
        .await;
}

#[tokio::test]
async fn what_a_newer_version_adds_is_given_to_those_who_have_the_role() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let [reader, application, admin] = Login::all(&database).await;
    let (by_hand, by_hand_url) = database.role_called("by_hand", "").await;
    s.run(&format!(
        "grant usage on schema pgmutex to {by_hand}; grant select on pgmutex.held to {by_hand}; \
         grant execute on function pgmutex.force_release to {}",
        application.name
    ))
    .await;
    // As a later migration would.
    s.run(
        "set search_path = pgmutex, pg_temp; \
         create function novelty() returns integer language sql as 'select 1'; \
         create view novelties as select 1 as novelty; \
         insert into object_role (kind, name, role) values ('function', 'novelty', 'application'), ('relation', 'novelties', 'reader'); \
         select complete_grants(); \
         select complete_grants()",
    )
    .await;
    let denied = || Some(DENIED.to_owned());
    for (login, url, may_look, may_call) in [
        ("reader", &reader.url, None, denied()),
        ("application", &application.url, None, None),
        ("admin", &admin.url, None, None),
        ("by hand", &by_hand_url, denied(), denied()),
    ] {
        let them = session_at(url).await;
        let look = refusal(&them, "select * from pgmutex.novelties").await;
        assert_eq!(look, may_look, "{login}");
        let call = refusal(&them, "select pgmutex.novelty()").await;
        assert_eq!(call, may_call, "{login}");
    }
    let stranger = "has_function_privilege('pg_monitor', 'pgmutex.novelty()', 'execute') \
                    or has_type_privilege('pg_monitor', 'pgmutex.novelties', 'usage')";
    assert_eq!(s.ask(&format!("select ({stranger})::text")).await, "false");
    // What was granted by hand stays, also when the role is granted once more.
    let owner = database.mutexes().await;
    owner
        .grant_role(&application.name, Role::Application)
        .await
        .unwrap();
    let force = "select pgmutex.force_release('g', 'm', '1')";
    assert_eq!(refusal(&application.session().await, force).await, None);
    let look = "select * from pgmutex.held";
    assert_eq!(refusal(&session_at(&by_hand_url).await, look).await, None);
}

/// Whatever the newest migration is, nobody who has a role waits for a grant after it.
#[test]
fn the_newest_migration_completes_the_grants() {
    let runner = pgmutex::embedded_migrations();
    let newest = runner.get_migrations().iter().max().unwrap();
    assert!(
        newest
            .sql()
            .unwrap()
            .trim_end()
            .ends_with("select complete_grants();"),
        "{newest}"
    );
}

#[tokio::test]
async fn what_cannot_be_granted_is_refused_with_advice() {
    let database = Database::fresh().await;
    let owner = database.mutexes().await;
    let s = database.session().await;
    let (name, _) = database.role("").await;
    let postgres = s.ask("select current_user::text").await;
    for (database_role, role, advice) in [
        (
            "nobody at all",
            Role::Reader,
            "there is no database role \"nobody at all\": make it first",
        ),
        ("public", Role::Reader, "there is no database role public"),
        ("", Role::Owner, "there is no database role \"\""),
        (postgres.as_str(), Role::Reader, "owns the schema"),
    ] {
        let error = owner.grant_role(database_role, role).await.unwrap_err();
        assert!(
            matches!(&error, Error::Refused { reason } if reason.contains(advice)),
            "{database_role:?}: {error:?}"
        );
        let revoked = owner.revoke_role(database_role, role).await;
        assert!(
            matches!(revoked, Err(Error::Refused { .. })),
            "{database_role:?}: {revoked:?}"
        );
    }
    let kept = owner.revoke_role(&postgres, Role::Owner).await.unwrap_err();
    assert!(kept.to_string().contains("grant it to another"), "{kept}");
    let long = "x".repeat(64);
    assert!(owner.grant_role(&long, Role::Reader).await.is_err());
    for call in [
        "grant_role(null, 'reader')".to_owned(),
        format!("grant_role('{name}', null)"),
        format!("grant_role('{name}', 'superuser')"),
        format!("revoke_role('{name}', '')"),
    ] {
        let code = refusal(&s, &format!("select pgmutex.{call}")).await;
        assert_eq!(code.as_deref(), Some("PM003"), "{call}");
    }
    s.run("begin isolation level repeatable read").await;
    let call = format!("select pgmutex.grant_role('{name}', 'reader')");
    assert_eq!(refusal(&s, &call).await.as_deref(), Some("PM001"));
    s.run("rollback").await;
    assert_eq!(roles_of(&owner, &name).await, []);

    let without = Mutexes::builder().backend(SessionBackend::new());
    for error in [
        without.grant_role(&name, Role::Reader).await.unwrap_err(),
        without.revoke_role(&name, Role::Reader).await.unwrap_err(),
        without.roles().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn only_the_owner_grants_and_others_are_told_who_may() {
    let database = Database::fresh().await;
    let (name, _) = database.role("").await;
    for login in &Login::all(&database).await[1..] {
        let mutexes = login.mutexes().await;
        for error in [
            mutexes.grant_role(&name, Role::Reader).await.unwrap_err(),
            mutexes
                .grant_role(&login.name, Role::Owner)
                .await
                .unwrap_err(),
            mutexes.revoke_role(&name, Role::Reader).await.unwrap_err(),
            mutexes.roles().await.unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::PermissionDenied { reason } if reason.contains("by the owner of the schema")),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn names_that_need_quotes_are_names_like_any_other() {
    let database = Database::empty().await;
    let schema = SchemaName::new("Odd \"schema\" 'of locks'").unwrap();
    let odd = || Mutexes::builder().schema(schema.clone());
    let owner = odd().connect(database.url()).await.unwrap();
    owner.migrate().await.unwrap();
    let s = database.session().await;
    let name = format!("{} \"; drop Rôle 'x", database.name());
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    s.run(&format!("create role {quoted} login password 'secret'"))
        .await;

    for role in [Role::Reader, Role::Admin, Role::Application] {
        owner.grant_role(&name, role).await.unwrap();
        assert_eq!(roles_of(&owner, &name).await, [role]);
    }
    let them = odd().connect(&database.url_of(&name)).await.unwrap();
    them.capture(mutex_id("m")).await.unwrap();
    assert!(them.roles().await.is_err());
    owner.revoke_role(&name, Role::Application).await.unwrap();
    assert!(them.capture(mutex_id("n")).await.is_err());
    owner.grant_role(&name, Role::Owner).await.unwrap();
    assert_eq!(roles_of(&them, &name).await, [Role::Owner]);
    them.capture(mutex_id("n")).await.unwrap();
    drop((them, owner));
    s.run(&format!(
        "drop owned by {quoted} cascade; drop role {quoted}"
    ))
    .await;
}
