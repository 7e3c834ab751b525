//! However much is held, a capture of a path reads little.

use tokio_postgres::Client;

use super::ALL;
use crate::support::{Database, Session};

/// Pages that one call may touch, in the indexes and tables of locks and in the server's own, once
/// its plans are made.
const MOST_PAGES: u64 = 150;

/// How many pages a capture touches, nested statements included, and its outcome; it is rolled back.
async fn pages(client: &Client, path: &str, owner: &str) -> (u64, String) {
    let capture =
        format!("select outcome from pgmutex.capture('lab', 'tree', '{path}', '{owner}'{ALL})");
    client.batch_execute("begin").await.unwrap();
    let plan = client
        .query(
            &format!("explain (analyze, buffers, timing off, summary off) {capture}"),
            &[],
        )
        .await
        .unwrap();
    client.batch_execute("rollback; begin").await.unwrap();
    let outcome: String = client.query_one(&capture, &[]).await.unwrap().get(0);
    client.batch_execute("rollback").await.unwrap();
    let lines: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let touched = lines
        .iter()
        .find_map(|line| line.trim().strip_prefix("Buffers: shared "))
        .unwrap_or_else(|| panic!("{lines:?}"));
    let of = |kind: &str| {
        let numbers = touched
            .split(' ')
            .filter_map(|word| word.strip_prefix(kind));
        numbers
            .map(|number| number.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    (of("hit=") + of("read="), outcome)
}

async fn touches_little(client: &Client, when: &str) {
    for (path, owner, expected) in [
        // Among a million, at the bottom; its parent; the root of all; a sibling; what lies beside.
        ("/many/500/500/", "n", "busy"),
        ("/many/500/500/x/", "n", "busy"),
        ("/many/500/", "n", "busy"),
        ("/many/", "n", "busy"),
        ("/", "n", "busy"),
        ("/many/500/new/", "n", "captured"),
        ("/many/new/", "n", "captured"),
        // Below one with a hundred thousand children.
        ("/wide/50000/", "n", "busy"),
        ("/wide/", "n", "busy"),
        ("/wide/new/", "n", "captured"),
        ("/wide0/", "n", "captured"),
        // None of these locks its parents.
        ("/open/", "n", "captured"),
    ] {
        // The first time in a session its plans are made.
        pages(client, path, owner).await;
        let (touched, outcome) = pages(client, path, owner).await;
        assert_eq!(outcome, expected, "{path} {when}");
        assert!(touched > 0, "{path} {when}");
        assert!(
            touched <= MOST_PAGES,
            "{path} {when}: {touched} pages\n{}",
            plans(client, path).await
        );
    }
}

/// How what is above and below is looked up.
async fn plans(client: &Client, path: &str) -> String {
    let below = format!(
        "explain (analyze, buffers) select h.mutex_id from pgmutex.hold h \
         where h.mutex_group = 'lab' and h.mutex_mode = 'tree' and h.mutex_id > '{path}' and h.mutex_id < pgmutex.end_of_path('{path}') \
           and h.lock_parents and h.owner_session <> 'n' order by h.mutex_id, h.permit limit 1"
    );
    let rows = client.query(&below, &[]).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

async fn fill(s: &Session, prefix: &str, path: &str, count: u32, lock_parents: bool) {
    s.run(&format!(
        "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config, \
                                          fencing_token, lock_parents, lock_children) \
         select 'lab', 'tree', '{prefix}' || {path} || '/', 'h', 'never', '', n, {lock_parents}, true from generate_series(1, {count}) n"
    ))
    .await;
}

#[tokio::test]
async fn a_capture_in_a_tree_of_a_million_touches_few_pages() {
    let database = Database::fresh().await;
    let s = database.session().await;
    // Its plans are made while the table is empty, and no statistics tell of what comes.
    s.run("alter table pgmutex.mutex_model set (autovacuum_enabled = off)")
        .await;
    let early = database.client().await;
    for _ in 0..12 {
        for path in ["/many/1/", "/many/", "/wide/1/"] {
            pages(&early, path, "n").await;
        }
    }
    fill(&s, "/many/", "n / 1000 || '/' || n % 1000", 800_000, true).await;
    fill(&s, "/wide/", "n", 100_000, true).await;
    fill(&s, "/open/", "n", 100_000, false).await;
    touches_little(&early, "by plans made when it was empty").await;
    touches_little(&database.client().await, "by plans made without statistics").await;
    s.run("analyze pgmutex.mutex_model").await;
    touches_little(&early, "by plans made anew").await;
    touches_little(&database.client().await, "by plans made with statistics").await;
}

#[tokio::test]
async fn a_hundred_thousand_that_are_over_make_way_at_once() {
    let database = Database::fresh().await;
    let s = database.session().await;
    fill(&s, "/wide/", "n", 100_000, true).await;
    fill(&s, "/wide0/", "n", 10, true).await;
    s.run(
        "update pgmutex.mutex_model set auto_release_rule = 'timeout', auto_release_config = '1', \
                                        captured_since = captured_since - interval '1 hour'",
    )
    .await;
    let count = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(
        s.outcome("holder_in_the_way('lab', 'tree', '/wide/', 'n')")
            .await,
        "free"
    );
    assert_eq!(s.ask(count).await, "100010");
    let capture = format!("capture('lab', 'tree', '/wide/', 'n'{ALL})");
    assert_eq!(s.outcome(&capture).await, "evicted");
    assert_eq!(s.ask(count).await, "11");
}
