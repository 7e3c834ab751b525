//! Where the view may be put, and how it goes.

use pgmutex::{Error, Mutexes, SchemaName, SessionBackend};

use crate::support::Database;

async fn refused(mutexes: &Mutexes, in_schema: &str) -> String {
    match mutexes.install_m3_mutex(in_schema, None).await {
        Err(Error::Refused { reason }) => reason,
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn it_takes_nothing_elses_place() {
    let database = Database::fresh().await;
    let (session, mutexes) = (database.session().await, database.mutexes().await);
    session.run("create table m3_mutex (a int)").await;
    let reason = refused(&mutexes, "public").await;
    assert!(reason.contains("adopt_m3_mutex('public')"), "{reason}");
    session
        .run("drop table m3_mutex; create view m3_mutex as select 1 as a")
        .await;
    let reason = refused(&mutexes, "public").await;
    assert!(reason.contains("rename it first"), "{reason}");
    assert!(mutexes.uninstall_m3_mutex("public").await.is_err());
    assert!(mutexes.adopt_m3_mutex("public", None).await.is_err());
    assert_eq!(session.ask("select a::text from m3_mutex").await, "1");
    let reason = refused(&mutexes, "nowhere").await;
    assert!(reason.contains("there is no schema nowhere"), "{reason}");
    let unknown = mutexes.install_m3_mutex("public", Some("nobody")).await;
    assert!(matches!(unknown, Err(Error::Refused { .. })), "{unknown:?}");
}

#[tokio::test]
async fn installing_again_changes_nothing_and_uninstalling_leaves_the_holds() {
    let database = super::with_view().await;
    let (application, mutexes) = (
        super::Application::new(&database).await,
        database.mutexes().await,
    );
    let number = application.insert("m", "a").await.unwrap();
    mutexes.install_m3_mutex("public", None).await.unwrap();
    let unchanged = mutexes.adopt_m3_mutex("public", None).await.unwrap();
    assert!(unchanged.rows.is_empty());
    assert_eq!(application.read("m").await.unwrap(), format!("{number} a"));

    application.0.run("create schema other").await;
    mutexes.install_m3_mutex("other", None).await.unwrap();
    assert!(mutexes.uninstall_m3_mutex("public").await.unwrap());
    assert!(!mutexes.uninstall_m3_mutex("public").await.unwrap());
    application.0.run("set search_path = other").await;
    assert_eq!(application.delete("m").await.unwrap(), "1");
    application.insert("m", "a").await.unwrap();
    assert!(mutexes.uninstall_m3_mutex("other").await.unwrap());
    let left = "select count(*) || ' ' || (select count(*) from pg_indexes where indexname like '%m3%') from pgmutex.held";
    assert_eq!(application.0.ask(left).await, "1 0");
}

#[tokio::test]
async fn names_that_need_quotes_serve_as_well() {
    let database = Database::empty().await;
    let schema = SchemaName::new("Locks of \"ours\"").unwrap();
    let mutexes = Mutexes::builder()
        .schema(schema)
        .connect(database.url())
        .await
        .unwrap();
    mutexes.migrate().await.unwrap();
    let application = super::Application::new(&database).await;
    application.0.run("create schema \"An \"\"app\"\"\"").await;
    mutexes.install_m3_mutex("An \"app\"", None).await.unwrap();
    application
        .0
        .run("set search_path = \"An \"\"app\"\"\"")
        .await;
    application.insert("m", "a").await.unwrap();
    application.read("m").await.unwrap();
    assert_eq!(application.update("m").await.unwrap(), "1");
    assert_eq!(application.delete("m").await.unwrap(), "1");
    assert!(mutexes.uninstall_m3_mutex("An \"app\"").await.unwrap());
}

#[tokio::test]
async fn without_postgresql_there_is_nothing_to_install_it_in() {
    let mutexes = Mutexes::builder().backend(SessionBackend::new());
    let answer = mutexes.install_m3_mutex("public", None).await;
    assert!(
        matches!(answer, Err(Error::Unavailable { .. })),
        "{answer:?}"
    );
    let answer = mutexes.adopt_m3_mutex("public", None).await;
    assert!(
        matches!(answer, Err(Error::Unavailable { .. })),
        "{answer:?}"
    );
}
