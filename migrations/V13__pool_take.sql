-- Taking a session out of its pool: for a while, or as a lease.

-- The row of the session is locked by the caller. A lease that is over makes way, like any hold that is over.
create function look_at_lease(collection text, id bigint, fencing_token bigint) returns void
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();
    again   timestamptz;
    rule    text;
    config  text;
    ends_at timestamptz;
begin
    if look_at_lease.fencing_token is not null then
        select h.auto_release_rule, h.auto_release_config, h.expires_at into rule, config, ends_at from hold h
        where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = look_at_lease.collection and h.mutex_id = look_at_lease.id::text
          and h.fencing_token = look_at_lease.fencing_token;
        if found and hold_is_over(rule, config, ends_at, now_is) then
            perform 1 from hold h
            where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = look_at_lease.collection and h.mutex_id = look_at_lease.id::text
              and h.fencing_token = look_at_lease.fencing_token
              and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is)
            for update skip locked;
            if found then
                -- Its trigger gives the session back.
                delete from hold h
                where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = look_at_lease.collection and h.mutex_id = look_at_lease.id::text
                  and h.fencing_token = look_at_lease.fencing_token;
                return;
            end if;
            again := now_is + interval '1 second';  -- behind its fence, or being refreshed
        elsif found then
            again := least(ends_at, case when rule = 'connection' then now_is + interval '15 seconds' else 'infinity' end);
        end if;
    end if;
    update pool_session p
    set look_at_lease = again, fencing_token = case when again is not null then p.fencing_token end
    where p.collection = look_at_lease.collection and p.id = look_at_lease.id;
end
$$;
comment on function look_at_lease(text, bigint, bigint) is 'Says of a session that is due whether it can be taken now, and if not, when to look again.';

-- The first, in the order in which they are taken, of those that are ready and of some that are due; waits for nobody. It locks no row but
-- the one that it takes: whoever comes at the same time is to find the others. So it looks first, at one or at as many as others may be
-- taking at this moment, and then tries them in turn.
create function lock_next_session(collection text, condition text, due bigint[], due_last_use timestamptz[]) returns bigint
language plpgsql volatile parallel unsafe
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off  -- plans that were made while the table was empty must do when it is large
as $$
#variable_conflict use_column
declare
    ready          bigint[];
    ready_last_use timestamptz[];
    candidate      record;
    reach          bigint;
begin
    foreach reach in array array[1, 100, 1000] loop
        if lock_next_session.condition = 'true' then
            select array_agg(r.id), array_agg(r.last_use) into ready, ready_last_use
            from (select p.id, p.last_use from pool_session p
                  where p.collection = lock_next_session.collection and p.is_ready
                  order by p.last_use nulls first, p.id
                  limit reach) r;
        else
            execute format('select array_agg(r.id), array_agg(r.last_use) from (select p.id, p.last_use from pool_session p '
                           'where p.collection = $1 and p.is_ready and (%s) order by p.last_use nulls first, p.id limit $2) r',
                           lock_next_session.condition)
            into ready, ready_last_use using lock_next_session.collection, reach;
        end if;
        for candidate in
            select c.id, c.last_use, c.place
            from (select r.id, r.last_use, r.place from unnest(ready, ready_last_use) with ordinality r (id, last_use, place)
                  union all
                  select d.id, d.last_use, null from unnest(due, due_last_use) d (id, last_use)) c
            order by c.last_use nulls first, c.id
        loop
            perform 1 from pool_session p
            where p.collection = lock_next_session.collection and p.id = candidate.id
              and p.active and p.next_use <= clock_timestamp() and p.fencing_token is null
              and p.last_use is not distinct from candidate.last_use  -- not used since
            for update skip locked;
            if found then
                return candidate.id;
            end if;
            exit when candidate.place = reach;  -- what is ready beyond it comes before the rest of what is due
        end loop;
        exit when coalesce(cardinality(ready), 0) < reach;
    end loop;
    return null;
end
$$;
comment on function lock_next_session(text, text, bigint[], timestamptz[]) is 'Used by take_session; not called directly.';

