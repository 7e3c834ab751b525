//! `pgmutex migrate`, as pipelines use it.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
};

use pgmutex::embedded_migrations;
use tokio::net::TcpSocket;

use crate::{
    program::{Ended, pgmutex, run},
    support::{Database, schema_dump, session_at},
};

/// As `V1__name`, oldest first.
fn all_migrations() -> Vec<String> {
    let mut migrations: Vec<(i64, String)> = embedded_migrations()
        .get_migrations()
        .iter()
        .map(|migration| {
            let version = i64::from(migration.version());
            (version, format!("V{version}__{}", migration.name()))
        })
        .collect();
    migrations.sort();
    migrations.into_iter().map(|(_, name)| name).collect()
}

/// A version that an older program would have as its newest.
fn an_older_version() -> String {
    let names = all_migrations();
    let name = &names[names.len() - 2];
    name[1..].split("__").next().unwrap().to_owned()
}

fn lines(ended: &Ended) -> Vec<&str> {
    ended.output.lines().collect()
}

#[tokio::test]
async fn it_checks_applies_and_finds_everything_done() {
    let database = Database::empty().await;
    let url = database.url();
    let all = all_migrations();

    let missing = run(url, &["migrate", "--check"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    assert_eq!(lines(&missing), all);
    assert!(missing.said.contains("pgmutex migrate"), "{missing:?}");
    let missing = run(url, &["migrate", "--check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&missing.output).unwrap();
    assert_eq!(json["pending"], serde_json::json!(all));
    assert_eq!(json["found"], serde_json::Value::Null);

    let applied = run(url, &["migrate"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert_eq!(lines(&applied), all);
    assert_eq!(applied.said, "");

    let checked = run(url, &["migrate", "--check"]);
    assert_eq!((checked.code, checked.output.as_str()), (Some(0), ""));
    let again = run(url, &["migrate", "--json"]);
    assert_eq!(again.code, Some(0));
    assert_eq!(again.output, "{\"applied\":[]}\n");
}

#[tokio::test]
async fn the_script_does_what_migrating_does() {
    let migrated = Database::as_installed().await;
    let scripted = Database::empty().await;
    let older = an_older_version();
    let half = Database::empty().await;
    assert_eq!(
        run(half.url(), &["migrate", "--newest", &older]).code,
        Some(0)
    );

    let from_nothing = pgmutex(&["migrate", "--sql"]).output().unwrap();
    let from_nothing = Ended::from(from_nothing);
    assert_eq!(from_nothing.code, Some(0), "{from_nothing:?}");
    let at_empty = run(scripted.url(), &["migrate", "--sql"]);
    let without_times = |script: &str| {
        let lines = script.lines();
        let kept = lines.filter(|line| !line.starts_with("INSERT INTO refinery"));
        kept.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        without_times(&from_nothing.output),
        without_times(&at_empty.output)
    );
    let rest = run(half.url(), &["migrate", "--sql"]);

    for (database, script) in [(&scripted, &at_empty), (&half, &rest)] {
        assert!(psql(database.url(), &script.output), "{}", database.name());
        let checked = run(database.url(), &["migrate", "--check"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert_eq!(run(database.url(), &["migrate"]).output, "");
        let expected = schema_dump(&migrated.client().await).await;
        let found = schema_dump(&database.client().await).await;
        assert!(found == expected, "the schemas of {script:?} differ");
        let nothing = run(database.url(), &["migrate", "--sql"]);
        assert_eq!((nothing.code, nothing.output.as_str()), (Some(0), ""));
        // Where it is not made for, it changes nothing.
        assert!(!psql(database.url(), &script.output));
    }
}

/// Whether the script ran to its end. What `psql` prints is of no interest: notices, and rows of
/// functions that were called.
fn psql(url: &str, script: &str) -> bool {
    use std::io::Write as _;
    let mut psql = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql is needed: apt-get install postgresql-client");
    // It may end before it has read everything.
    let _ = psql.stdin.take().unwrap().write_all(script.as_bytes());
    psql.wait().unwrap().success()
}

#[tokio::test]
async fn sixteen_at_once_of_two_versions_end_well_or_with_the_documented_refusal() {
    let all = all_migrations();
    let older = an_older_version();
    for round in 0..4 {
        let database = Database::empty().await;
        let old = ["migrate", "--newest", older.as_str()];
        let begun: Vec<_> = (0..16)
            .map(|number| {
                let is_old = (number + round) % 2 == 0;
                let arguments: &[&str] = if is_old { &old } else { &old[..1] };
                let mut command = pgmutex(arguments);
                command
                    .env("DATABASE_URL", database.url())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                (is_old, command.spawn().unwrap())
            })
            .collect();
        let mut applied = Vec::new();
        for (is_old, child) in begun {
            let ended = Ended::from(child.wait_with_output().unwrap());
            applied.extend(ended.output.lines().map(ToOwned::to_owned));
            let is_refused = ended.code == Some(78)
                && ended.said.contains("deploy a newer version")
                && ended.output.is_empty();
            assert!(
                ended.code == Some(0) || is_old && is_refused,
                "old: {is_old}, {ended:?}"
            );
        }
        // Each migration by one of them.
        applied.sort_by_key(|name| all.iter().position(|known| known == name));
        assert_eq!(applied, all);
        let checked = run(database.url(), &["migrate", "--check"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
}

#[tokio::test]
async fn an_older_program_refuses_a_newer_schema() {
    let database = Database::fresh().await;
    let refused = run(
        database.url(),
        &["migrate", "--newest", &an_older_version()],
    );
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(
        refused.said.contains("deploy a newer version"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn another_migrator_is_waited_for_as_long_as_was_said() {
    let database = Database::empty().await;
    let other = database.session().await;
    other
        .run("begin; select pg_advisory_xact_lock(hashtextextended('pgmutex: migrations of schema pgmutex', 31638917211252088))")
        .await;
    let waiting = pgmutex(&["migrate"])
        .env("DATABASE_URL", database.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    other
        .ask_until(
            "select count(*)::text from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
            |count| count == "1",
        )
        .await;
    let gave_up = run(database.url(), &["migrate", "--wait", "1s"]);
    assert_eq!(gave_up.code, Some(75), "{gave_up:?}");
    assert!(gave_up.said.contains("still migrating"), "{gave_up:?}");
    other.run("commit").await;
    let ended = Ended::from(waiting.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(lines(&ended), all_migrations());
    assert!(ended.said.contains("waiting for it"), "{ended:?}");
}

#[tokio::test]
async fn checking_can_wait_for_whoever_migrates() {
    let database = Database::empty().await;
    let waiting = pgmutex(&["migrate", "--check", "--wait", "5m"])
        .env("DATABASE_URL", database.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let session = database.session().await;
    session
        .ask_until(
            "select count(*)::text from pg_stat_activity where application_name = 'pgmutex' and datname = current_database()",
            |count| count == "1",
        )
        .await;
    assert_eq!(run(database.url(), &["migrate"]).code, Some(0));
    let ended = Ended::from(waiting.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_database_that_starts_late_is_waited_for() {
    // Nothing listens there; and as long as this is bound nobody else is given the port.
    let reserved = TcpSocket::new_v4().unwrap();
    reserved.set_reuseaddr(true).unwrap();
    reserved.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = reserved.local_addr().unwrap().port();
    let url = format!("postgres://nobody@127.0.0.1:{port}/nowhere");
    let at_once = run(&url, &["migrate"]);
    assert_eq!(at_once.code, Some(69), "{at_once:?}");
    let in_vain = run(&url, &["migrate", "--wait", "500ms"]);
    assert_eq!(in_vain.code, Some(69), "{in_vain:?}");

    let waiting = pgmutex(&["migrate", "--check", "--wait", "5m"])
        .env("DATABASE_URL", &url)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // It is asked again, until an answer comes; this one is no server's.
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (first, _) = listener.accept().unwrap();
    drop(first);
    let (second, _) = listener.accept().unwrap();
    drop((second, listener));
    let mut waiting = waiting;
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

#[tokio::test]
async fn a_superuser_who_migrates_does_what_the_owner_may_do() {
    let database = Database::empty().await;
    let (owner, owner_url) = database.role_called("owner", "").await;
    let session = database.session().await;
    session
        .run(&format!("create schema pgmutex authorization {owner}"))
        .await;
    assert_eq!(run(database.url(), &["migrate"]).code, Some(0));
    let others = "select count(*)::text from pg_class where relnamespace = 'pgmutex'::regnamespace \
                  and pg_get_userbyid(relowner) <> ";
    assert_eq!(session.ask(&format!("{others}'{owner}'")).await, "0");

    let older = an_older_version();
    let half = Database::empty().await;
    half.session()
        .await
        .run(&format!(
            "create schema pgmutex authorization {owner}; create table public.who (name text); grant insert on public.who to {owner}"
        ))
        .await;
    let half_as_owner = half.url_of(&owner);
    assert_ne!(half_as_owner, owner_url);
    let migrated = run(&half_as_owner, &["migrate", "--newest", &older]);
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    session_at(&half_as_owner)
        .await
        .run(
            "create or replace function pgmutex.complete_grants() returns void language sql as \
             'insert into public.who values (current_user)'",
        )
        .await;
    assert_eq!(run(half.url(), &["migrate"]).code, Some(0));
    let who = half
        .session()
        .await
        .ask("select name from public.who")
        .await;
    assert_eq!(who, owner);
}
