-- For monitoring: how all mutexes together stand, at a price that does not grow with their number.

create type mutex_statistics as (
    observed_at         timestamptz,
    holds               bigint,
    holds_are_estimated boolean,
    holds_over          bigint,
    oldest_hold_since   timestamptz,
    waiters             bigint,
    oldest_waiter_since timestamptz,
    pool_sessions       bigint
);
comment on type mutex_statistics is
    'How all mutexes together stand at observed_at: holds, of which holds_over are over by the time of their rule and not removed yet; '
    'since when the oldest that is not over lasts; those who wait, and since when the one who has waited longest; sessions of all pools.';

-- No rule that asks for a database session is judged here: each question takes an entry of the server's lock table.
create function statistics(most_counted integer default 10000) returns mutex_statistics
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    now_is             timestamptz := clock_timestamp();
    patience constant  interval := interval '15 seconds';  -- as in waiter_is_gone
    looked_at          bigint;
    over               bigint;
    since              timestamptz;
    answer             mutex_statistics;
begin
    if statistics.most_counted is null or statistics.most_counted not between 1 and 1000000 then
        perform refuse_input('most_counted must be from 1 to 1000000');
    end if;
    answer.observed_at := now_is;

    select count(*), count(*) filter (where h.expires_at < now_is),
           min(h.held_since) filter (where isfinite(h.held_since) and (h.expires_at is null or h.expires_at >= now_is))
    into looked_at, over, since
    from (select m.held_since, m.expires_at from hold m limit statistics.most_counted) h;
    answer.holds := looked_at;
    answer.holds_over := over;
    answer.oldest_hold_since := since;
    answer.holds_are_estimated := looked_at >= statistics.most_counted;
    if answer.holds_are_estimated then
        select greatest(looked_at, c.reltuples::bigint) into answer.holds from pg_class c where c.oid = 'mutex_model'::regclass;
    end if;

    -- Unlogged, so a standby has no lines; nobody can wait there.
    if not pg_is_in_recovery() then
        select count(*), min(w.queued_since) filter (where isfinite(w.queued_since)) into answer.waiters, answer.oldest_waiter_since
        from (select m.listener, m.seen_at, m.queued_since from mutex_waiter m limit statistics.most_counted) w
        left join mutex_listener l on l.listener = w.listener
        -- Those that have died are in the line until somebody meets them.
        where case when w.listener is null then w.seen_at else l.seen_at end >= now_is - patience;
    end if;

    select count(*) into answer.pool_sessions from (select from pool_session p limit statistics.most_counted) p;
    return answer;
end
$$;
comment on function statistics(integer) is
    'How all mutexes together stand, for monitoring. It looks at no more than most_counted holds, places in line and sessions of pools: beyond that '
    'the number of holds is the planner''s estimate, and the rest is about those looked at.';

insert into object_role (kind, name, role)
values ('function', 'statistics', 'application'), ('type', 'mutex_statistics', 'application');
