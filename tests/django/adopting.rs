//! The table that the package's own migration made, and the view that takes its place.

use std::process::Command;

use serde_json::json;

use crate::support::{Application, Clock, Database, manage};

fn migrate_with_the_view(database: &Database, more: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_pgmutex"))
        .args(["migrate", "--database-url", &database.url(), "--m3-compat"])
        .args(more)
        .env_remove("DATABASE_URL")
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_running_application_changes_over_and_keeps_what_it_holds() {
    let database = Database::empty().await;
    assert!(manage(&database, &["migrate"]).status.success());
    let mut application = Application::start(&database, Clock::NAIVE);
    let capture =
        |name: &str, session: &str| json!({ "do": "capture", "name": name, "session": session });
    assert!(application.ask(&capture("m", "a"))["done"].is_object());
    database
        .client()
        .await
        .batch_execute(
            "insert into m3_mutex (mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name, \
             auto_release_rule, auto_release_config, captured_since) \
             values ('', '', '', 'x', '', '', '', '', 'timeout', '300', now()), ('', '', 'over', 'x', '', '', '', '', 'timeout', '300', '2000-01-01')",
        )
        .await
        .unwrap();
    let output = migrate_with_the_view(&database, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for words in [
        "the view m3_mutex is there",
        "of the table's rows 1 were imported, 1 were over, 1 were refused",
        "(\"\"/\"\"/\"\"), refused: \"mutex_id is empty",
    ] {
        assert!(said.contains(words), "{said}");
    }

    assert_eq!(application.ask(&capture("m", "b"))["error"], "MutexBusy");
    assert!(application.ask(&capture("m", "a"))["done"].is_object());
    let mutexes = database.mutexes().await;
    let id = pgmutex::MutexId::new("tests", "step", "m").unwrap();
    let busy = mutexes
        .capture(&id)
        .owner(pgmutex::MutexOwner::new("c").unwrap())
        .await;
    assert!(busy.unwrap_err().is_busy());
    // Nothing is left to do for either of the two.
    assert!(manage(&database, &["migrate"]).status.success());
    assert!(
        migrate_with_the_view(&database, &["public"])
            .status
            .success()
    );
    assert_eq!(application.ask(&capture("m", "b"))["error"], "MutexBusy");
}

#[tokio::test]
async fn the_packages_migration_is_faked_where_the_view_came_first() {
    let database = Database::empty().await;
    assert!(migrate_with_the_view(&database, &[]).status.success());
    let failed = manage(&database, &["migrate"]);
    assert!(!failed.status.success());
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(said.contains("\"m3_mutex\" already exists"), "{said}");
    for arguments in [
        &["migrate", "--fake", "m3_mutex"][..],
        &["migrate"],
        &["check"],
    ] {
        let output = manage(&database, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let mut application = Application::start(&database, Clock::NAIVE);
    let capture = json!({ "do": "capture", "name": "m", "session": "a" });
    assert!(application.ask(&capture)["done"].is_object());
}