create function take_session(collection text, condition text) returns bigint
language plpgsql volatile parallel unsafe
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();  -- a variable: an index is not searched by what may change on the way
    due     bigint[];
    used    timestamptz[];
    spare   bigint[];
    leased  bigint[];
    suspect bigint;
    token   bigint;
    taken   bigint;
    looked  boolean := false;
    more_are_due boolean;
begin
    -- In bounded steps: if more have become due since the last look, the rest counts from the next one on.
    select array_agg(w.id order by w.last_use nulls first, w.id) filter (where w.fencing_token is null),
           array_agg(w.last_use order by w.last_use nulls first, w.id) filter (where w.fencing_token is null),
           array_agg(w.id) filter (where w.fencing_token is not null), count(*) = 1000
    into due, used, leased, more_are_due
    from (select p.id, p.last_use, p.fencing_token from pool_session p
          where p.collection = take_session.collection and p.active and not p.is_ready and p.due_at <= now_is
          order by p.due_at
          limit 1000) w;
    spare := due[501:600];
    if due is not null and take_session.condition <> 'true' then
        execute format('select array_agg(p.id), array_agg(p.last_use) from pool_session p '
                       'where p.collection = $1 and p.id = any ($2) and (%s)', take_session.condition)
        into due, used using take_session.collection, due;
    end if;
    loop
        foreach suspect in array coalesce(leased, '{}') loop
            select p.fencing_token into token from pool_session p
            where p.collection = take_session.collection and p.id = suspect and p.fencing_token is not null
            for update skip locked;
            if found then
                perform look_at_lease(take_session.collection, suspect, token);
            end if;
        end loop;
        leased := null;
        taken := lock_next_session(take_session.collection, take_session.condition, due, used);
        if taken is not null then
            select h.fencing_token into token from hold h
            where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = take_session.collection and h.mutex_id = taken::text
            order by h.permit
            limit 1;
            exit when not found;
            -- Somebody has made the row forget its lease. The session is that hold's still.
            update pool_session p set fencing_token = token
            where p.collection = take_session.collection and p.id = taken;
            perform look_at_lease(take_session.collection, taken, token);
            continue;
        end if;
        exit when looked;
        -- Nobody says when the session of a worker ends. Before none is given, its leases are looked at: only those that are over are
        -- touched, for their workers are about to give back the others. Nor does anybody when a hold is removed past its triggers.
        select array_agg(l.id) into leased
        from (select p.id, p.fencing_token, p.active and p.next_use <= now_is as is_wanted from pool_session p
              where p.collection = take_session.collection and p.fencing_token is not null
              order by p.id
              limit 1000) l
        left join hold h on h.mutex_group = 'pgmutex.pool' and h.mutex_mode = take_session.collection and h.mutex_id = l.id::text
                        and h.fencing_token = l.fencing_token
        where l.is_wanted and (h.fencing_token is null or h.auto_release_rule = 'connection' and session_is_gone(h.auto_release_config));
        if more_are_due and take_session.condition <> 'true' then
            -- What fits may be none of the first that are due.
            execute format('select array_agg(d.id), array_agg(d.last_use) from (select p.id, p.last_use from pool_session p '
                           'where p.collection = $1 and p.active and not p.is_ready and p.due_at <= $2 and p.fencing_token is null and (%s) '
                           'order by p.due_at limit 1000) d', take_session.condition)
            into due, used using take_session.collection, now_is;
        end if;
        looked := true;
    end loop;
    -- Those that nobody has come for go where one step finds them: not the first ones, which others are coming for at this moment.
    if spare <> '{}' then
        update pool_session p set is_ready = true
        where p.collection = take_session.collection and p.id in (
            select s.id from pool_session s
            where s.collection = take_session.collection and s.id = any (spare) and s.fencing_token is null
            for update skip locked);
    end if;
    return taken;
end
$$;
comment on function take_session(text, text) is
    'Locks the row of the session that comes next: never used, or unused for longest, of those that can be taken. Null if there is none.';

