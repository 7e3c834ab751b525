//! What a look costs.

use super::judged;
use crate::{
    guards::must,
    support::{Database, Session},
};

/// Pages that a call touches, wherever they were.
async fn pages_of_a_look(session: &Session) -> i64 {
    let explained = session
        .ask("select 'x' from (select 1) one, lateral (select count(*) from pgmutex.doctor()) warm")
        .await;
    assert_eq!(explained, "x");
    let count = "create or replace function pg_temp.pages() returns text language plpgsql as $$ \
                 declare plan json; begin \
                 execute 'explain (analyze, buffers, format json) select * from pgmutex.doctor()' into plan; \
                 return (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint; end $$";
    session.run(count).await;
    session.ask("select pg_temp.pages()").await.parse().unwrap()
}

#[tokio::test]
async fn a_look_at_200_000_holds_and_waiters_reads_a_part_of_them() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let before = pages_of_a_look(&session).await;
    session
        .run(
            "insert into pgmutex.mutex_model (mutex_id, owner_session, auto_release_rule, auto_release_config, fencing_token, captured_since) \
             select 'm' || n, 'owner ' || n, 'timeout', case when n % 2 = 0 then '1' else '100000' end, n, now() - interval '1 minute' \
             from generate_series(1, 200000) n; \
             insert into pgmutex.mutex_waiter (mutex_group, mutex_mode, mutex_id, ticket, access, owner_session, owner_host, owner_id, \
                 owner_login, owner_name, queued_since, seen_at) \
             select 'g', 'm', 'i' || n, n, 'exclusive', 'owner ' || n, '', '', '', '', now(), now() from generate_series(1, 200000) n",
        )
        .await;
    let after = pages_of_a_look(&session).await;
    let pages = "select ((pg_relation_size('pgmutex.mutex_model') + pg_relation_size('pgmutex.mutex_waiter')) / 8192)::text";
    let pages: i64 = session.ask(pages).await.parse().unwrap();
    // Three samples of 500 pages of holds, one of waiters, give or take what chance does.
    assert!(pages > 5_000, "{pages}");
    assert!(after - before < 3_000, "{before} pages, then {after}");

    let (verdict, words) = judged(&session, "holds over").await;
    assert_eq!(verdict, "warning", "{words}");
    let count = words
        .strip_prefix("about ")
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let count: u32 = count.parse().unwrap();
    assert!((50_000..150_000).contains(&count), "{words}");
    assert!(judged(&session, "waiters").await.1.starts_with("about "));
}

#[tokio::test]
async fn many_dead_rows_are_found() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run(
            "alter table pgmutex.mutex_model set (autovacuum_enabled = off); \
             insert into pgmutex.mutex_model (mutex_id, owner_session, fencing_token) select 'm' || n, 'o', n from generate_series(1, 60000) n; \
             delete from pgmutex.mutex_model",
        )
        .await;
    let analyze = "analyze pgmutex.mutex_model";
    let many = "mutex_model 60000, never vacuumed";
    dead_rows_are(&session, analyze, "warning", many).await;
    let vacuum = "vacuum pgmutex.mutex_model";
    dead_rows_are(&session, vacuum, "ok", "mutex_model 0").await;
}

/// Returns when this is said of dead rows. What a statement has counted is known a moment later, and
/// servers of old may lose it on the way: so it counts again.
async fn dead_rows_are(session: &Session, counting: &str, verdict: &str, says: &str) {
    must(async {
        loop {
            session.run(counting).await;
            let (found, words) = judged(session, "dead rows").await;
            if found == verdict && words.contains(says) {
                return;
            }
        }
    })
    .await;
}
