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

create function sweep(batch integer default 1000) returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    started_at timestamptz := clock_timestamp();
    candidate  hold;
    swept      bigint := 0;
    locked     bigint := 0;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    -- Each hold costs one entry in the server's lock table until the commit.
    if sweep.batch is null or sweep.batch not between 1 and 1000 then
        perform refuse_input('batch must be from 1 to 1000');
    end if;
    for candidate in
        select h.* from hold h
        where h.expires_at < started_at
           or case when h.auto_release_rule = 'connection' then session_is_gone(h.auto_release_config) else false end
    loop
        exit when swept >= sweep.batch or locked >= 1000;
        -- Never waits: whoever has the lock is deciding about this mutex and will evict the hold itself.
        locked := locked + locks_of(candidate.mutex_id);
        continue when not try_lock_mutex(candidate.mutex_group, candidate.mutex_mode, candidate.mutex_id);
        perform 1 from hold h
        where h.mutex_group = candidate.mutex_group and h.mutex_mode = candidate.mutex_mode and h.mutex_id = candidate.mutex_id
          and h.permit = candidate.permit and h.fencing_token = candidate.fencing_token
          and h.captured_since = candidate.captured_since  -- not refreshed since
        for update skip locked;
        continue when not found;
        if candidate.mutex_group = 'pgmutex.pool' then
            -- Nor for the row of its session, which comes back with the end of the lease.
            perform 1 from pool_session p
            where p.collection = candidate.mutex_mode and p.fencing_token = candidate.fencing_token
              and p.id = case when candidate.mutex_id ~ '^-?[0-9]{1,18}$' then candidate.mutex_id::bigint end
            for update skip locked;
            continue when not found
                and exists (select from pool_session p
                            where p.collection = candidate.mutex_mode and p.fencing_token = candidate.fencing_token
                              and p.id = case when candidate.mutex_id ~ '^-?[0-9]{1,18}$' then candidate.mutex_id::bigint end);
        end if;
        delete from hold h
        where h.mutex_group = candidate.mutex_group and h.mutex_mode = candidate.mutex_mode and h.mutex_id = candidate.mutex_id
          and h.permit = candidate.permit;
        if found then
            swept := swept + 1;
            perform wake_lines(candidate.mutex_group, candidate.mutex_mode, candidate.mutex_id);
        end if;
    end loop;
    return swept;
end
$$;
comment on function sweep(integer) is
    'Removes up to batch holds that are over (at most 1000) and says how many. Not needed for correctness: a hold that is over '
    'stops nobody. Call it now and then, until it answers 0, to keep the table small.';