create function session_answer(outcome text, collection text, id bigint) returns pool_outcome
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    answer pool_outcome;
begin
    if session_answer.outcome in ('added', 'updated', 'deleted') then
        perform be_durable();
    end if;
    select session_answer.outcome, p.collection, p.id, p.payload, p.active, p.next_use, p.last_use, p.use_count, p.success_count,
           p.created_at, p.updated_at, p.fencing_token, clock_timestamp()
    into answer from pool_session p
    where p.collection = session_answer.collection and p.id = session_answer.id;
    if not found then
        answer.outcome := session_answer.outcome;
        answer.collection := session_answer.collection;
        answer.observed_at := clock_timestamp();
    end if;
    return answer;
end
$$;
comment on function session_answer(text, text, bigint) is 'A session as an answer.';

create function be_durable() returns void
language plpgsql volatile parallel unsafe
as $$
begin
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
end
$$;
comment on function be_durable() is 'What is acknowledged must survive a crash, whatever this role''s default.';

create function pool_get_session(
    collection     text,
    count_use      bigint default 1,
    next_use_delay interval default '3 seconds',
    request_id     text default null,
    filter         jsonb default '[]'
) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    condition text;
    taken     bigint;
    now_is    timestamptz;
begin
    perform check_pool(pool_get_session.collection);
    perform check_period('next_use_delay', pool_get_session.next_use_delay);
    perform check_text('request_id', pool_get_session.request_id, 400);
    perform check_count('count_use', pool_get_session.count_use);
    condition := pool_condition(pool_get_session.filter);
    if pool_get_session.request_id is not null then
        -- Two of the same request must not both take one.
        perform pg_advisory_xact_lock(mutex_key('pgmutex.pool', pool_get_session.collection, 'request ' || pool_get_session.request_id));
        select p.id into taken from pool_session p
        where p.collection = pool_get_session.collection and p.request_id = pool_get_session.request_id;
        if found then
            return session_answer('captured', pool_get_session.collection, taken);
        end if;
    end if;
    -- Whoever waits in line came before.
    if exists (select from mutex_waiter w
               where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_get_session.collection
                 and w.mutex_id = pool_line(pool_get_session.filter) and not waiter_is_gone(w.listener, w.seen_at)) then
        return session_answer('none', pool_get_session.collection, null);
    end if;
    taken := take_session(pool_get_session.collection, condition);
    if taken is null then
        return session_answer('none', pool_get_session.collection, null);
    end if;
    now_is := clock_timestamp();
    update pool_session p
    set last_use = now_is, next_use = now_is + coalesce(pool_get_session.next_use_delay, interval '3 seconds'), is_blocked = false,
        use_count = least(p.use_count, 9000000000000000000) + pool_get_session.count_use, request_id = pool_get_session.request_id
    where p.collection = pool_get_session.collection and p.id = taken;
    perform be_durable();
    return session_answer('captured', pool_get_session.collection, taken);
end
$$;
comment on function pool_get_session(text, bigint, interval, text, jsonb) is
    'Takes the session that is active, not locked, not leased, and was used longest ago (never used ones first); it is locked for '
    'next_use_delay. Outcome captured, or none. Asking again with the same request_id gives the same session, until it is taken again.';

-- A line for each filter: one who waits for what is not there must not hold up one for whom there is something.
create function pool_line(filter jsonb) returns text
language sql immutable parallel safe
as $$ select case when coalesce(filter, '[]') = '[]' then '' else 'filter ' || md5(filter::text) end $$;
comment on function pool_line(jsonb) is 'The line, among those of a pool, in which those wait who want what this filter lets through.';

create function wake_pool(collection text) returns void
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    line text;
begin
    for line in
        select distinct w.mutex_id from mutex_waiter w
        where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = wake_pool.collection
        order by 1
    loop
        perform wake_line('pgmutex.pool', wake_pool.collection, line);
    end loop;
end
$$;
comment on function wake_pool(text) is 'Tells the first in each line of a pool to ask again, if there is a session to be had.';

