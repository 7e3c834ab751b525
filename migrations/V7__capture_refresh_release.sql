-- What a holder does: capture, refresh, release, and keep.

-- Capture: the simple case in one statement, and everything else in capture_contended. The lock is a statement of its own before them, and
-- read committed gives each statement a new snapshot: it sees what the previous owner of the lock committed. No EXCEPTION block may
-- enclose the lock: leaving such a block gives the lock up.
create function capture(
    mutex_group         text,
    mutex_mode          text,
    mutex_id            text,
    owner_session       text,
    owner_host          text default '',
    owner_id            text default '',
    owner_login         text default '',
    owner_name          text default '',
    auto_release_rule   text default null,
    auto_release_config text default null,
    status_data         text default null,
    access              text default 'exclusive',
    permits             integer default null,
    wait                boolean default false,
    listener            bigint default null,
    while_holding       bigint[] default null,
    lock_parents        boolean default false,
    lock_children       boolean default false
) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    decided_at timestamptz;
    answer     hold_outcome;
    rule       text := coalesce(capture.auto_release_rule, 'timeout');
    config     text := coalesce(capture.auto_release_config, case when rule = 'timeout' then '300' else '' end);
    lock_key   bigint;
    set_to     text;
begin
    -- Each check that could refuse costs as much as all of this expression. So they are made only if it is not plain that all of
    -- them would be content: that those who describe the owner are together within the smallest of their limits, and so on.
    if (is_plain_call(capture.mutex_group, capture.mutex_mode, capture.mutex_id, capture.owner_session)
        and capture.access = 'exclusive' and capture.permits is null and not capture.lock_parents and not capture.lock_children
        and is_plain_rule(rule, config)
        and octet_length(concat(capture.owner_host, capture.owner_id, capture.owner_login, capture.owner_name, capture.status_data)) <= 400
       ) is not true then
        perform check_call(capture.mutex_group, capture.mutex_mode, capture.mutex_id, capture.owner_session);
        perform check_access(capture.access, capture.permits);
        perform check_reach(capture.mutex_id, capture.lock_parents, capture.lock_children);
        perform check_rule(rule, config);
        perform check_text('owner_host', capture.owner_host, 1600);
        perform check_text('owner_id', capture.owner_id, 400);
        perform check_text('owner_login', capture.owner_login, 400);
        perform check_text('owner_name', capture.owner_name, 400);
        perform check_text('status_data', capture.status_data, 65536);
    end if;

    if not is_path(capture.mutex_id) then
        -- Never before others who wait for the lock: then it is not free.
        lock_key := mutex_key(capture.mutex_group, capture.mutex_mode, capture.mutex_id);
        if not pg_try_advisory_xact_lock(lock_key) then
            perform pg_advisory_xact_lock(lock_key);
        end if;
    else
        perform lock_mutex(capture.mutex_group, capture.mutex_mode, capture.mutex_id);
    end if;

    -- Two conditions and not one: an expression with a query in it is not evaluated without the executor.
    if capture.mutex_group = 'pgmutex.pool' then
        if not exists (select from hold h
                       where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id
                         and h.owner_session = capture.owner_session) then
            perform refuse_input('mutex_group pgmutex.pool is that of the session pools: pool_checkout leases a session');
        end if;
    end if;
    if not is_path(capture.mutex_id) then
        decided_at := clock_timestamp();
        -- The common case in one statement: nobody holds it and nobody waits. The token is drawn only when a row will be written: a
        -- refused try leaves no trace, not even in the sequence. It is written out as draw_fencing_token draws it, and the answer's
        -- columns have the types that the answer has: a call and a conversion less.
        insert into mutex_model as h (
                          mutex_group, mutex_mode, mutex_id, permit, permits,
                          owner_session, owner_host, owner_id, owner_login, owner_name,
                          auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                          lock_parents, lock_children, sweep_at)
        select capture.mutex_group, capture.mutex_mode, capture.mutex_id, case when capture.access = 'shared' then 1 else 0 end, capture.permits,
               capture.owner_session, coalesce(capture.owner_host, ''), coalesce(capture.owner_id, ''),
               coalesce(capture.owner_login, ''), coalesce(capture.owner_name, ''),
               rule, config, decided_at, capture.status_data,
               (coalesce((select t.generation from token_generation t where t.timeline = current_timeline()), ensure_generation()) << 40)
                   + nextval('fencing_token_sequence'),
               decided_at, false, false, rule_ends_at(rule, config, decided_at)
        where not exists (select from hold h
                          where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id)
          and not exists (select from mutex_waiter w
                          where w.mutex_group = capture.mutex_group and w.mutex_mode = capture.mutex_mode and w.mutex_id = capture.mutex_id)
        on conflict do nothing
        returning 'captured', h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.permits,
                  h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
                  h.auto_release_rule, h.auto_release_config, h.captured_since, h.status_data,
                  h.fencing_token, h.held_since, h.expires_at, h.lock_parents, h.lock_children,
                  decided_at, null::text, null::text, null::bigint, null::bigint
        into answer;
    end if;
    if answer.outcome is null then
        answer := capture_contended(
            capture.mutex_group, capture.mutex_mode, capture.mutex_id,
            capture.owner_session, capture.owner_host, capture.owner_id, capture.owner_login, capture.owner_name,
            rule, config, capture.auto_release_rule is null and capture.auto_release_config is null, capture.status_data,
            capture.access, capture.permits, capture.wait, capture.listener, capture.while_holding,
            capture.lock_parents, capture.lock_children);
    end if;

    -- What is acknowledged must survive a crash, whatever this role's default. (As a SET clause of the function it would be
    -- undone before the commit.)
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') and answer.outcome not in ('busy', 'queued') then
        set_to := set_config('synchronous_commit', 'on', true);
    end if;
    return answer;
