-- Several mutexes in one call. The locks are taken in the order of their keys, whatever the order of the requests: no two such calls
-- can wait for each other.

create function lock_mutexes(requests jsonb) returns void
language plpgsql volatile parallel unsafe
as $$
declare
    lock_keys bigint[];
    are_own   boolean[];
begin
    -- Of a path those above it are locked too, as shared ones; the stronger of two counts.
    select array_agg(k.lock_key order by k.lock_key), array_agg(k.is_own order by k.lock_key) into lock_keys, are_own
    from (select mutex_key(r.mutex_group, r.mutex_mode, p.path) as lock_key, bool_or(p.path = r.mutex_id) as is_own
          from (select coalesce(r.value ->> 'mutex_group', '') as mutex_group, coalesce(r.value ->> 'mutex_mode', '') as mutex_mode,
                       coalesce(r.value ->> 'mutex_id', '') as mutex_id
                from jsonb_array_elements(lock_mutexes.requests) r) r
          cross join unnest(case when is_path(r.mutex_id) then paths_above(r.mutex_id) else '{}' end || r.mutex_id) p (path)
          group by 1) k;
    if cardinality(lock_keys) > 4000 then
        -- Each takes an entry of the server's lock table until the commit.
        perform refuse_input(format('these paths and all above them take %s locks; at most 4000 go into one call', cardinality(lock_keys)));
    end if;
    for n in 1..coalesce(cardinality(lock_keys), 0) loop
        if are_own[n] then
            perform pg_advisory_xact_lock(lock_keys[n]);
        else
            perform pg_advisory_xact_lock_shared(lock_keys[n]);
        end if;
    end loop;
end
$$;
comment on function lock_mutexes(jsonb) is 'Takes the advisory locks of all mutexes named in the requests.';

-- Two calls that evict the same holds, above different paths of theirs, would do so in different orders and wait for each other: so the
-- rows of these are locked beforehand, in one order, in which a capture of one path meets them too.
create function lock_what_is_over_above(requests jsonb) returns void
language plpgsql volatile parallel unsafe
as $$
declare
    above_group text;
    above_mode  text;
    above       text;
begin
    if jsonb_array_length(requests) = 1 then
        return;
    end if;
    for above_group, above_mode, above in
        select distinct r.mutex_group collate "C", r.mutex_mode collate "C", p.path collate "C"
        from (select coalesce(r.value ->> 'mutex_group', '') as mutex_group, coalesce(r.value ->> 'mutex_mode', '') as mutex_mode,
                     coalesce(r.value ->> 'mutex_id', '') as mutex_id
              from jsonb_array_elements(lock_what_is_over_above.requests) r) r
        cross join unnest(paths_above(r.mutex_id)) p (path)
        where is_path(r.mutex_id)
        order by 1, 2, 3
    loop
        perform 1 from hold h
        where h.mutex_group = above_group and h.mutex_mode = above_mode and h.mutex_id = above
          and h.lock_children and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
        order by h.permit
        for no key update;
    end loop;
end
$$;
comment on function lock_what_is_over_above(jsonb) is 'Locks the rows of the holds above the paths named in the requests that are over and in the way.';

create function check_requests(requests jsonb, defaults jsonb, known text[]) returns jsonb
language plpgsql volatile parallel unsafe
as $$
declare
    unknown text;
    completed jsonb;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if coalesce(jsonb_typeof(requests), '') <> 'array' or coalesce(jsonb_typeof(defaults), '') <> 'object' then
        perform refuse_input('requests must be an array of objects, and defaults an object');
    elsif jsonb_array_length(requests) > 1000 then
        -- Each takes an entry of the server's lock table until the commit.
        perform refuse_input('at most 1000 requests go into one call');
    elsif exists (select from jsonb_array_elements(requests) r where jsonb_typeof(r.value) <> 'object') then
        perform refuse_input('requests must be an array of objects, and defaults an object');
    end if;
    select jsonb_agg(defaults || r.value order by r.ordinality) into completed
    from jsonb_array_elements(requests) with ordinality r;
    select k.key into unknown from jsonb_array_elements(completed) r cross join jsonb_object_keys(r.value) k (key)
    where k.key <> all (known)
    limit 1;
    if found then
        perform refuse_input(format('%s is not something that a request can say; it can say %s', unknown, array_to_string(known, ', ')));
    end if;
    return coalesce(completed, '[]');
end
$$;
comment on function check_requests(jsonb, jsonb, text[]) is 'Completes requests with defaults, and refuses what makes no sense (PM003).';

create function capture_each(requests jsonb, defaults jsonb default '{}') returns setof hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    completed jsonb;
    request   record;
