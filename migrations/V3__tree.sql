-- Trees: mutexes whose ids are paths, which are captured with regard to those above and below them.
--
-- A path begins and ends with a slash: '/' is the root, '/rack1/board3/' lies below '/rack1/'. What lies below a path is then one
-- range of an index, and what lies above it is found by key. Whoever decides about a path takes the locks of all paths above it as
-- shared ones, and that of the path itself as an exclusive one: two decisions about paths that lie above each other never happen at
-- the same time, others do.

create function is_path(mutex_id text) returns boolean
language sql immutable parallel safe
as $$ select left(mutex_id, 1) = '/' and right(mutex_id, 1) = '/' $$;
comment on function is_path(text) is 'Whether a mutex id is a path of a tree: it begins and ends with a slash.';

create function paths_above(mutex_id text) returns text[]
language sql immutable parallel safe
as $$
    select coalesce(array_agg(array_to_string(segments.list[1:level], '/') || '/' order by level), '{}')
    from (values (string_to_array(mutex_id, '/'))) segments (list)
    cross join generate_series(1, cardinality(segments.list) - 2) level
$$;
comment on function paths_above(text) is 'The paths above a path, the root first.';

create function locks_of(mutex_id text) returns integer
language sql immutable parallel safe
as $$ select case when is_path(mutex_id) then length(mutex_id) - length(replace(mutex_id, '/', '')) else 1 end $$;
comment on function locks_of(text) is 'How many advisory locks a decision about a mutex takes: of a path one for each level, and one for the root.';

-- In the order of the bytes the slash is followed by the zero.
create function end_of_path(mutex_id text) returns text
language sql immutable parallel safe
as $$ select left(mutex_id, -1) || '0' $$;
comment on function end_of_path(text) is 'Where the range of all that begins with a path ends.';

create function check_path(mutex_id text) returns void
language plpgsql volatile parallel unsafe
as $$
begin
    -- Each level takes an entry of the server's lock table until the commit.
    if locks_of(mutex_id) > 101 then
        perform refuse_input('mutex_id is a path of more than 100 levels');
    end if;
end
$$;
comment on function check_path(text) is 'Raises PM003 if a path is too deep.';

create function check_reach(mutex_id text, lock_parents boolean, lock_children boolean) returns void
language plpgsql volatile parallel unsafe
as $$
begin
    if lock_parents is null or lock_children is null then
        perform refuse_input('lock_parents and lock_children must not be null');
    elsif (lock_parents or lock_children) and not is_path(mutex_id) then
        perform refuse_input('lock_parents and lock_children go with a mutex_id that is a path: it begins and ends with a slash');
    end if;
end
$$;
comment on function check_reach(text, boolean, boolean) is 'Raises PM003 if what is no path is to lock what is above or below it.';

-- Locks -------------------------------------------------------------------------------------------------------------------

-- In the order of the keys, as lock_mutexes does: two that take turns at some of them never wait for each other.
create function lock_mutex(mutex_group text, mutex_mode text, mutex_id text) returns void
language plpgsql volatile parallel unsafe
as $$
declare
    lock_key bigint;
    is_own   boolean;
begin
    if not is_path(lock_mutex.mutex_id) then
        perform pg_advisory_xact_lock(mutex_key(lock_mutex.mutex_group, lock_mutex.mutex_mode, lock_mutex.mutex_id));
        return;
    end if;
    for lock_key, is_own in
        select mutex_key(lock_mutex.mutex_group, lock_mutex.mutex_mode, p.path), bool_or(p.path = lock_mutex.mutex_id)
        from unnest(paths_above(lock_mutex.mutex_id) || lock_mutex.mutex_id) p (path)
        group by 1
        order by 1
    loop
        if is_own then
            perform pg_advisory_xact_lock(lock_key);
        else
            perform pg_advisory_xact_lock_shared(lock_key);
        end if;
    end loop;
end
$$;
comment on function lock_mutex(text, text, text) is
    'Takes the advisory lock behind which decisions about a mutex are made; for a path also those of the paths above it, shared.';

create function try_lock_mutex(mutex_group text, mutex_mode text, mutex_id text) returns boolean
language plpgsql volatile parallel unsafe
as $$
declare
    above text;