end
$$;
comment on function capture(text, text, text, text, text, text, text, text, text, text, text, text, integer, boolean, bigint, bigint[], boolean, boolean) is
    'Captures a mutex for owner_session, or refreshes the hold that session has. Outcome: captured, refreshed, evicted (captured; '
    'a hold that was over made way) or busy, then the row is the holder''s. access shared lets others share it, permits says how many at '
    'most (the smallest number that one of them says counts); an own hold is changed from exclusive to shared, and back if nobody else '
    'shares it. With wait => true a busy mutex gives queued: the caller is in line, and gets the mutex by asking again, in its turn, as it '
    'must at least every 15 seconds, each time in a transaction of its own. Without a rule a new hold gets timeout 300 and a refresh keeps the rule it has. An empty status_data '
    'leaves the old one. A mutex_id that begins and ends with a slash is a path of a tree: it is busy also while a path above it is held with '
    'lock_children, or one below it with lock_parents, by another owner; the row of a busy answer is that hold then. A refresh keeps permits, lock_parents and lock_children as they were.';

-- No advisory lock: one update of the holder's own row, by its identity. It never inserts: a renewal that inserts
-- would bring a lost hold back or take someone else's mutex. The owner is compared so that the index of owners is of no use, here and in
-- release: one owner may hold many, and a plan from when there were few would read them all.
create function refresh(
    mutex_group   text,
    mutex_mode    text,
    mutex_id      text,
    owner_session text,
    fencing_token bigint default null,
    status_data   text default null
) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    observed_at timestamptz;
    answer      hold_outcome;
begin
    if (is_plain_call(refresh.mutex_group, refresh.mutex_mode, refresh.mutex_id, refresh.owner_session)
        and coalesce(octet_length(refresh.status_data) <= 65536, true)) is not true then
        perform check_call(refresh.mutex_group, refresh.mutex_mode, refresh.mutex_id, refresh.owner_session);
        perform check_text('status_data', refresh.status_data, 65536);
    end if;

    update hold h
    set captured_since = clock_timestamp(),
        status_data = coalesce(nullif(refresh.status_data, ''), h.status_data)
    where h.mutex_group = refresh.mutex_group and h.mutex_mode = refresh.mutex_mode and h.mutex_id = refresh.mutex_id
      and (h.owner_session = refresh.owner_session) is true
      and (refresh.fencing_token is null or h.fencing_token = refresh.fencing_token)
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
    returning 'refreshed', h.*, h.captured_since, null::text, null::text, null::bigint, null::bigint
    into answer;
    if found then
        if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
            perform set_config('synchronous_commit', 'on', true);
        end if;
        return answer;
    end if;

    observed_at := clock_timestamp();
    select 'busy', h.*, observed_at, null, null, null, null into answer from hold h
    where h.mutex_group = refresh.mutex_group and h.mutex_mode = refresh.mutex_mode and h.mutex_id = refresh.mutex_id
      and h.owner_session <> refresh.owner_session
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, observed_at)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := refresh.mutex_group;
        answer.mutex_mode := refresh.mutex_mode;
        answer.mutex_id := refresh.mutex_id;
        answer.observed_at := observed_at;
    end if;
    return answer;