create function pool_could_give(collection text) returns boolean
language plpgsql volatile parallel unsafe
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    now_is timestamptz := clock_timestamp();
begin
    return exists (select from pool_session p where p.collection = pool_could_give.collection and p.is_ready)
        or exists (select from pool_session p
                   where p.collection = pool_could_give.collection and p.active and not p.is_ready and p.due_at <= now_is)
        -- As take_session does: nobody says when the session of a worker ends.
        or exists (select from (select p.id, p.fencing_token, p.active and p.next_use <= now_is as is_wanted from pool_session p
                                where p.collection = pool_could_give.collection and p.fencing_token is not null
                                order by p.id
                                limit 1000) l
                   left join hold h on h.mutex_group = 'pgmutex.pool' and h.mutex_mode = pool_could_give.collection and h.mutex_id = l.id::text
                                   and h.fencing_token = l.fencing_token
                   where l.is_wanted and (h.fencing_token is null
                                          or h.auto_release_rule = 'connection' and session_is_gone(h.auto_release_config)));
end
$$;
comment on function pool_could_give(text) is 'Whether it is worth asking a pool for a session.';

create function pool_checkout(
    collection          text,
    owner_session       text,
    owner_host          text default '',
    owner_id            text default '',
    owner_login         text default '',
    owner_name          text default '',
    auto_release_rule   text default 'timeout',
    auto_release_config text default '300',
    status_data         text default null,
    count_use           bigint default 1,
    next_use_delay      interval default '3 seconds',
    filter              jsonb default '[]',
    wait                boolean default false,
    listener            bigint default null,
    while_holding       bigint[] default null,
    out lease           hold_outcome,
    out session         pool_outcome
)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    condition  text;
    line       text := pool_line(pool_checkout.filter);
    taken      bigint;
    own_ticket bigint;
    ahead      bigint;
    now_is     timestamptz;
    another    record;
    is_behind  boolean := false;