begin
    completed := check_requests(capture_each.requests, capture_each.defaults, array[
        'mutex_group', 'mutex_mode', 'mutex_id', 'owner_session', 'owner_host', 'owner_id', 'owner_login', 'owner_name',
        'auto_release_rule', 'auto_release_config', 'status_data', 'access', 'permits', 'lock_parents', 'lock_children']);
    perform lock_mutexes(completed);
    perform lock_what_is_over_above(completed);
    for request in
        select r.* from jsonb_to_recordset(completed) r (
            mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text,
            owner_name text, auto_release_rule text, auto_release_config text, status_data text, access text, permits integer,
            lock_parents boolean, lock_children boolean)
    loop
        return next capture(
            coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''), request.owner_session,
            request.owner_host, request.owner_id, request.owner_login, request.owner_name,
            request.auto_release_rule, request.auto_release_config, request.status_data,
            coalesce(request.access, 'exclusive'), request.permits,
            lock_parents => coalesce(request.lock_parents, false), lock_children => coalesce(request.lock_children, false));
    end loop;
end
$$;
comment on function capture_each(jsonb, jsonb) is
    'Captures many mutexes, each for itself: one row for each request, in their order, with the outcome that capture gives. A request is an '
    'object with the names of capture''s arguments; what it does not say is taken from defaults.';

-- All or nothing. The locks are taken outside of the block with the exception handler: leaving that block undoes what was captured in
-- it, and gives up only locks that were first taken in it.
create function capture_all(
    requests      jsonb,
    defaults      jsonb default '{}',
    wait          boolean default false,
    listener      bigint default null,
    while_holding bigint[] default null
) returns setof hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    completed jsonb;
    wanted    jsonb;
    request   record;
    answer    hold_outcome;
    answers   hold_outcome[] := '{}';
    blockers  hold_outcome[] := '{}';
    place     bigint;
    would_be_alone boolean := false;
begin
    completed := check_requests(capture_all.requests, capture_all.defaults, array[
        'mutex_group', 'mutex_mode', 'mutex_id', 'owner_session', 'owner_host', 'owner_id', 'owner_login', 'owner_name',
        'auto_release_rule', 'auto_release_config', 'status_data', 'access', 'permits', 'lock_parents', 'lock_children']);
    if (select count(distinct r.value ->> 'owner_session') from jsonb_array_elements(completed) r) > 1 then
        perform refuse_input('all requests must be for one owner_session');
    elsif exists (select from jsonb_array_elements(completed) r
                  group by coalesce(r.value ->> 'mutex_group', ''), coalesce(r.value ->> 'mutex_mode', ''),
                           coalesce(r.value ->> 'mutex_id', '')
                  having count(*) > 1) then
        perform refuse_input('a mutex is named twice');
    end if;
    perform lock_mutexes(completed);
    perform lock_what_is_over_above(completed);
    begin
        for request in
            select r.* from jsonb_to_recordset(completed) r (
                mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text,
                owner_name text, auto_release_rule text, auto_release_config text, status_data text, access text, permits integer,
            lock_parents boolean, lock_children boolean)
        loop
            answer := capture(
                coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''), request.owner_session,
                request.owner_host, request.owner_id, request.owner_login, request.owner_name,
                request.auto_release_rule, request.auto_release_config, request.status_data,
                coalesce(request.access, 'exclusive'), request.permits,
                lock_parents => coalesce(request.lock_parents, false), lock_children => coalesce(request.lock_children, false));
            if answer.outcome = 'busy' then
                blockers := blockers || answer;
                would_be_alone := would_be_alone or exists (
                    select from hold h
                    where h.mutex_group = coalesce(request.mutex_group, '') and h.mutex_mode = coalesce(request.mutex_mode, '')
                      and h.mutex_id = coalesce(request.mutex_id, '') and h.owner_session = request.owner_session
                      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp()));
            else
                answers := answers || answer;
            end if;
        end loop;
        if cardinality(blockers) > 0 then
            raise sqlstate 'PM007' using message = 'pgmutex: not all of them are free';
        end if;
    exception when sqlstate 'PM007' then
        null;
    end;
    if cardinality(blockers) = 0 then
        return query select a.* from unnest(answers) a;
        return;
    end if;

    -- One ticket, with a place in every line: whoever has the smallest ticket of all is first wherever it stands, so no two who
    -- wait for several can wait for each other. As in capture, nobody waits to have alone what it shares.
    if capture_all.wait and not would_be_alone then
        -- What it holds already it does not wait for.
        select jsonb_agg(r.value) into wanted from jsonb_array_elements(completed) r
        where not exists (select from hold h
                          where h.mutex_group = coalesce(r.value ->> 'mutex_group', '') and h.mutex_mode = coalesce(r.value ->> 'mutex_mode', '')
                            and h.mutex_id = coalesce(r.value ->> 'mutex_id', '') and h.owner_session = r.value ->> 'owner_session'
                            and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp()));
        -- The latest of its places, if it has one in every line; else a new one in all. An earlier place carried into a line would
        -- pass those who came there before.
        select case when count(*) = jsonb_array_length(wanted) then max(w.ticket) end into place
        from jsonb_array_elements(wanted) r
        join mutex_waiter w
          on w.owner_session = r.value ->> 'owner_session'
         and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id)
             = mutex_key(coalesce(r.value ->> 'mutex_group', ''), coalesce(r.value ->> 'mutex_mode', ''), coalesce(r.value ->> 'mutex_id', ''))
         and (w.mutex_group = coalesce(r.value ->> 'mutex_group', '') and w.mutex_mode = coalesce(r.value ->> 'mutex_mode', '')
              and w.mutex_id = coalesce(r.value ->> 'mutex_id', '')) is true;
        place := coalesce(place, nextval('mutex_ticket_sequence'));
        for request in
            select r.* from jsonb_to_recordset(wanted) r (
                mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text,
                owner_name text, access text, permits integer, lock_parents boolean, lock_children boolean)
        loop
            perform join_line(coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''), place,
                              coalesce(request.access, 'exclusive'), request.permits,
                              request.owner_session, request.owner_host, request.owner_id, request.owner_login, request.owner_name,
                              capture_all.while_holding, capture_all.listener,
                              coalesce(request.lock_parents, false), coalesce(request.lock_children, false));
        end loop;
        -- Only now: a circle may go through any of these places.
        for request in
            select r.* from jsonb_to_recordset(wanted) r (
                mutex_group text, mutex_mode text, mutex_id text, owner_session text, access text, permits integer,
                lock_parents boolean, lock_children boolean)
        loop
            perform refuse_deadlock(coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''),
                                    coalesce(request.access, 'exclusive'), request.permits, request.owner_session, place,
                                    capture_all.while_holding,
                                    coalesce(request.lock_parents, false), coalesce(request.lock_children, false));
        end loop;
    end if;
    foreach answer in array blockers loop
        if place is not null then
            answer.outcome := 'queued';
            answer.ticket := place;
        end if;
        return next answer;
    end loop;
