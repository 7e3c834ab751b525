-- What a holder does with its hold.

-- No advisory lock: one update of the holder's own row, by its identity. It never inserts: a renewal that inserts
-- would bring a lost hold back or take someone else's mutex.
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
    perform check_call(refresh.mutex_group, refresh.mutex_mode, refresh.mutex_id, refresh.owner_session);
    perform check_text('status_data', refresh.status_data, 65536);

    update hold h
    set captured_since = clock_timestamp(),
        status_data = coalesce(nullif(refresh.status_data, ''), h.status_data)
    where h.mutex_group = refresh.mutex_group and h.mutex_mode = refresh.mutex_mode and h.mutex_id = refresh.mutex_id
      and h.owner_session = refresh.owner_session
      and (refresh.fencing_token is null or h.fencing_token = refresh.fencing_token)
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
    returning 'refreshed', h.*, h.captured_since, null, null, null, null
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
begin
    perform check_call(release.mutex_group, release.mutex_mode, release.mutex_id, release.owner_session);

    perform lock_mutex(release.mutex_group, release.mutex_mode, release.mutex_id);

    for attempt in 1..2 loop
        decided_at := clock_timestamp();
        select case when hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, decided_at) then 'not_held' else 'released' end,
               h.*, decided_at, null, null, null, null
        into answer from hold h
        where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
          and h.owner_session = release.owner_session
          and (release.fencing_token is null or h.fencing_token = release.fencing_token)
        order by h.permit
        limit 1
        for update skip locked;
        exit when found or attempt = 2;
        -- Nothing, or a locked row. A refresh on its way is waited out here: this lock conflicts with its lock, but not with
        -- the lock of a fence, which a transaction may keep for long. What is still locked afterwards is fenced.
        perform 1 from hold h
        where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
          and h.owner_session = release.owner_session
          and (release.fencing_token is null or h.fencing_token = release.fencing_token)
        for no key update;
        exit when not found;
    end loop;

    if answer.outcome is not null then
        delete from hold h
        where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
          and h.permit = answer.permit;
    end if;
    if is_path(release.mutex_id)
       or exists (select from mutex_waiter w
                  where w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id) then
        if release.fencing_token is null then
            delete from mutex_waiter w
            where w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id
              and w.owner_session = release.owner_session;
        end if;
        perform wake_lines(release.mutex_group, release.mutex_mode, release.mutex_id);
    end if;
    if answer.outcome is not null then
        -- If a crash loses this, the hold only lasts until its rule ends it. Never for a hold that nothing else would end,
        -- and never unasked: in a larger transaction it would weaken the caller's own data.
        if not release.durable and (isfinite(answer.expires_at) or answer.auto_release_rule = 'connection') and current_setting('synchronous_commit') <> 'off' then
            perform set_config('synchronous_commit', 'off', true);
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