end
$$;
comment on function refresh(text, text, text, text, bigint, text) is
    'Makes the time of a hold start again. Outcome: refreshed; not_held (lost: it was over, released or never held); or busy '
    '(lost: another holds it). With fencing_token, only that very hold counts.';

create function release(
    mutex_group   text,
    mutex_mode    text,
    mutex_id      text,
    owner_session text,
    fencing_token bigint default null,
    durable       boolean default true
) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    decided_at timestamptz;
    answer     hold_outcome;
    lock_key   bigint;
    has_line   boolean;  -- whether somebody may wait
    set_to     text;
begin
    if is_plain_call(release.mutex_group, release.mutex_mode, release.mutex_id, release.owner_session) is not true then
        perform check_call(release.mutex_group, release.mutex_mode, release.mutex_id, release.owner_session);
    end if;

    if not is_path(release.mutex_id) then
        lock_key := mutex_key(release.mutex_group, release.mutex_mode, release.mutex_id);
        if not pg_try_advisory_xact_lock(lock_key) then
            perform pg_advisory_xact_lock(lock_key);
        end if;
        -- The common case in one statement: an own hold, which nobody else has locked; there may be a line. The row is locked first
        -- although that is a record more in the log: a delete would wait for a fence, behind the mutex's lock, and whether the row is
        -- locked can be asked only by locking it.
        decided_at := clock_timestamp();
        delete from hold h
        where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
          and h.permit = (select own.permit from hold own
                          where own.mutex_group = release.mutex_group and own.mutex_mode = release.mutex_mode and own.mutex_id = release.mutex_id
                            and (own.owner_session = release.owner_session) is true
                            and (release.fencing_token is null or own.fencing_token = release.fencing_token)
                          order by own.permit
                          limit 1
                          for update of own skip locked)
        returning case when hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, decided_at) then 'not_held' else 'released' end,
                  h.*, decided_at, null::text, null::text, null::bigint,
                  -- By way of the ticket: whether somebody waits.
                  (select w.ticket from mutex_waiter w
                   where w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id
                   limit 1)
        into answer;
        if found then
            has_line := answer.ticket is not null;
            answer.ticket := null;
        end if;
    else
        perform lock_mutex(release.mutex_group, release.mutex_mode, release.mutex_id);
    end if;

    if answer.outcome is null then
        for attempt in 1..2 loop
            decided_at := clock_timestamp();
            select case when hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, decided_at) then 'not_held' else 'released' end,
                   h.*, decided_at, null, null, null, null
            into answer from hold h
            where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
              and (h.owner_session = release.owner_session) is true
              and (release.fencing_token is null or h.fencing_token = release.fencing_token)
            order by h.permit
            limit 1
            for update skip locked;
            exit when found or attempt = 2;
            -- Nothing, or a locked row. A refresh on its way is waited out here: this lock conflicts with its lock, but not with
            -- the lock of a fence, which a transaction may keep for long. What is still locked afterwards is fenced.
            perform 1 from hold h
            where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
              and (h.owner_session = release.owner_session) is true
              and (release.fencing_token is null or h.fencing_token = release.fencing_token)
            for no key update;
            exit when not found;
        end loop;
        if answer.outcome is not null then
            delete from hold h
            where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
              and h.permit = answer.permit;
            if not found then
                answer.outcome := 'busy';  -- a trigger of another program has kept the row
            end if;
        end if;
        has_line := is_path(release.mutex_id)
                    or exists (select from mutex_waiter w
                               where w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id);
    end if;

    if has_line then
        if release.fencing_token is null then
            delete from mutex_waiter w
            where w.owner_session = release.owner_session
              and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(release.mutex_group, release.mutex_mode, release.mutex_id)
              and (w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id) is true;
        end if;
        perform wake_lines(release.mutex_group, release.mutex_mode, release.mutex_id);
    end if;
    if answer.outcome is not null then
        -- If a crash loses this, the hold only lasts until its rule ends it. Never for a hold that nothing else would end,
        -- and never unasked: in a larger transaction it would weaken the caller's own data.
        if not release.durable and answer.outcome <> 'busy' and (isfinite(answer.expires_at) or answer.auto_release_rule = 'connection')
           and current_setting('synchronous_commit') <> 'off' then
            set_to := set_config('synchronous_commit', 'off', true);
        end if;
        return answer;
    end if;

    -- Another's hold, or our own behind a fence: either way it stays.
    select 'busy', h.*, decided_at, null, null, null, null into answer from hold h
    where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, decided_at)
      and (release.fencing_token is null or h.owner_session <> release.owner_session or h.fencing_token = release.fencing_token)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := release.mutex_group;
        answer.mutex_mode := release.mutex_mode;
        answer.mutex_id := release.mutex_id;
        answer.observed_at := decided_at;
    end if;
    return answer;
