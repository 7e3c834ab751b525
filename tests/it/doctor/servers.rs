//! Servers of these tests' own: a healthy one, a careless one, and one with a standby.

use pgmutex::{Mutexes, Verdict, private_server::PrivatePostgres};

use super::{about, judged, judged_with, not_ok};
use crate::support::{run_in_private_server, session_at};

/// The same, by another role.
fn url_of(server: &PrivatePostgres, role: &str) -> String {
    let url = server.url("postgres");
    url.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
}

#[tokio::test]
async fn on_a_healthy_server_everything_is_ok() {
    let server = PrivatePostgres::builder().durable(true).start().unwrap();
    let administrator = session_at(&server.url("postgres")).await;
    administrator
        .run("create role keeper login; grant pg_read_all_stats to keeper; grant create on database postgres to keeper")
        .await;
    let mutexes = Mutexes::connect(&url_of(&server, "keeper")).await.unwrap();
    mutexes.migrate().await.unwrap();
    let diagnosis = mutexes.diagnose().await.unwrap();
    let version: u32 = administrator
        .ask("select current_setting('server_version_num')")
        .await
        .parse()
        .unwrap();
    let mut bad = not_ok(&diagnosis);
    // An old server is noted as such, which is as well; so is a busy machine, which answers late.
    bad.retain(|finding| {
        !(finding == "version: note"
            || finding == "round trip: note"
            || version < 140_000 && finding == "attached holds: note")
    });
    assert_eq!(bad, [""; 0], "{diagnosis:#?}");
    // Every subject is there, the good ones too.
    let subjects: Vec<&str> = diagnosis
        .findings
        .iter()
        .map(|finding| finding.subject.as_str())
        .collect();
    assert_eq!(
        subjects,
        [
            "connection",
            "round trip",
            "clock",
            "pooler",
            "direct URL",
            "schema",
            "rights",
            "version",
            "writing",
            "isolation",
            "commits",
            "durability",
            "replication",
            "lock table",
            "timeouts",
            "attached holds",
            "notifications",
            "encoding",
            "generation",
            "token room",
            "autovacuum",
            "dead rows",
            "old snapshots",
            "open transactions",
            "holds over",
            "holds for ever",
            "custom rules",
            "waiters",
            "triggers",
            "indexes",
            "views",
            "public rights",
            "schema rights",
            "owner",
        ]
    );
}

#[tokio::test]
async fn a_careless_server_is_found_out() {
    let careless = PrivatePostgres::builder()
        .setting("fsync", "off")
        .setting("full_page_writes", "off")
        .setting("autovacuum", "off")
        .setting("max_locks_per_transaction", "10")
        .setting("max_connections", "20")
        .setting("max_prepared_transactions", "1");
    let (server, mutexes) = run_in_private_server(careless).await;
    let diagnosis = mutexes.diagnose().await.unwrap();
    for (subject, verdict, says) in [
        (
            "durability",
            Verdict::Problem,
            "fsync is off, full_page_writes is off",
        ),
        ("autovacuum", Verdict::Warning, "off for the whole server"),
        ("lock table", Verdict::Warning, "210 entries"),
        ("owner", Verdict::Note, "a superuser"),
    ] {
        let (found, words) = about(&diagnosis, subject);
        assert_eq!(found, verdict, "{words}");
        assert!(words.contains(says), "{words}");
    }
    assert_eq!(diagnosis.worst(), Verdict::Problem);

    let session = session_at(&server.url("postgres")).await;
    session
        .run("create table t (); begin; insert into t default values; prepare transaction 'for''gotten'")
        .await;
    let (verdict, words) = judged_with(&session, "'0 seconds'", "old snapshots").await;
    assert_eq!(verdict, "warning", "{words}");
    assert!(
        words.contains("rollback prepared 'for''gotten';"),
        "{words}"
    );
    session.run("rollback prepared 'for''gotten'").await;

    for (encoding, verdict) in [("SQL_ASCII", "warning"), ("LATIN1", "note")] {
        session
            .run(&format!(
                "create database {encoding} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
            ))
            .await;
        let url = server.url(&encoding.to_lowercase());
        Mutexes::connect(&url)
            .await
            .unwrap()
            .migrate()
            .await
            .unwrap();
        let (found, words) = judged(&session_at(&url).await, "encoding").await;
        assert_eq!(found, verdict, "{words}");
    }
}

#[tokio::test]
async fn a_standby_is_seen_from_both_sides() {
    let (mut primary, _) = run_in_private_server(PrivatePostgres::builder()).await;
    let mut standby = crate::tokens::streaming_standby_of(&mut primary);
    let session = session_at(&primary.url("postgres")).await;
    let streaming = "select count(*)::text from pg_stat_replication where state = 'streaming'";
    session.ask_until(streaming, |count| count == "1").await;
    let (verdict, words) = judged(&session, "replication").await;
    assert_eq!(verdict, "note", "{words}");
    assert!(words.contains("1 standby(s), none synchronous"), "{words}");

    let replication = "select verdict || ' ' || found || coalesce(advice, '') from pgmutex.doctor() where subject = 'replication'";
    session
        .run("alter system set synchronous_standby_names = '*'")
        .await;
    session.ask("select pg_reload_conf()::text").await;
    let words = session
        .ask_until(replication, |words| words.starts_with("ok"))
        .await;
    assert!(words.contains("1 of 1 standbys synchronous"), "{words}");

    let there = Mutexes::connect(&standby.server.url("postgres"))
        .await
        .unwrap();
    let diagnosis = there.diagnose().await.unwrap();
    for (subject, verdict, says) in [
        ("schema", Verdict::Ok, "version"),
        (
            "writing",
            Verdict::Warning,
            "target_session_attrs=read-write",
        ),
        ("replication", Verdict::Note, "a standby"),
        ("generation", Verdict::Note, "a standby gives no tokens"),
        ("waiters", Verdict::Note, "cannot be seen here"),
        ("holds over", Verdict::Ok, "0 over"),
    ] {
        let (found, words) = about(&diagnosis, subject);
        assert_eq!(found, verdict, "{subject}: {words}");
        assert!(words.contains(says), "{words}");
    }

    standby.server.stop().unwrap();
    let words = session
        .ask_until(replication, |words| words.starts_with("problem"))
        .await;
    assert!(words.contains("captures wait for it"), "{words}");
}
