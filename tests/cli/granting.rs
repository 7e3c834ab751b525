//! `grant`, `revoke` and `roles`.

use serde_json::{Value, json};

use crate::{program::run, snapshot::json_lines, support::Database};

#[tokio::test]
async fn a_role_is_granted_shown_and_taken_away() {
    let database = Database::fresh().await;
    let url = database.url();
    let (role, as_role) = database.role("").await;
    let denied = run(&as_role, &["list"]);
    assert_eq!(denied.code, Some(77), "{denied:?}");
    assert!(denied.said.contains("pgmutex grant"), "{denied:?}");

    let granted = run(url, &["grant", "application", &role, "--json"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    let done =
        |outcome: &str| json!({"outcome": outcome, "database_role": role, "role": "application"});
    assert_eq!(json_lines(&granted), [done("granted")]);
    for verb in ["capture", "refresh", "release"] {
        let ended = run(&as_role, &[verb, "a/b/c", "--session", "s1"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    for arguments in [
        &["list"][..],
        &["list", "--waiting"],
        &["show", "a/b/c"],
        &["wait", "a/b/c"],
        &["sweep"],
    ] {
        let ended = run(&as_role, arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    run(url, &["capture", "a/b/c", "--session", "s1"]);
    let force = ["force-release", "a/b/c", "--yes", "--reason", "x"];
    assert_eq!(run(&as_role, &force).code, Some(77));
    let grants = run(&as_role, &["grant", "admin", &role]);
    assert_eq!(grants.code, Some(77), "{grants:?}");

    let entry = json!({"database_role": role, "role": "application"});
    let listed = json_lines(&run(url, &["roles", "--json"]));
    assert!(listed.contains(&entry), "{listed:?}");
    let table = run(url, &["roles"]).output;
    assert!(
        table
            .lines()
            .any(|line| line.split_whitespace().eq([role.as_str(), "application"])),
        "{table}"
    );

    let admin = run(url, &["grant", "admin", &role]);
    assert_eq!(admin.output, format!("granted admin {role}\n"));
    assert_eq!(run(&as_role, &force).code, Some(0));
    assert_eq!(
        run(url, &["revoke", "admin", &role]).output,
        format!("revoked admin {role}\n")
    );
    let again = run(url, &["revoke", "admin", &role]);
    assert_eq!(
        (again.code, again.output),
        (Some(0), format!("not_granted admin {role}\n"))
    );
    assert_eq!(run(&as_role, &["list"]).code, Some(77));
    let left = json_lines(&run(url, &["roles", "--json"]));
    let is_left = |entry: &Value| entry["database_role"] == role.as_str();
    assert!(!left.iter().any(is_left), "{left:?}");
    let drop_role = format!("drop role {role}");
    database
        .client()
        .await
        .batch_execute(&drop_role)
        .await
        .unwrap();
}

#[tokio::test]
async fn who_is_not_there_is_given_nothing() {
    let database = Database::fresh().await;
    let unknown = run(database.url(), &["grant", "reader", "nobody_of_this_name"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.said.contains("nobody_of_this_name"), "{unknown:?}");
    for wrong in [
        &["grant", "boss", "x"][..],
        &["grant", "reader"],
        &["revoke"],
    ] {
        assert_eq!(run(database.url(), wrong).code, Some(2), "{wrong:?}");
    }
}