end
$$;
comment on function capture_all(jsonb, jsonb, boolean, bigint, bigint[]) is
    'Captures all of several mutexes or none, for one owner. One row for each request, in their order, if all were captured; otherwise only '
    'rows of those that are in the way, with outcome busy or, with wait => true, queued: ask again as with capture.';

create function release_each(requests jsonb, defaults jsonb default '{}', durable boolean default true) returns setof hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    completed jsonb;
    request   record;
    answer    hold_outcome;
    all_end   boolean := true;
begin
    completed := check_requests(release_each.requests, release_each.defaults, array[
        'mutex_group', 'mutex_mode', 'mutex_id', 'owner_session', 'fencing_token']);
    perform lock_mutexes(completed);
    for request in
        select r.* from jsonb_to_recordset(completed) r (
            mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint)
    loop
        answer := release(coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''),
                          request.owner_session, request.fencing_token, true);
        all_end := all_end and (answer.outcome <> 'released' or answer.auto_release_rule = 'connection' or isfinite(answer.expires_at));
        return next answer;
    end loop;
    -- As in release; not left to it, because among the holds may be one that nothing else would end.
    if not release_each.durable and all_end and current_setting('synchronous_commit') <> 'off' then
        perform set_config('synchronous_commit', 'off', true);
    end if;
end
$$;
comment on function release_each(jsonb, jsonb, boolean) is
    'Gives many mutexes back, each for itself: one row for each request, in their order, with the outcome that release gives.';

create function release_owner(owner_session text, batch integer default 1000) returns setof hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    requests jsonb;
begin
    if coalesce(release_owner.owner_session, '') = '' then
        perform refuse_input('owner_session is empty: it says whose holds are released');
    elsif release_owner.batch is null or release_owner.batch not between 1 and 1000 then
        perform refuse_input('batch must be from 1 to 1000');
    end if;
    select jsonb_agg(jsonb_build_object('mutex_group', k.mutex_group, 'mutex_mode', k.mutex_mode, 'mutex_id', k.mutex_id,
                                        'owner_session', release_owner.owner_session)) into requests
    -- What is held comes first, then places in line, then what is over: as long as anything is held, each call releases some.
    from (select k.mutex_group, k.mutex_mode, k.mutex_id,
                 sum(locks_of(k.mutex_id)) over (order by min(k.comes), k.mutex_group, k.mutex_mode, k.mutex_id rows unbounded preceding) as locks
          from (select h.mutex_group, h.mutex_mode, h.mutex_id,
                       case when hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp()) then 3 else 1 end as comes
                from hold h where h.owner_session = release_owner.owner_session
                union all
                select w.mutex_group, w.mutex_mode, w.mutex_id, 2 from mutex_waiter w where w.owner_session = release_owner.owner_session) k
          group by k.mutex_group, k.mutex_mode, k.mutex_id
          order by min(k.comes), k.mutex_group, k.mutex_mode, k.mutex_id
          limit release_owner.batch) k
    where k.locks <= 4000;
    return query select r.* from release_each(coalesce(requests, '[]')) r
                 where r.outcome <> 'not_held' and r.owner_session = release_owner.owner_session;
end
$$;
comment on function release_owner(text, integer) is
    'Releases everything that an owner holds, and gives up every place it has in a line: up to batch mutexes (at most 1000). One row for '
    'each hold, with outcome released, or busy if a fenced write keeps it. Call it again until it gives no released row.';