end
$$;
comment on function release(text, text, text, text, bigint, boolean) is
    'Gives a mutex back. Outcome: released (the row is the hold that was); not_held (nothing to release, or it was already over); '
    'busy (held by another, or a fenced write of this holder is still under way). With fencing_token, only that very hold is '
    'released; without it, a ticket of this owner is given up too. durable => false does not wait for the disk: only for a call that is a transaction of its own.';

-- The heartbeat of a process: all that it holds, in one statement. Rows that someone else has locked at the moment are passed
-- over rather than waited for: one transaction that keeps a row locked must not end all the other holds.
create function keep(mutex_groups text[], mutex_modes text[], mutex_ids text[], fencing_tokens bigint[])
returns table (fencing_token bigint, outcome text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    kept bigint[];
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if array_length(keep.mutex_groups, 1) is distinct from array_length(keep.fencing_tokens, 1)
       or array_length(keep.mutex_modes, 1) is distinct from array_length(keep.fencing_tokens, 1)
       or array_length(keep.mutex_ids, 1) is distinct from array_length(keep.fencing_tokens, 1)
       or coalesce(array_ndims(keep.fencing_tokens), 1) <> 1
       or keep.fencing_tokens is null or array_position(keep.fencing_tokens, null) is not null then
        perform refuse_input('mutex_groups, mutex_modes, mutex_ids and fencing_tokens must be as long as each other, and no token null');
    end if;
    with asked as (
        select a.* from unnest(keep.mutex_groups, keep.mutex_modes, keep.mutex_ids, keep.fencing_tokens)
                        a (mutex_group, mutex_mode, mutex_id, fencing_token)
    ), mine as (
        select h.mutex_group, h.mutex_mode, h.mutex_id, h.permit from asked a
        join hold h on h.mutex_group = a.mutex_group and h.mutex_mode = a.mutex_mode and h.mutex_id = a.mutex_id
                   and h.fencing_token = a.fencing_token
        where not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
        for no key update of h skip locked
    ), refreshed as (
        update hold h set captured_since = clock_timestamp() from mine m
        where h.mutex_group = m.mutex_group and h.mutex_mode = m.mutex_mode and h.mutex_id = m.mutex_id and h.permit = m.permit
        returning h.fencing_token
    )
    select array_agg(r.fencing_token) into kept from refreshed r;
    if kept is not null and current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if cardinality(kept) = cardinality(keep.fencing_tokens) then
        return;
    end if;
    return query
    select a.fencing_token,
           case when h.fencing_token is null or hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
                then 'not_held' else 'locked' end
    from unnest(keep.mutex_groups, keep.mutex_modes, keep.mutex_ids, keep.fencing_tokens) a (mutex_group, mutex_mode, mutex_id, fencing_token)
    left join hold h on h.mutex_group = a.mutex_group and h.mutex_mode = a.mutex_mode and h.mutex_id = a.mutex_id
                    and h.fencing_token = a.fencing_token
    where a.fencing_token <> all (coalesce(kept, '{}'));
end
$$;
comment on function keep(text[], text[], text[], bigint[]) is
    'Makes the time of many holds start again, named by mutex and token. Answers with those it could not refresh: not_held (lost), '
    'or locked (another transaction has the row; ask again soon).';
