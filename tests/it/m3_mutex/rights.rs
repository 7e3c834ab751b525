//! What the role of an application needs, and what it does not get.

use pgmutex::Role;

use super::{Application, with_view};
use crate::support::session_at;

#[tokio::test]
async fn the_view_is_all_that_the_application_needs() {
    let database = with_view().await;
    let (role, url) = database.role("").await;
    let session = database.session().await;
    let stranger = Application(session_at(&url).await);
    for statement in [
        "select id::text from m3_mutex",
        "delete from m3_mutex returning id::text",
    ] {
        let refused = stranger.0.try_ask(statement).await.unwrap_err();
        assert_eq!(super::refusal(refused).0, "42501", "{statement}");
    }

    let mutexes = database.mutexes().await;
    mutexes
        .install_m3_mutex("public", Some(&role))
        .await
        .unwrap();
    let application = Application(session_at(&url).await);
    application.insert("m", "a").await.unwrap();
    application.read("m").await.unwrap();
    assert_eq!(application.update("m").await.unwrap(), "1");
    assert_eq!(application.delete("m").await.unwrap(), "1");
    for forbidden in [
        "select outcome from pgmutex.capture('g', 'm', 'i', 's')",
        "select owner_session from pgmutex.held",
        "select id from pgmutex.import_m3_mutex('m3_mutex')",
        "select pgmutex.uninstall_m3_mutex()::text",
    ] {
        let refused = application.0.try_ask(forbidden).await.unwrap_err();
        assert_eq!(super::refusal(refused).0, "42501", "{forbidden}");
    }
    // What it finds first under the names of ours does not stand in for them.
    application
        .0
        .run(
            "create temp table mutex_model (a int); create temp table held (a int); create temp view hold as select 1 as a; \
             create function pg_temp.capture(text) returns text language sql as 'select 1'; set search_path = pg_temp, public",
        )
        .await;
    application.insert("m", "a").await.unwrap();
    assert_eq!(application.update("m").await.unwrap(), "1");
    assert_eq!(application.delete("m").await.unwrap(), "1");

    session
        .run(&format!("drop owned by {role} cascade; drop role {role}"))
        .await;
}

#[tokio::test]
async fn it_goes_on_when_the_schema_changes_hands() {
    let database = with_view().await;
    let (role, url) = database.role_called("application", "").await;
    let (owner, _) = database.role_called("owner", "").await;
    let mutexes = database.mutexes().await;
    mutexes
        .install_m3_mutex("public", Some(&role))
        .await
        .unwrap();
    let session = database.session().await;
    session
        .run(&format!(
            "grant create on database {} to {owner}; grant create on schema public to {owner}",
            database.name()
        ))
        .await;
    mutexes.grant_role(&owner, Role::Owner).await.unwrap();
    let application = Application(session_at(&url).await);
    application.insert("m", "a").await.unwrap();
    application.read("m").await.unwrap();
    assert_eq!(application.update("m").await.unwrap(), "1");
    assert_eq!(application.delete("m").await.unwrap(), "1");
}
