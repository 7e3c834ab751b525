-- For those who look after the locks of others.

-- The one place that removes a hold against its holder's will: a rule that the database cannot judge has ended it, or a person has.
create function remove_hold(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint, ending text) returns hold_outcome
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    answer hold_outcome;
begin
    perform lock_mutex(remove_hold.mutex_group, remove_hold.mutex_mode, remove_hold.mutex_id);
    for attempt in 1..2 loop
        select 'released', h.*, clock_timestamp(), h.owner_session, h.owner_name, h.fencing_token, null into answer from hold h
        where h.mutex_group = remove_hold.mutex_group and h.mutex_mode = remove_hold.mutex_mode and h.mutex_id = remove_hold.mutex_id
          and (remove_hold.fencing_token is null or h.fencing_token = remove_hold.fencing_token)
          and not (remove_hold.ending = 'evicted' and h.auto_release_rule in ('', 'never', 'timeout', 'deadline', 'connection'))
        order by h.permit
        limit 1
        for update skip locked;
        if found then
            -- On the row itself, where the audit's trigger finds it: nobody but the functions can write there, and it cannot outlive
            -- the hold.
            if audit_is_on() then
                update mutex_model h set ending = remove_hold.ending
                where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
                  and h.permit = answer.permit;
            end if;
            delete from hold h
            where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
              and h.permit = answer.permit;
            if not found then
                -- A trigger of another program keeps it: then it stays, and is busy.
                update mutex_model h set ending = null
                where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
                  and h.permit = answer.permit and h.ending is not null;
                exit;
            end if;
            perform wake_lines(remove_hold.mutex_group, remove_hold.mutex_mode, remove_hold.mutex_id);
            return answer;
        end if;
        exit when attempt = 2;
        -- As in release: a refresh on its way is waited out, a fenced write is not.
        perform 1 from hold h
        where h.mutex_group = remove_hold.mutex_group and h.mutex_mode = remove_hold.mutex_mode and h.mutex_id = remove_hold.mutex_id
          and (remove_hold.fencing_token is null or h.fencing_token = remove_hold.fencing_token)
        for no key update;
        exit when not found;
    end loop;

    select 'busy', h.*, clock_timestamp(), null, null, null, null into answer from hold h
    where h.mutex_group = remove_hold.mutex_group and h.mutex_mode = remove_hold.mutex_mode and h.mutex_id = remove_hold.mutex_id
      and (remove_hold.fencing_token is null or h.fencing_token = remove_hold.fencing_token)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := remove_hold.mutex_group;
        answer.mutex_mode := remove_hold.mutex_mode;
        answer.mutex_id := remove_hold.mutex_id;
        answer.observed_at := clock_timestamp();
    end if;
    return answer;
end
$$;
comment on function remove_hold(text, text, text, bigint, text) is
    'Used by evict and force_release; not called directly. ending is evicted (only under a custom rule), or forced and the reason.';

