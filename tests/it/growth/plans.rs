//! Plans outlive the tables that they were made for: a session that has worked with a few holds, or
//! none, must work with many.

use pgmutex::private_server::PrivatePostgres;

use super::{EXPLAIN, buffers, load};
use crate::support::{Database, Session, run_in_private_server, session_at};

/// Each leaves behind what the next finds.
const CALLS: &[&str] = &[
    "capture('load', 'edit1', 'new', 'me')",
    "capture('load', 'edit1', 'new', 'me')",
    "capture('load', 'edit1', 'new', 'other')",
    "capture('load', 'edit1', 'new', 'other', wait => true, listener => 1)",
    "look_at_lines(1, false)",
    "list_waiting(mutex_group => 'load', page_size => 50)",
    "holder_in_the_way('load', 'edit1', 'new', 'other')",
    "refresh('load', 'edit1', 'new', 'me')",
    "release('load', 'edit1', 'new', 'me')",
    "leave_line('load', 'edit1', 'new', 'other')",
    "request('load', 'edit1', 'new', 'me')",
    "capture('load', 'edit1', 'shared', 'me', access => 'shared', permits => 5)",
    "force_release('load', 'edit1', 'shared')",
    "capture('load', 'edit1', '/a/b/c/d/e/f/g/h/', 'me', lock_parents => true, lock_children => true)",
    "release('load', 'edit1', '/a/b/c/d/e/f/g/h/', 'me')",
    "release_owner('owner 7')",
    "evict('load', 'edit1', 'new', 1)",
    "keep(array_fill('load'::text, array[100]), array(select 'edit' || n % 10 from generate_series(1, 100) n), \
          array(select n::text from generate_series(1, 100) n), array(select n from generate_series(1, 100) n))",
    "capture_each((select jsonb_agg(jsonb_build_object('mutex_group', 'load', 'mutex_mode', 'new', 'mutex_id', n::text, 'owner_session', 'me')) \
                   from generate_series(1, 64) n))",
    "release_each((select jsonb_agg(jsonb_build_object('mutex_group', 'load', 'mutex_mode', 'new', 'mutex_id', n::text, 'owner_session', 'me')) \
                   from generate_series(1, 64) n))",
    "capture_together('{load}', '{together}', array(select n::text from generate_series(1, 64) n), '{me}', '{h}', '{i}', '{l}', '{n}', \
          '{timeout}', '{60}', '{null}', '{exclusive}', '{null}', '{false}', '{false}')",
    // Once more, which is a refresh of each.
    "capture_together('{load}', '{together}', array(select n::text from generate_series(1, 64) n), '{me}', '{h}', '{i}', '{l}', '{n}', \
          '{timeout}', '{60}', '{null}', '{exclusive}', '{null}', '{false}', '{false}')",
    "refresh_together('{load}', '{together}', array(select n::text from generate_series(1, 64) n), '{me}', '{null}', '{null}')",
    "release_together('{load}', '{together}', array(select n::text from generate_series(1, 64) n), '{me}', '{null}')",
    // What nobody holds goes the ordinary way, too.
    "release_together('{load}', '{together}', array(select n::text from generate_series(1, 64) n), '{me}', '{null}')",
    "list(owner_session => 'owner 8')",
    "list(mutex_group => 'load', mutex_mode => 'edit1', page_size => 50)",
    "sweep()",
];

async fn costs(session: &Session) -> Vec<u64> {
    let mut costs = Vec::new();
    for call in CALLS {
        costs.push(buffers(session, call).await);
    }
    costs
}

#[tokio::test]
async fn plans_of_an_empty_table_do_for_100_000_holds() {
    // A server of its own. On another nobody knows when it may be: while any transaction is open, be it in another database, a server
    // may not notice that deleted rows are of no use to anybody, and each look at a place where one was reads it once more.
    let builder = PrivatePostgres::builder()
        // Nobody comes and has the plans made anew.
        .setting("autovacuum", "off");
    let (server, _) = run_in_private_server(builder).await;
    let session = async || session_at(&server.url("postgres")).await;
    let (old, another) = (session().await, session().await);
    // What has been emptied counts as empty; what was never looked at, as something unknown.
    for table in ["mutex_model", "mutex_waiter"] {
        old.run(&format!("vacuum pgmutex.{table}")).await;
    }
    old.run(EXPLAIN).await;
    for _ in 0..10 {
        costs(&old).await;
    }
    another.run("delete from pgmutex.mutex_model").await;
    load(&another, 100_000).await;
    // The one who calls holds most of them: how many an owner holds must not matter either.
    another
        .run("update pgmutex.mutex_model set owner_session = 'me' where fencing_token <= 60000")
        .await;
    another.run("vacuum pgmutex.mutex_model").await;
    costs(&old).await; // Tidies up what the load has left behind.
    let with_old_plans = costs(&old).await;

    another
        .run("analyze pgmutex.mutex_model; analyze pgmutex.mutex_waiter")
        .await;
    let fresh = session().await;
    fresh.run(EXPLAIN).await;
    costs(&fresh).await; // Reads the catalogs.
    let with_fresh_plans = costs(&fresh).await;
    for ((call, old), fresh) in CALLS.iter().zip(with_old_plans).zip(with_fresh_plans) {
        assert!(
            old <= fresh * 2 + 50 && fresh < 3_000,
            "{old} buffers with old plans, {fresh} with fresh ones: {call}"
        );
    }
}

#[tokio::test]
async fn what_must_not_be_planned_is_not_compiled_either() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let compiled = "select coalesce(string_agg(p.proname, ' ' order by p.proname), '') from pg_proc p \
                    where p.pronamespace = 'pgmutex'::regnamespace \
                      and array_to_string(p.proconfig, ' ') ~ 'enable_(seqscan|sort|hashjoin|mergejoin)=off' \
                      and not 'jit=off' = any (p.proconfig)";
    assert_eq!(session.ask(compiled).await, "");
}
