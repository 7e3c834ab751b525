//! A million sessions: what a call reads does not grow with them.

use crate::support::{Database, Session};

const EXPLAIN: &str = "
    create function pg_temp.buffers(statement text) returns text language plpgsql as $$
    declare
        plan json;
    begin
        execute 'explain (analyze, buffers, format json) ' || statement into plan;
        return (plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (plan #>> '{0,Plan,Shared Read Blocks}')::bigint;
    end $$";

/// A session in which the plans of everything have been made while the table was empty, for good.
async fn with_plans(database: &Database) -> Session {
    let s = database.session().await;
    s.run("set plan_cache_mode = force_generic_plan").await;
    s.run(EXPLAIN).await;
    for call in CALLS {
        buffers(&s, call).await;
    }
    s.run("delete from pgmutex.mutex_model; delete from pgmutex.mutex_waiter; delete from pgmutex.pool_session")
        .await;
    s
}

/// All buffers that a statement reads or writes, those of the functions that it calls too.
async fn buffers(s: &Session, statement: &str) -> u64 {
    let statement = statement.replace('\'', "''");
    let counted = s
        .ask(&format!("select pg_temp.buffers('{statement}')"))
        .await;
    counted.parse().unwrap()
}

const CALLS: [&str; 5] = [
    "select * from pgmutex.pool_get_session('p')",
    "select * from pgmutex.pool_get_session('p', request_id => gen_random_uuid()::text)",
    "select * from pgmutex.pool_checkout('p', gen_random_uuid()::text)",
    "select * from pgmutex.pool_checkout('p', gen_random_uuid()::text, wait => true, listener => 1)",
    "select * from pgmutex.look_at_lines(1, false)",
];

/// What each of the calls reads at most; one that finds many due may read all that one step takes.
async fn are_bounded(sessions: &[&Session], most: u64, state: &str) {
    for s in sessions {
        for call in CALLS {
            // The first one reads the catalogs, too, and what was left to be tidied up. So may any
            // other, when the server has tidied up the catalogs.
            buffers(s, call).await;
            let mut read = u64::MAX;
            for _ in 0..3 {
                read = read.min(buffers(s, call).await);
            }
            assert!(read <= most, "{read} buffers, {state}: {call}");
        }
        s.run("delete from pgmutex.mutex_waiter; delete from pgmutex.mutex_model")
            .await;
    }
}

/// Changes all sessions at once, past the trigger: that takes a tenth of the time.
async fn change(s: &Session, change: &str) {
    s.run(&format!(
        "set session_replication_role = replica;
         {change};
         reset session_replication_role"
    ))
    .await;
}

#[tokio::test]
async fn a_million_sessions_are_no_more_work_than_a_few() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for table in ["pool_session", "mutex_model", "mutex_waiter"] {
        s.run(&format!(
            "alter table pgmutex.{table} set (autovacuum_enabled = off)"
        ))
        .await;
    }
    let early = with_plans(&database).await;
    let add = |from: &str, columns: &str, values: &str| {
        format!(
            "insert into pgmutex.pool_session (collection, {columns}) select 'p', {values} from generate_series(1, {from})"
        )
    };
    change(&s, &add("10000", "last_use", "now() - interval '1 day'")).await;
    change(
        &s,
        &add(
            "490000",
            "next_use, is_ready",
            "now() + interval '1 day', false",
        ),
    )
    .await;
    change(&s, &add("500000", "active, is_ready", "false, false")).await;
    let fresh = with_plans_as_they_come(&database).await;
    let all = [&early, &fresh];
    are_bounded(&all, 400, "99 of 100 locked or inactive, no statistics").await;
    s.run("analyze pgmutex.pool_session").await;
    let late = with_plans_as_they_come(&database).await;
    let all = [&early, &fresh, &late];
    are_bounded(&all, 400, "99 of 100 locked or inactive").await;

    // Nothing at all is ready.
    change(
        &s,
        "update pgmutex.pool_session set is_ready = false, active = false where is_ready",
    )
    .await;
    // Their entries in the index of the ready ones are dead, and some are met until they are tidied up.
    are_bounded(&all, 1000, "all locked or inactive").await;
    // Half a million are due at once, and at the same time.
    change(
        &s,
        "update pgmutex.pool_session set next_use = now() - interval '1 second' where active",
    )
    .await;
    are_bounded(&all, 12_000, "half of them due").await;
}

async fn with_plans_as_they_come(database: &Database) -> Session {
    let s = database.session().await;
    s.run(EXPLAIN).await;
    s
}