create function evict(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
begin
    perform check_call(evict.mutex_group, evict.mutex_mode, evict.mutex_id, 'evict');
    if evict.fencing_token is null then
        perform refuse_input('fencing_token must not be null: it says which hold was judged');
    end if;
    return remove_hold(evict.mutex_group, evict.mutex_mode, evict.mutex_id, evict.fencing_token, 'evicted');
end
$$;
comment on function evict(text, text, text, bigint) is
    'Removes one hold under a custom rule, for a client that knows the rule and has found it over: exactly the hold with this '
    'token, and only if its rule is not one that the database judges itself. Outcome: released, not_held or busy.';

create function force_release(
    mutex_group   text,
    mutex_mode    text,
    mutex_id      text,
    reason        text default null,
    fencing_token bigint default null
) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
declare
    answer hold_outcome;
    first  hold_outcome;
begin
    perform check_call(force_release.mutex_group, force_release.mutex_mode, force_release.mutex_id, 'force_release');
    perform check_text('reason', force_release.reason, 1600);
    loop
        answer := remove_hold(force_release.mutex_group, force_release.mutex_mode, force_release.mutex_id, force_release.fencing_token,
                              concat_ws(' ', 'forced', force_release.reason));
        exit when answer.outcome <> 'released';
        -- On one line, whatever the names and the reason contain: a line of the log must not be forged.
        raise log using message = regexp_replace(format(
            'pgmutex: %L forced the release of %L/%L/%L, held by %s with token %s since %s; reason: %L',
            session_user, answer.mutex_group, answer.mutex_mode, answer.mutex_id,
            owner_in_words(answer.owner_name, answer.owner_login, answer.owner_session), answer.fencing_token, answer.held_since, force_release.reason), '[[:cntrl:]]', ' ', 'g');
        if first.outcome is null then
            first := answer;
        end if;
    end loop;
    if answer.outcome = 'not_held' and first.outcome is not null then
        return first;
    end if;
    return answer;
end
$$;
comment on function force_release(text, text, text, text, bigint) is
    'Takes a mutex away from whoever holds it, all of them if it is shared, and writes who did so and why to the server''s log. Outcome: '
    'released (the row is the hold that was, or the first of them), not_held, or busy (a fenced write of a holder is under way; the '
    'holds before it are gone). With fencing_token, only that very hold.';

-- Sweeping --------------------------------------------------------------------------------------------------------------

-- Whoever gives a hold an earlier end, a person too, need know nothing of sweep_at. No refresh meets the condition.
create function hold_ends_earlier() returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    update mutex_model h set sweep_at = new.expires_at
    where h.mutex_group = new.mutex_group and h.mutex_mode = new.mutex_mode and h.mutex_id = new.mutex_id and h.permit = new.permit;
    return null;
end
$$;
comment on function hold_ends_earlier() is 'Trigger: has a sweep look at a hold in time that now ends earlier than before.';

create trigger hold_ends_earlier after update on mutex_model
for each row when (new.expires_at < new.sweep_at or new.expires_at is not null and new.sweep_at is null) execute function hold_ends_earlier();

-- Never waits: whoever has one of the locks is deciding about this mutex and will evict the hold itself. With row_first it takes no lock for
-- a hold whose row it cannot have, one behind its fence for example; but whoever decides about the mutex at that moment may then find the
-- row locked, and the hold in the way until the end of the sweep.
create function sweep_hold(
    mutex_group text, mutex_mode text, mutex_id text, permit integer, fencing_token bigint, captured_since timestamptz, row_first boolean
) returns boolean
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
begin
    if sweep_hold.row_first then
        perform 1 from hold h
        where h.mutex_group = sweep_hold.mutex_group and h.mutex_mode = sweep_hold.mutex_mode and h.mutex_id = sweep_hold.mutex_id
          and h.permit = sweep_hold.permit and h.fencing_token = sweep_hold.fencing_token
        for update skip locked;
        if not found then
            return null;
        end if;
    end if;
    if not try_lock_mutex(sweep_hold.mutex_group, sweep_hold.mutex_mode, sweep_hold.mutex_id) then
        return false;
    end if;
    perform 1 from hold h
    where h.mutex_group = sweep_hold.mutex_group and h.mutex_mode = sweep_hold.mutex_mode and h.mutex_id = sweep_hold.mutex_id
      and h.permit = sweep_hold.permit and h.fencing_token = sweep_hold.fencing_token
      and h.captured_since = sweep_hold.captured_since  -- not refreshed since
    for update skip locked;
    if not found then
        return false;
    end if;
    if sweep_hold.mutex_group = 'pgmutex.pool' then
        -- Nor for the row of its session, which comes back with the end of the lease.
        perform 1 from pool_session p
        where p.collection = sweep_hold.mutex_mode and p.fencing_token = sweep_hold.fencing_token
          and p.id = case when sweep_hold.mutex_id ~ '^-?[0-9]{1,18}$' then sweep_hold.mutex_id::bigint end
        for update skip locked;
        if not found
           and exists (select from pool_session p
                       where p.collection = sweep_hold.mutex_mode and p.fencing_token = sweep_hold.fencing_token
                         and p.id = case when sweep_hold.mutex_id ~ '^-?[0-9]{1,18}$' then sweep_hold.mutex_id::bigint end) then
            return false;
        end if;
    end if;
    delete from hold h
    where h.mutex_group = sweep_hold.mutex_group and h.mutex_mode = sweep_hold.mutex_mode and h.mutex_id = sweep_hold.mutex_id
      and h.permit = sweep_hold.permit;
    if not found then
        return false;
    end if;
    perform wake_lines(sweep_hold.mutex_group, sweep_hold.mutex_mode, sweep_hold.mutex_id);
    return true;
end
$$;
comment on function sweep_hold(text, text, text, integer, bigint, timestamptz, boolean) is
    'Used by sweep; not called directly. Removes a hold that is over, as it was seen; false if it stays, because somebody is about to '
    'decide about it or has its row, null if that was found out without a lock.';

-- By the places of the rows, so that no plan is needed to find them again. Whatever row is at such a place by now, it is moved only if it
-- is due and not over.
create function sweep_later(places tid[], looked_at timestamptz) returns void
language plpgsql volatile parallel unsafe
as $$
declare
    locked tid[];
begin
    locked := array(select h.ctid from mutex_model h
                    where h.ctid = any (places) and h.sweep_at < looked_at and (h.expires_at is null or h.expires_at >= looked_at)
                    for no key update skip locked);
    update mutex_model h set sweep_at = h.expires_at where h.ctid = any (locked);
end
$$;
comment on function sweep_later(tid[], timestamptz) is
    'Used by sweep; not called directly. Puts holds that are not over where a later sweep will look: at the end that they have now.';

create function sweep(batch integer default 1000) returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
set enable_seqscan = off  -- so that no plan from when there were few holds reads them all, or sorts what is due
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    -- A heartbeat that meets a hold which has been put later finds it locked until the end of the call.
    most_put_later constant integer := 100000;
    started_at timestamptz := clock_timestamp();
    candidate  record;
    is_swept   boolean;
    swept      bigint := 0;
    locked     bigint := 0;
    wasted     bigint := 0;  -- of these locks, for holds that stay
    looked_at  bigint := 0;
    put_later  bigint := 0;
    later      tid[] := '{}';
    session    text := '';
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    -- Each hold costs one entry in the server's lock table until the commit.
    if sweep.batch is null or sweep.batch not between 1 and 1000 then
        perform refuse_input('batch must be from 1 to 1000');
    end if;

    -- In the order in which they are due: once. What has been refreshed meanwhile, or was not looked at before, is put where a later sweep
    -- will look, so that no sweep reads it again before its time. On as long as none is over, and then ten for each that may be removed.
    for candidate in
        select h.ctid as place, h.expires_at, h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.fencing_token, h.captured_since
        from mutex_model h
        where h.sweep_at < started_at
        order by h.sweep_at
    loop
        exit when swept >= sweep.batch or locked >= 1000 or swept > 0 and looked_at >= sweep.batch * 10;
        looked_at := case when swept > 0 then looked_at + 1 else 1 end;
        if candidate.expires_at < started_at then
            -- Not many locks for those that stay, or there would be none left for those that could go.
            is_swept := sweep_hold(candidate.mutex_group, candidate.mutex_mode, candidate.mutex_id, candidate.permit,
                                   candidate.fencing_token, candidate.captured_since, wasted >= 100);
            swept := swept + coalesce(is_swept, false)::integer;
            locked := locked + case when is_swept is not null then locks_of(candidate.mutex_id) else 0 end;
            wasted := wasted + case when not is_swept then locks_of(candidate.mutex_id) else 0 end;
        elsif put_later < most_put_later then
            put_later := put_later + 1;
            later := later || candidate.place;
            if cardinality(later) = 1000 then
                perform sweep_later(later, started_at);
                later := '{}';
            end if;
        end if;
    end loop;
    perform sweep_later(later, started_at);

    -- From one session to the next in the index, past all the holds of the one before.
    while swept < sweep.batch and locked < 1000 loop
        select h.auto_release_config into session from mutex_model h
        where h.auto_release_rule = 'connection' and h.auto_release_config collate "C" > session
        order by h.auto_release_config collate "C"
        limit 1;
        exit when not found;
        continue when not session_is_gone(session);
        locked := locked + 1;
        for candidate in
            select h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.fencing_token, h.captured_since from mutex_model h
            where h.auto_release_rule = 'connection' and h.auto_release_config collate "C" = session
        loop
            exit when swept >= sweep.batch or locked >= 1000;
            is_swept := sweep_hold(candidate.mutex_group, candidate.mutex_mode, candidate.mutex_id, candidate.permit,
                                   candidate.fencing_token, candidate.captured_since, wasted >= 100);
            swept := swept + coalesce(is_swept, false)::integer;
            locked := locked + case when is_swept is not null then locks_of(candidate.mutex_id) else 0 end;
            wasted := wasted + case when not is_swept then locks_of(candidate.mutex_id) else 0 end;
        end loop;
    end loop;
    return swept;
end
$$;
comment on function sweep(integer) is
    'Removes up to batch holds that are over (at most 1000) and says how many. Not needed for correctness: a hold that is over '
    'stops nobody. Call it now and then, until it answers 0, to keep the table small: 0 says that nothing more can be removed now. It reads '
    'what is over, and each other hold once each time it would have ended without a refresh; one that another program has written, once more.';
