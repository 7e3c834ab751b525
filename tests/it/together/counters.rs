//! What many at once cost: counted, not timed.

use pgmutex::{MutexBackend, Released};
use tokio_postgres::Client;

use super::{captured, giving_back, wish};
use crate::support::Database;

/// Sixty-four requests for `tests/many/<number>`.
const MANY: &str = "'{tests}', '{many}', array(select n::text from generate_series(1, 64) n)";

fn capture(owner: &str) -> String {
    format!(
        "capture_together({MANY}, '{{{owner}}}', '{{h}}', '{{i}}', '{{l}}', '{{n}}', '{{timeout}}', '{{60}}', '{{null}}', \
         '{{exclusive}}', '{{null}}', '{{false}}', '{{false}}')"
    )
}

fn release(owner: &str) -> String {
    format!("release_together({MANY}, '{{{owner}}}', '{{null}}', durable => false)")
}

/// How many records a call adds to the write-ahead log; and that it has 64 answers.
async fn records(client: &Client, call: &str) -> u64 {
    let explain = format!("explain (analyze, wal) select from pgmutex.{call}");
    let lines = client.query(explain.as_str(), &[]).await.unwrap();
    let lines: Vec<&str> = lines.iter().map(|line| line.get(0)).collect();
    assert!(lines[0].contains("rows=64"), "{lines:#?}");
    let records = lines.iter().find_map(|line| line.split_once("records="));
    records.map_or(0, |(_, rest)| {
        let digits = rest.split(' ').next().unwrap_or_default();
        digits.parse().unwrap()
    })
}

#[tokio::test]
async fn a_pair_takes_few_records_of_the_log_and_a_refusal_none() {
    let database = Database::fresh().await;
    let client = database.client().await;
    let (mut captured, mut released) = (u64::MAX, u64::MAX);
    // What a checkpoint in between adds, it does not add every time.
    for _ in 0..3 {
        captured = captured.min(records(&client, &capture("me")).await);
        for refused in [capture("you"), release("you")] {
            // Whoever looks first may tidy up a page.
            let mut least = u64::MAX;
            for _ in 0..3 {
                least = least.min(records(&client, &refused).await);
            }
            assert_eq!(least, 0, "{refused}");
        }
        released = released.min(records(&client, &release("me")).await);
    }
    // A row and its three places in indexes, and that it stays where it is; and now and then a block of
    // tokens, or a new page.
    assert!((64 * 5..=64 * 5 + 40).contains(&captured), "{captured}");
    // That a row is locked, and that it is gone.
    assert!((64 * 2..=64 * 2 + 20).contains(&released), "{released}");
}

#[tokio::test]
async fn what_is_usual_takes_the_short_way() {
    let database = Database::fresh().await;
    let usual = capture("me");
    let long = "l".repeat(2_000);
    for (call, way) in [
        (usual.clone(), "usual"),
        // Once more, which is a refresh of each: some are not free.
        (usual.clone(), "usual"),
        (
            usual.replace("'{timeout}', '{60}'", "'{null}', '{null}'"),
            "usual",
        ),
        (usual.replace("'{h}', '{i}'", "'{null}', '{null}'"), "usual"),
        (usual.replace("'{exclusive}'", "'{shared}'"), "plain"),
        (
            usual.replace("'{exclusive}', '{null}'", "'{exclusive}', '{3}'"),
            "plain",
        ),
        (usual.replace("'{many}'", "'{null}'"), "plain"),
        (usual.replace("'{tests}'", "'{pgmutex.pool}'"), "plain"),
        (usual.replace("'{me}'", "array['']"), "plain"),
        (usual.replace("'{60}'", "'{never}'"), "plain"),
        (
            usual.replace("'{timeout}', '{60}'", "'{connection}', '{5}'"),
            "plain",
        ),
        (
            usual.replace("'{h}'", &format!("'{{{}}}'", &long[..400])),
            "plain",
        ),
        (
            usual.replace("n::text", "case n when 5 then '/a/' else n::text end"),
            "usual plain",
        ),
        (
            usual.replace(
                "n::text",
                &format!("repeat('{long}', (n = 5)::integer) || n"),
            ),
            "usual plain",
        ),
        (
            usual.replace("n::text", "case when n <> 5 then n::text end"),
            "usual plain",
        ),
    ] {
        // What a session has counted stays with it for a while.
        let s = database.session().await;
        s.run("set track_functions = 'all'; begin").await;
        s.run(&format!("select from pgmutex.{call}")).await;
        let ways = "select coalesce(string_agg(split_part(funcname, '_', 4), ' ' order by funcname desc), '') from pg_stat_xact_user_functions \
                    where funcname ~ '^capture_what_is'";
        assert_eq!(s.ask(ways).await, way, "{call}");
        s.run("rollback").await;
    }
}

#[tokio::test]
async fn many_are_one_transaction() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.run("select pgmutex.enable_audit()").await;
    let backend = database.backend();
    let ids: Vec<String> = (0..64).map(|number| number.to_string()).collect();
    let wishes: Vec<_> = ids.iter().map(|id| wish(id, id)).collect();
    for answer in backend.capture_together(&wishes).await.unwrap() {
        captured(answer);
    }
    let releases: Vec<_> = ids.iter().map(|id| giving_back(id, id)).collect();
    for answer in backend.release_together(&releases).await.unwrap() {
        assert!(matches!(answer, Some(Ok(Released::Released(_)))));
    }
    let transactions = "select string_agg(concat_ws(' ', event, events, transactions), ', ' order by event) from \
        (select event, count(*) as events, count(distinct xmin::text) as transactions from pgmutex.audit group by event) a";
    assert_eq!(
        session.ask(transactions).await,
        "captured 64 1, released 64 1"
    );
}

#[tokio::test]
async fn only_holds_that_end_by_themselves_are_given_back_without_waiting_for_the_disk() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let with_rule = |rule: &str, config: &str| {
        format!("auto_release_rule => '{rule}', auto_release_config => '{config}'")
    };
    let all = "release_together('{tests}', '{step}', '{1,2,3}', '{me}', '{null}', durable => ";
    for (rule, config, waited_for, durable, setting) in [
        ("timeout", "60", "false", "false", "off"),
        ("timeout", "60", "false", "true", "on"),
        ("timeout", "60", "true", "false", "off"),
        ("never", "", "false", "false", "on"),
        ("never", "", "true", "false", "on"),
        ("tide", "high", "false", "false", "on"),
    ] {
        for (id, rule) in [
            ("1", with_rule("timeout", "60")),
            ("2", with_rule(rule, config)),
            ("3", with_rule("timeout", "60")),
        ] {
            assert_eq!(s.capture_as(id, "me", &rule).await, "captured");
        }
        if waited_for == "true" {
            // Then it goes the ordinary way.
            assert_eq!(s.capture_as("2", "you", "wait => true").await, "queued");
        }
        s.run("begin").await;
        let released = format!("select string_agg(outcome, ' ') from pgmutex.{all}{durable})");
        assert_eq!(s.ask(&released).await, "released released released");
        assert_eq!(
            s.ask("show synchronous_commit").await,
            setting,
            "{rule} {waited_for} {durable}"
        );
        s.run("commit; delete from pgmutex.mutex_waiter").await;
    }
    // What is captured outlives a crash, whatever the session says.
    s.run("set synchronous_commit = off; begin").await;
    let captured = format!("select count(*)::text from pgmutex.{}", capture("me"));
    assert_eq!(s.ask(&captured).await, "64");
    assert_eq!(s.ask("show synchronous_commit").await, "on");
    s.run("rollback").await;
}
