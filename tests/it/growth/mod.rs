//! Many holds: what a call reads does not grow with them.

mod plans;
mod sweeping;

use crate::support::Session;

const EXPLAIN: &str = "
    create function pg_temp.buffers(statement text) returns text language plpgsql as $$
    declare
        plan json;
    begin
        execute 'explain (analyze, buffers, format json) ' || statement into plan;
        return (plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (plan #>> '{0,Plan,Shared Read Blocks}')::bigint;
    end $$";

/// All buffers that a call reads or writes, those of the functions that it calls too.
async fn buffers(session: &Session, call: &str) -> u64 {
    let call = call.replace('\'', "''");
    let counted = session
        .ask(&format!(
            "select pg_temp.buffers('select * from pgmutex.{call}')"
        ))
        .await;
    counted.parse().unwrap()
}

/// Writes holds `load/edit<n % 10>/<n>` with token n, as another program would. A sweep has looked at
/// them.
async fn load(session: &Session, count: u64) {
    session
        .run(&format!(
            "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, \
                                              auto_release_config, fencing_token, sweep_at) \
             select 'load', 'edit' || n % 10, n::text, 'owner ' || n % 1000, 'timeout', '86400', n, clock_timestamp() + interval '1 day' \
             from generate_series(1, {count}) n"
        ))
        .await;
}