begin
    if is_path(try_lock_mutex.mutex_id) then
        foreach above in array paths_above(try_lock_mutex.mutex_id) loop
            if not pg_try_advisory_xact_lock_shared(mutex_key(try_lock_mutex.mutex_group, try_lock_mutex.mutex_mode, above)) then
                return false;
            end if;
        end loop;
    end if;
    return pg_try_advisory_xact_lock(mutex_key(try_lock_mutex.mutex_group, try_lock_mutex.mutex_mode, try_lock_mutex.mutex_id));
end
$$;
comment on function try_lock_mutex(text, text, text) is 'As lock_mutex, without waiting; false if one of the locks is taken.';

-- What is in the way ------------------------------------------------------------------------------------------------------

-- A hold at another path that is over makes way, like one of the mutex itself. Those below are nobody else's to remove: whoever wanted
-- to needs the lock that the caller has. One above may be in the way of many at the same time: who comes second waits for the first.
-- A refresh on its way is waited out there too, a transaction behind the hold's fence is not.
create function evict_hold(
    mutex_group text, mutex_mode text, mutex_id text, permit integer, fencing_token bigint, captured_since timestamptz, is_above boolean
) returns boolean
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
begin
    for attempt in 1..2 loop
        perform 1 from hold h
        where h.mutex_group = evict_hold.mutex_group and h.mutex_mode = evict_hold.mutex_mode and h.mutex_id = evict_hold.mutex_id
          and h.permit = evict_hold.permit and h.fencing_token = evict_hold.fencing_token
          and h.captured_since = evict_hold.captured_since  -- not refreshed since
        for update skip locked;
        if found then
            delete from hold h
            where h.mutex_group = evict_hold.mutex_group and h.mutex_mode = evict_hold.mutex_mode and h.mutex_id = evict_hold.mutex_id
              and h.permit = evict_hold.permit;
            return found;
        end if;
        exit when attempt = 2 or not evict_hold.is_above;
        perform 1 from hold h
        where h.mutex_group = evict_hold.mutex_group and h.mutex_mode = evict_hold.mutex_mode and h.mutex_id = evict_hold.mutex_id
          and h.permit = evict_hold.permit and h.fencing_token = evict_hold.fencing_token
        for no key update;
        if not found then
            return true;
        end if;
    end loop;
    return false;
end
$$;
comment on function evict_hold(text, text, text, integer, bigint, timestamptz, boolean) is
    'Removes a hold that is over, as it was seen; false if it stays, because it was refreshed or a write behind its fence is under way.';

-- Holds of one owner are not in each other's way, and those who share are not in the way of those who share. Behind the path's lock if
-- what is over is to be evicted. freed is the uppermost path that whoever is concerned by what was evicted is concerned by.
create function hold_in_the_way(
    mutex_group text, mutex_mode text, mutex_id text, owner_session text, access text, evict boolean,
    out blocker_id text, out blocker_permit integer, out blocker_ends_at timestamptz, out blocker_rule text,
    out freed text, out evicted_owner_session text, out evicted_owner_name text, out evicted_fencing_token bigint
)
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();
    above   text;
    current record;