begin
    perform check_pool(pool_checkout.collection);
    if coalesce(pool_checkout.owner_session, '') = '' then
        perform refuse_input('owner_session is empty: it says who holds the session');
    end if;
    perform check_rule(coalesce(pool_checkout.auto_release_rule, ''), pool_checkout.auto_release_config);
    perform check_period('next_use_delay', pool_checkout.next_use_delay);
    perform check_count('count_use', pool_checkout.count_use);
    perform check_text('owner_session', pool_checkout.owner_session, 400);
    perform check_text('owner_host', pool_checkout.owner_host, 1600);
    perform check_text('owner_id', pool_checkout.owner_id, 400);
    perform check_text('owner_login', pool_checkout.owner_login, 400);
    perform check_text('owner_name', pool_checkout.owner_name, 400);
    perform check_text('status_data', pool_checkout.status_data, 65536);
    condition := pool_condition(pool_checkout.filter);

    -- The owner session is the request: the same one gets the same session.
    perform pg_advisory_xact_lock(mutex_key('pgmutex.pool', pool_checkout.collection, 'request ' || pool_checkout.owner_session));
    select p.id into taken from pool_session p
    where p.collection = pool_checkout.collection and p.request_id = pool_checkout.owner_session;
    if found then
        update hold h
        set captured_since = clock_timestamp()
        where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = pool_checkout.collection and h.mutex_id = taken::text
          and h.owner_session = pool_checkout.owner_session
          and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
        returning 'refreshed', h.*, h.captured_since, null, null, null, null
        into lease;
        if found then
            session := session_answer('refreshed', pool_checkout.collection, taken);
            perform be_durable();
            return;
        end if;
        -- It had one, and has lost it. Another may be taking that one at this moment.
        update pool_session p set request_id = null
        where p.collection = pool_checkout.collection and p.id = taken and p.request_id = pool_checkout.owner_session;
        taken := null;
    end if;

    if exists (select from mutex_waiter w
               where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_checkout.collection and w.mutex_id = line) then
        is_behind := true;
    else
        taken := take_session(pool_checkout.collection, condition);
    end if;
    if taken is null and (pool_checkout.wait or is_behind) then
        -- Behind this lock a session that comes back is seen, or finds who waits for it.
        perform pg_advisory_xact_lock(mutex_key('pgmutex.pool', pool_checkout.collection, ''));
        select w.ticket into own_ticket from mutex_waiter w
        where w.owner_session = pool_checkout.owner_session
          and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key('pgmutex.pool', pool_checkout.collection, line)
          and (w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_checkout.collection and w.mutex_id = line) is true;
        ahead := first_in_line('pgmutex.pool', pool_checkout.collection, line, own_ticket);
        if ahead is null then
            taken := take_session(pool_checkout.collection, condition);
        end if;
        if taken is null and pool_checkout.wait then
            own_ticket := join_line('pgmutex.pool', pool_checkout.collection, line, null, 'exclusive', null,
                                    pool_checkout.owner_session, pool_checkout.owner_host, pool_checkout.owner_id,
                                    pool_checkout.owner_login, pool_checkout.owner_name, pool_checkout.while_holding,
                                    pool_checkout.listener, false, false);
            session := session_answer('queued', pool_checkout.collection, null);
            lease.outcome := 'queued';
            lease.ticket := own_ticket;
        end if;
    end if;
    if taken is null then
        if session.outcome is null then
            session := session_answer('none', pool_checkout.collection, null);
            lease.outcome := 'none';
        end if;
        lease.mutex_group := 'pgmutex.pool';
        lease.mutex_mode := pool_checkout.collection;
        lease.mutex_id := line;
        lease.observed_at := session.observed_at;
        return;
    end if;

    now_is := clock_timestamp();
    insert into hold (mutex_group, mutex_mode, mutex_id, permit, permits,
                      owner_session, owner_host, owner_id, owner_login, owner_name,
                      auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                      lock_parents, lock_children)
    values ('pgmutex.pool', pool_checkout.collection, taken::text, 0, null,
            pool_checkout.owner_session, coalesce(pool_checkout.owner_host, ''), coalesce(pool_checkout.owner_id, ''),
            coalesce(pool_checkout.owner_login, ''), coalesce(pool_checkout.owner_name, ''),
            coalesce(pool_checkout.auto_release_rule, ''), coalesce(pool_checkout.auto_release_config, ''),
            now_is, pool_checkout.status_data, draw_fencing_token(), now_is, false, false)
    on conflict do nothing
    returning 'captured', hold.*, now_is, null, null, null, null
    into lease;
    if not found then
        -- Somebody has made the row forget its lease. The session is that hold's still; this call asks for another.
        update pool_session p set fencing_token = h.fencing_token, look_at_lease = now_is
        from hold h
        where p.collection = pool_checkout.collection and p.id = taken
          and h.mutex_group = 'pgmutex.pool' and h.mutex_mode = p.collection and h.mutex_id = p.id::text;
        select c.* into another
        from pool_checkout(pool_checkout.collection, pool_checkout.owner_session, pool_checkout.owner_host, pool_checkout.owner_id,
                           pool_checkout.owner_login, pool_checkout.owner_name, pool_checkout.auto_release_rule,
                           pool_checkout.auto_release_config, pool_checkout.status_data, pool_checkout.count_use,
                           pool_checkout.next_use_delay, pool_checkout.filter, pool_checkout.wait, pool_checkout.listener,
                           pool_checkout.while_holding) c;
        lease := another.lease;
        session := another.session;
        return;
    end if;
    update pool_session p
    set last_use = now_is, next_use = now_is + coalesce(pool_checkout.next_use_delay, interval '3 seconds'), is_blocked = false,
        use_count = least(p.use_count, 9000000000000000000) + pool_checkout.count_use, request_id = pool_checkout.owner_session,
        fencing_token = lease.fencing_token,
        look_at_lease = least(lease.expires_at, case when lease.auto_release_rule = 'connection' then now_is + interval '15 seconds'
                                                     else 'infinity' end)
    where p.collection = pool_checkout.collection and p.id = taken;
    if own_ticket is not null then
        delete from mutex_waiter w
        where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_checkout.collection and w.mutex_id = line and w.ticket = own_ticket;
        perform wake_pool(pool_checkout.collection);
    end if;
    perform be_durable();
    session := session_answer('captured', pool_checkout.collection, taken);
end
$$;
comment on function pool_checkout(text, text, text, text, text, text, text, text, text, bigint, interval, jsonb, boolean, bigint, bigint[]) is
    'Takes a session as pool_get_session does, and leases it: it stays with its owner until it is released (release of the mutex in lease), or '
    'until the rule ends the hold. lease.outcome is captured, refreshed (the same owner_session has one already), none, or with '
    'wait => true queued: ask again as with capture.';
