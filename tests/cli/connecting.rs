//! Which database is meant, and that no password is shown.

use std::os::unix::fs::PermissionsExt as _;

use pgmutex::private_server::PrivatePostgres;

use crate::{
    program::{Ended, pgmutex, run},
    support::Database,
};

fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = pgmutex(arguments);
    command.envs(variables.iter().copied());
    command.output().unwrap().into()
}

/// A server of a test's own, with the schema, in which the role `ada` needs a password.
async fn guarded() -> (PrivatePostgres, String) {
    let server = PrivatePostgres::start().unwrap();
    let url = server.url("postgres");
    assert_eq!(run(&url, &["migrate"]).code, Some(0));
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("create role ada login superuser password 'hid den\\'''")
        .await
        .unwrap();
    let rules = "local all postgres trust\nlocal all all scram-sha-256\n";
    std::fs::write(server.data_dir().join("pg_hba.conf"), rules).unwrap();
    client
        .batch_execute("select pg_reload_conf()")
        .await
        .unwrap();
    let folder = server.socket_dir().to_str().unwrap().to_owned();
    (server, folder)
}

const PASSWORD: &str = "hid den\\'";

#[tokio::test]
async fn the_variables_of_psql_name_the_database() {
    let (server, folder) = guarded().await;
    let port = server.port().to_string();
    let place = [
        ("PGHOST", folder.as_str()),
        ("PGPORT", &port),
        ("PGUSER", "ada"),
        ("PGDATABASE", "postgres"),
    ];
    let list = ["list", "--json"];
    // The server takes its new rules a moment after it was told.
    crate::running::eventually(async || with(&place, &list).code != Some(0)).await;
    let without = with(&place, &list);
    assert_eq!(without.code, Some(69), "{without:?}");
    assert!(without.said.contains("password"), "{without:?}");

    let by_variable = with(&[&place[..], &[("PGPASSWORD", PASSWORD)]].concat(), &list);
    assert_eq!(by_variable.code, Some(0), "{by_variable:?}");
    let wrong = with(&[&place[..], &[("PGPASSWORD", "hidden")]].concat(), &list);
    assert_eq!(wrong.code, Some(77), "{wrong:?}");
    assert!(!wrong.said.contains("hidden"), "{wrong:?}");

    let file = std::env::temp_dir().join(format!("pgmutex-pass-{}", std::process::id()));
    std::fs::write(&file, "localhost:*:*:ada:hid den\\\\'\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let by_file = [&place[..], &[("PGPASSFILE", file.to_str().unwrap())]].concat();
    let mut ended = with(&by_file, &list);
    if ended.code != Some(0) {
        // For a socket the host is its folder, unless that is the usual one.
        std::fs::write(&file, format!("{folder}:*:*:ada:hid den\\\\'\n")).unwrap();
        ended = with(&by_file, &list);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn an_argument_counts_more_than_a_url_and_that_more_than_variables() {
    let (first, second) = (Database::fresh().await, Database::empty().await);
    let (there, missing) = (first.url(), second.url());
    let url = |database: &Database| database.url().to_owned();
    assert_eq!(with(&[("DATABASE_URL", missing)], &["list"]).code, Some(78));
    let argument = ["list", "--database-url", there];
    assert_eq!(with(&[("DATABASE_URL", missing)], &argument).code, Some(0));
    assert_eq!(
        with(
            &[("DATABASE_URL", there), ("PGHOST", "/nowhere")],
            &["list"]
        )
        .code,
        Some(0)
    );
    assert_eq!(with(&[("DATABASE_URL", "")], &argument).code, Some(0));
    assert_eq!(url(&first), there);

    let nothing = with(&[], &["list"]);
    assert_eq!(nothing.code, Some(2));
    for named in ["--database-url", "DATABASE_URL", "PGHOST"] {
        assert!(nothing.said.contains(named), "{nothing:?}");
    }
}

#[tokio::test]
async fn another_schema_has_mutexes_of_its_own() {
    let database = Database::fresh().await;
    let url = database.url();
    assert_eq!(run(url, &["migrate", "--schema", "other"]).code, Some(0));
    run(url, &["capture", "a/b/c", "--schema", "other"]);
    assert_eq!(run(url, &["list", "--count"]).output, "0\n");
    assert_eq!(
        run(url, &["list", "--count", "--schema", "other"]).output,
        "1\n"
    );
    let by_variable = [("DATABASE_URL", url), ("PGMUTEX_SCHEMA", "other")];
    assert_eq!(with(&by_variable, &["list", "--count"]).output, "1\n");
}

#[test]
fn no_password_is_shown_whatever_is_wrong() {
    for url in [
        "postgres://me:hidden@127.0.0.1:1/x?connect_timeout=1",
        "postgres://me:hidden@127.0.0.1:port/x",
        "postgres://me:hidden@host/x?nonsense=1",
        "postgres://me:hidden@host/x?sslmode=perhaps",
        "postgres://me:hid%zzden@host/x",
        "mysql://me:hidden@host/x",
        "host=127.0.0.1 port=1 user=me password=hidden connect_timeout=1",
        "host=127.0.0.1 password=hidden nonsense",
        "host=127.0.0.1 password='hidden",
    ] {
        for arguments in [
            &["list", "--database-url", url][..],
            &["capture", "a/b/c", "--database-url", url, "--log", "trace"],
            &[
                "list",
                "--database-url",
                "postgres://127.0.0.1:1/x",
                "--direct-url",
                url,
            ],
            &["migrate", "--database-url", url],
        ] {
            let ended = with(&[], arguments);
            assert_ne!(ended.code, Some(0), "{ended:?}");
            for shown in [&ended.said, &ended.output] {
                assert!(
                    !shown.contains("hidden") && !shown.contains("hid%"),
                    "{arguments:?}: {ended:?}"
                );
            }
        }
        let by_variable = with(&[("DATABASE_URL", url)], &["list"]);
        assert!(!by_variable.said.contains("hidden"), "{by_variable:?}");
    }
    // Written where it does not belong.
    for misplaced in [
        &["list", "postgres://me:hidden@host/x"][..],
        &["postgres://me:hidden@host/x"],
        &["list", "--databse-url=postgres://me:hidden@host/x"],
        &["pool", "lock", "a", "postgres://me:hidden@host/x"],
    ] {
        let ended = with(&[], misplaced);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!ended.said.contains("hidden"), "{ended:?}");
    }
    // Nor in the help, which shows what the environment says.
    let help = with(
        &[
            ("DATABASE_URL", "postgres://me:hidden@h/x"),
            ("PGMUTEX_DIRECT_URL", "postgres://me:hidden@h/x"),
            ("PGPASSWORD", "hidden"),
        ],
        &["list", "--help"],
    );
    assert!(!help.output.contains("hidden"), "{help:?}");
}