begin
    foreach above in array paths_above(hold_in_the_way.mutex_id) loop
        for current in
            select h.permit, h.fencing_token, h.captured_since, h.owner_session, h.owner_name,
                   h.auto_release_rule, h.auto_release_config, h.expires_at
            from hold h
            where h.mutex_group = hold_in_the_way.mutex_group and h.mutex_mode = hold_in_the_way.mutex_mode and h.mutex_id = above
              and h.lock_children and h.owner_session <> hold_in_the_way.owner_session
              and (h.permit = 0 or hold_in_the_way.access = 'exclusive')
            order by h.permit
        loop
            if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, now_is) then
                continue when not hold_in_the_way.evict;
                if evict_hold(hold_in_the_way.mutex_group, hold_in_the_way.mutex_mode, above, current.permit, current.fencing_token,
                              current.captured_since, true) then
                    if freed is null then
                        freed := above;
                        evicted_owner_session := current.owner_session;
                        evicted_owner_name := current.owner_name;
                        evicted_fencing_token := current.fencing_token;
                    end if;
                    continue;
                end if;
            end if;
            blocker_id := above;
            blocker_permit := current.permit;
            blocker_ends_at := current.expires_at;
            blocker_rule := current.auto_release_rule;
            return;
        end loop;
    end loop;

    for current in
        select h.mutex_id, h.permit, h.fencing_token, h.captured_since, h.owner_session, h.owner_name,
               h.auto_release_rule, h.auto_release_config, h.expires_at
        from hold h
        where h.mutex_group = hold_in_the_way.mutex_group and h.mutex_mode = hold_in_the_way.mutex_mode
          and h.mutex_id > hold_in_the_way.mutex_id and h.mutex_id < end_of_path(hold_in_the_way.mutex_id)
          and h.lock_parents and h.owner_session <> hold_in_the_way.owner_session
          and (h.permit = 0 or hold_in_the_way.access = 'exclusive')
        order by h.mutex_id, h.permit
    loop
        if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, now_is) then
            continue when not hold_in_the_way.evict;
            if evict_hold(hold_in_the_way.mutex_group, hold_in_the_way.mutex_mode, current.mutex_id, current.permit, current.fencing_token,
                          current.captured_since, false) then
                if freed is null then
                    freed := hold_in_the_way.mutex_id;
                    evicted_owner_session := current.owner_session;
                    evicted_owner_name := current.owner_name;
                    evicted_fencing_token := current.fencing_token;
                end if;
                continue;
            end if;
        end if;
        blocker_id := current.mutex_id;
        blocker_permit := current.permit;
        blocker_ends_at := current.expires_at;
        blocker_rule := current.auto_release_rule;
        return;
    end loop;
end
$$;
comment on function hold_in_the_way(text, text, text, text, text, boolean) is
    'The first hold above a path that locks its children, or below it that locks its parents.';

-- First come, first served, also where two paths lie above each other: whoever came before must have been served if one of the two
-- would be in the other's way. Those who have died are passed over.
create function waiter_in_the_way(
    mutex_group text, mutex_mode text, mutex_id text, before_ticket bigint, owner_session text, access text,
    lock_parents boolean, lock_children boolean, out waiter_id text, out waiter_ticket bigint
)
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    above   text;
    current record;
begin
    foreach above in array paths_above(waiter_in_the_way.mutex_id) loop
        for current in
            select w.ticket, w.listener, w.seen_at from mutex_waiter w
            where w.mutex_group = waiter_in_the_way.mutex_group and w.mutex_mode = waiter_in_the_way.mutex_mode and w.mutex_id = above
              and (waiter_in_the_way.before_ticket is null or w.ticket < waiter_in_the_way.before_ticket)
              and (w.lock_children or waiter_in_the_way.lock_parents)
              and w.owner_session <> waiter_in_the_way.owner_session
              and (w.access = 'exclusive' or waiter_in_the_way.access = 'exclusive')
            order by w.ticket
        loop
            if not waiter_is_gone(current.listener, current.seen_at) then
                waiter_id := above;
                waiter_ticket := current.ticket;
                return;
            end if;
        end loop;
    end loop;

    for current in
        select w.mutex_id, w.ticket, w.listener, w.seen_at from mutex_waiter w
        where w.mutex_group = waiter_in_the_way.mutex_group and w.mutex_mode = waiter_in_the_way.mutex_mode
          and w.mutex_id > waiter_in_the_way.mutex_id and w.mutex_id < end_of_path(waiter_in_the_way.mutex_id) and is_path(w.mutex_id)
          and (waiter_in_the_way.before_ticket is null or w.ticket < waiter_in_the_way.before_ticket)
          and (w.lock_parents or waiter_in_the_way.lock_children)
          and w.owner_session <> waiter_in_the_way.owner_session
          and (w.access = 'exclusive' or waiter_in_the_way.access = 'exclusive')
        order by w.mutex_id, w.ticket
    loop
        if not waiter_is_gone(current.listener, current.seen_at) then
            waiter_id := current.mutex_id;
            waiter_ticket := current.ticket;
            return;
        end if;
    end loop;
end
$$;
comment on function waiter_in_the_way(text, text, text, bigint, text, text, boolean, boolean) is
    'A waiter at a path above or below who came before, or, without a ticket, any: null if there is none.';
