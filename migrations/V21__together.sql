-- Requests of many callers, decided about in one call: one statement writes what is plain, and what is not goes the ordinary way, one
-- by one and behind the same locks.
--
-- Nobody may be held up by what another asks for. So these functions do not wait for what the functions of this schema do, neither for an
-- advisory lock nor for a row: a request that would have to, or that might raise, is left out of the answer, and whoever asked for it asks
-- again on its own. A lock that is only tried needs no order: no two of these calls can wait for each other. What other programs do to the
-- table without these locks can still hold a call up (a row of the same mutex that is not committed yet: for as long as a lock_timeout
-- allows, which is short where it is met first) or fail it for all (that lock_timeout, or a trigger that keeps a row from being written).
-- Then nothing has been decided, and each asks on its own.
--
-- Columns come as arrays, because plpgsql reads an element of one at once. An array of one element stands for one that says the same of
-- every request.

create function check_together(wanted integer, given text[]) returns void
language plpgsql volatile parallel unsafe
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    -- The bounds tell arrays of two dimensions, and such as do not begin at 1, from those whose elements can be told by their places.
    if wanted is null or wanted > 0 and not given <@ array[format('[1:%s]', wanted), '[1:1]'] then
        perform refuse_input('an array says something of each request or, with one element, of all; '
                             'it cannot be null or of another length, begin elsewhere than at 1, or have another dimension');
    elsif wanted > 1000 then
        -- Each takes an entry of the server's lock table until the commit.
        perform refuse_input('at most 1000 requests go into one call');
    end if;
end
$$;
comment on function check_together(integer, text[]) is
    'The start of every decision about many requests: refuses a transaction whose snapshot may be stale (PM001), a standby (PM002) and '
    'arrays that do not go together (PM003).';

-- One expression, which the planner writes into the statement.
create function can_be_plain(mutex_group text, mutex_mode text, mutex_id text, owner_session text) returns boolean
language sql volatile parallel safe
as $$
    select octet_length(mutex_group) <= 400 and octet_length(mutex_mode) <= 400 and octet_length(mutex_id) <= 1600
           and (mutex_group <> '' or mutex_mode <> '' or mutex_id <> '') and mutex_group <> 'pgmutex.pool'
           and octet_length(owner_session) between 1 and 400 and not is_path(mutex_id)
$$;
comment on function can_be_plain(text, text, text, text) is
    'Whether check_call would accept these names and nothing but the mutex''s own holds and line has to be looked at.';

-- As check_rule decides, but for the session of a rule connection, which has to be asked for.
create function can_be_plain_rule(rule text, config text) returns boolean
language sql volatile parallel safe
as $$
    select case rule
               when 'timeout' then config ~ '^[0-9]{1,10}$' and config::bigint between 1 and 3153600000
               when 'connection' then config ~ '^[0-9]{1,18}( [0-9]{1,10})?$' and split_part(config, ' ', 1)::bigint > 0
                                      and coalesce(nullif(split_part(config, ' ', 2), ''), '1')::bigint between 1 and 3153600000
               when 'deadline' then rule_ends_at(rule, config, timestamptz 'epoch') > clock_timestamp()
                                    and rule_ends_at(rule, config, timestamptz 'epoch') = rule_ends_at(rule, config, timestamptz '2000-01-01 00:00:00Z')
               when '' then config = ''
               when 'never' then config = ''
               else octet_length(rule) <= 400 and octet_length(config) <= 1600
           end
$$;
comment on function can_be_plain_rule(text, text) is 'Whether check_rule would accept this rule, if the session that a rule connection names is there.';

-- Locks for the places that are asked for: the first of each mutex, and those that come after it.
create function try_lock_together(
    places integer[], mutex_groups text[], mutex_modes text[], mutex_ids text[], out first_places integer[], out later_places integer[]
)
language plpgsql volatile parallel unsafe
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
    with asked as materialized (
        select a.place, a.lock_key, row_number() over (partition by a.lock_key order by a.place) as nth
        from (select p.place, mutex_key(mutex_groups[least(p.place, cardinality(mutex_groups))],
                                        mutex_modes[least(p.place, cardinality(mutex_modes))], mutex_ids[p.place]) as lock_key
              from unnest(places) p (place)) a
    ), keys as materialized (
        select a.lock_key, pg_try_advisory_xact_lock(a.lock_key) as is_ours from asked a where a.nth = 1
    )
    select array_agg(a.place order by a.place) filter (where a.nth = 1), array_agg(a.place order by a.place) filter (where a.nth > 1)
    into first_places, later_places
    from asked a join keys k on k.lock_key = a.lock_key and k.is_ours;
end
$$;
comment on function try_lock_together(integer[], text[], text[], text[]) is
    'Takes the advisory locks of the mutexes at these places that can be had at once, and says which places these are: the first of '
    'each mutex, and those after it.';

-- What is said with subqueries of one value cannot become a join: a plan that was made while the tables were small is as good when they
-- are not.
--
-- The usual takes two statements: one owner asks for mutexes of one mode, each for itself alone, under one rule.
create function capture_what_is_usual(
    mutex_group text, mutex_mode text, mutex_ids text[],
    owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, rule text, config text, status_data text,
    out captured_places integer[], out fencing_tokens bigint[], out ends_at timestamptz[], out decided_at timestamptz,
    out places_left integer[]
)
language plpgsql volatile parallel unsafe
set lock_timeout = '100ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_variable
declare
    locked_ids    text[];
    locked_places integer[];
    written_ids   text[];
    all_are_plain boolean;
    ends_alike    timestamptz;
begin
    -- A lock is taken once more for each who asks for the same mutex: the first of them is written, and the others, who have drawn a token
    -- in vain, meet its row.
    select array_agg(asked.id) filter (where asked.is_locked), array_agg(asked.place) filter (where asked.is_locked),
           bool_and(asked.is_locked is not null)
    into locked_ids, locked_places, all_are_plain
    from (select u.id, u.place::integer as place,
                 case when octet_length(u.id) <= 1600 and left(u.id, 1) <> '/'
                      then pg_try_advisory_xact_lock(mutex_key(mutex_group, mutex_mode, u.id)) end as is_locked
          from unnest(mutex_ids) with ordinality u (id, place)
          offset 0) asked;
    if all_are_plain is not true then
        return;
    end if;
    decided_at := clock_timestamp();
    ends_alike := rule_ends_at(rule, config, decided_at);
    -- The token is drawn as draw_fencing_token draws it, without a call for each.
    with written as (
        insert into mutex_model as h (
                          mutex_group, mutex_mode, mutex_id, permit, permits,
                          owner_session, owner_host, owner_id, owner_login, owner_name,
                          auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                          lock_parents, lock_children, sweep_at)
        select mutex_group, mutex_mode, u.id, 0, null, owner_session, owner_host, owner_id, owner_login, owner_name,
               rule, config, decided_at, status_data,
               (coalesce((select t.generation from token_generation t where t.timeline = current_timeline()), ensure_generation()) << 40)
                   + nextval('fencing_token_sequence'),
               decided_at, false, false, ends_alike
        from unnest(locked_ids) u (id)
        where (select true from mutex_model h
               where h.mutex_group = capture_what_is_usual.mutex_group and h.mutex_mode = capture_what_is_usual.mutex_mode and h.mutex_id = u.id
               limit 1) is null
          and (select true from mutex_waiter w
               where w.mutex_group = capture_what_is_usual.mutex_group and w.mutex_mode = capture_what_is_usual.mutex_mode and w.mutex_id = u.id
               limit 1) is null
        on conflict do nothing
        returning h.mutex_id, h.fencing_token, h.expires_at
    )
    select array_agg(w.mutex_id order by w.fencing_token), array_agg(w.fencing_token order by w.fencing_token),
           array_agg(w.expires_at order by w.fencing_token)
    into written_ids, fencing_tokens, ends_at
    from written w;
    if cardinality(written_ids) = cardinality(locked_ids) then
        captured_places := locked_places;  -- in the order of their tokens
    else
        select array_agg(locked_places[array_position(locked_ids, w.id)] order by w.nth) into captured_places
        from unnest(written_ids) with ordinality w (id, nth);
        if array_position(captured_places, null) is not null then
            raise exception using errcode = 'PM004',
                message = 'a trigger on mutex_model has given a hold another mutex_id: whose it is cannot be told';
        end if;
        select array_agg(p.place order by p.place) into places_left from unnest(locked_places) p (place)
        where p.place <> all (coalesce(captured_places, '{}'));
    end if;
end
$$;
comment on function capture_what_is_usual(text, text, text[], text, text, text, text, text, text, text, text) is
    'Does for one owner, mode and rule what capture_what_is_plain does for any. Decides nothing, and says no time, if one of the ids '
    'is not plain.';

-- The same for whatever is asked together.
create function capture_what_is_plain(
    wanted integer, mutex_groups text[], mutex_modes text[], mutex_ids text[],
    owner_sessions text[], owner_hosts text[], owner_ids text[], owner_logins text[], owner_names text[],
    auto_release_rules text[], auto_release_configs text[], status_datas text[], accesses text[], permit_limits integer[],
    out captured_places integer[], out fencing_tokens bigint[], out ends_at timestamptz[], out decided_at timestamptz,
    out places_left integer[]
)
language plpgsql volatile parallel unsafe
set lock_timeout = '100ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    places         integer[];
    later_places   integer[];
    gone           text[];
    drawn_tokens   bigint[];
    rules_are_alike boolean := cardinality(auto_release_rules) = 1 and cardinality(auto_release_configs) = 1;
    ends_alike     timestamptz;
begin
    select array_agg(asked.place) into places
    from (select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
                 mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
                 owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
                 owner_hosts[least(p.place, cardinality(owner_hosts))] as owner_host,
                 owner_ids[least(p.place, cardinality(owner_ids))] as owner_id,
                 owner_logins[least(p.place, cardinality(owner_logins))] as owner_login,
                 owner_names[least(p.place, cardinality(owner_names))] as owner_name,
                 r.rule, coalesce(auto_release_configs[least(p.place, cardinality(auto_release_configs))],
                                  case when r.rule = 'timeout' then '300' else '' end) as config,
                 status_datas[least(p.place, cardinality(status_datas))] as status_data,
                 accesses[least(p.place, cardinality(accesses))] as access,
                 permit_limits[least(p.place, cardinality(permit_limits))] as permits
          from generate_series(1, wanted) p (place)
          cross join lateral (select coalesce(auto_release_rules[least(p.place, cardinality(auto_release_rules))], 'timeout') as rule) r
          offset 0) asked
    where can_be_plain(asked.mutex_group, asked.mutex_mode, asked.mutex_id, asked.owner_session)
      and can_be_plain_rule(asked.rule, asked.config)
      and coalesce(octet_length(asked.owner_host), 0) <= 1600 and coalesce(octet_length(asked.owner_id), 0) <= 400
      and coalesce(octet_length(asked.owner_login), 0) <= 400 and coalesce(octet_length(asked.owner_name), 0) <= 400
      and coalesce(octet_length(asked.status_data), 0) <= 65536
      and (asked.access = 'exclusive' and asked.permits is null or asked.access = 'shared' and coalesce(asked.permits, 1) >= 1);
    if 'connection' = any (auto_release_rules) then
        -- Most name the same session: it is asked for once.
        select array_agg(s.config) into gone
        from (select distinct auto_release_configs[least(p.place, cardinality(auto_release_configs))] as config
              from unnest(places) p (place)
              where auto_release_rules[least(p.place, cardinality(auto_release_rules))] = 'connection'
              offset 0) s
        where session_is_gone(s.config);
        if gone is not null then
            select array_agg(p.place) into places from unnest(places) p (place)
            where auto_release_rules[least(p.place, cardinality(auto_release_rules))] is distinct from 'connection'
               or auto_release_configs[least(p.place, cardinality(auto_release_configs))] <> all (gone);
        end if;
    end if;

    select t.first_places, t.later_places into places, later_places from try_lock_together(places, mutex_groups, mutex_modes, mutex_ids) t;
    places_left := places || later_places;

    decided_at := clock_timestamp();
    select array_agg(p.place) into places from unnest(places) p (place)
    where (select true from hold h
           where h.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
             and h.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and h.mutex_id = mutex_ids[p.place]
           limit 1) is null
      and (select true from mutex_waiter w
           where w.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
             and w.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and w.mutex_id = mutex_ids[p.place]
           limit 1) is null;
    if places is null then
        select array_agg(p.place order by p.place) into places_left from unnest(places_left) p (place);
        return;
    end if;
    select array_agg((g.generation << 40) + nextval('fencing_token_sequence')) into drawn_tokens
    from (select coalesce((select t.generation from token_generation t where t.timeline = current_timeline()), ensure_generation()) as generation
          offset 0) g
    cross join generate_series(1, cardinality(places));
    if rules_are_alike then
        ends_alike := rule_ends_at(coalesce(auto_release_rules[1], 'timeout'),
                                   coalesce(auto_release_configs[1], case when coalesce(auto_release_rules[1], 'timeout') = 'timeout' then '300' else '' end),
                                   decided_at);
    end if;
    with written as (
        insert into mutex_model (mutex_group, mutex_mode, mutex_id, permit, permits,
                                 owner_session, owner_host, owner_id, owner_login, owner_name,
                                 auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                                 lock_parents, lock_children, sweep_at)
        select mutex_groups[least(f.place, cardinality(mutex_groups))], mutex_modes[least(f.place, cardinality(mutex_modes))],
               mutex_ids[f.place],
               case when accesses[least(f.place, cardinality(accesses))] = 'shared' then 1 else 0 end,
               permit_limits[least(f.place, cardinality(permit_limits))],
               owner_sessions[least(f.place, cardinality(owner_sessions))],
               coalesce(owner_hosts[least(f.place, cardinality(owner_hosts))], ''),
               coalesce(owner_ids[least(f.place, cardinality(owner_ids))], ''),
               coalesce(owner_logins[least(f.place, cardinality(owner_logins))], ''),
               coalesce(owner_names[least(f.place, cardinality(owner_names))], ''),
               r.rule, c.config,
               decided_at, status_datas[least(f.place, cardinality(status_datas))], f.fencing_token, decided_at, false, false,
               case when rules_are_alike then ends_alike else rule_ends_at(r.rule, c.config, decided_at) end
        from unnest(places, drawn_tokens) f (place, fencing_token)
        cross join lateral (select coalesce(auto_release_rules[least(f.place, cardinality(auto_release_rules))], 'timeout') as rule) r
        cross join lateral (select coalesce(auto_release_configs[least(f.place, cardinality(auto_release_configs))],
                                            case when r.rule = 'timeout' then '300' else '' end) as config) c
        on conflict do nothing
        returning fencing_token, expires_at
    )
    select array_agg(w.fencing_token order by w.fencing_token), array_agg(w.expires_at order by w.fencing_token)
    into fencing_tokens, ends_at
    from written w;
    -- Another program may have come in between: one that does not take the locks.
    if cardinality(places) > coalesce(cardinality(fencing_tokens), 0) then
        select array_agg(f.place) into places from unnest(places, drawn_tokens) f (place, fencing_token)
        where f.fencing_token = any (fencing_tokens);
    end if;
    captured_places := places;  -- in the order of their tokens
    if cardinality(captured_places) = cardinality(places_left) then
        places_left := null;
    else
        select array_agg(p.place order by p.place) into places_left from unnest(places_left) p (place)
        where p.place <> all (coalesce(captured_places, '{}'));
    end if;
end
$$;
comment on function capture_what_is_plain(integer, text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], integer[]) is
    'Takes the locks that can be had at once, captures those of these mutexes that nobody holds and nobody waits for, and says what else '
    'may be decided about behind the locks.';

create function capture_together(
    mutex_groups         text[],
    mutex_modes          text[],
    mutex_ids            text[],
    owner_sessions       text[],
    owner_hosts          text[],
    owner_ids            text[],
    owner_logins         text[],
    owner_names          text[],
    auto_release_rules   text[],
    auto_release_configs text[],
    status_datas         text[],
    accesses             text[],
    permit_limits        integer[],
    waits                boolean[],
    hold_others          boolean[],
    listener             bigint default null
) returns table (
    place integer, outcome text, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer,
    owner_session text, owner_host text, owner_id text, owner_login text, owner_name text,
    auto_release_rule text, auto_release_config text, captured_since timestamptz, status_data text, fencing_token bigint,
    held_since timestamptz, expires_at timestamptz, lock_parents boolean, lock_children boolean, observed_at timestamptz,
    evicted_owner_session text, evicted_owner_name text, evicted_fencing_token bigint, ticket bigint
)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
    wanted          integer := cardinality(capture_together.mutex_ids);
    rule            text := coalesce(auto_release_rules[1], 'timeout');
    config          text := coalesce(auto_release_configs[1], case when rule = 'timeout' then '300' else '' end);
    is_decided      boolean := false;
    plain           record;
    request         record;
    own_holds       bigint;
    may_wait        boolean;
    answer          hold_outcome;
    passed_over     bigint[] := '{}';
begin
    perform check_together(wanted, array[
        array_dims(mutex_groups), array_dims(mutex_modes), array_dims(mutex_ids), array_dims(owner_sessions), array_dims(owner_hosts),
        array_dims(owner_ids), array_dims(owner_logins), array_dims(owner_names), array_dims(auto_release_rules),
        array_dims(auto_release_configs), array_dims(status_datas), array_dims(accesses), array_dims(permit_limits), array_dims(waits),
        array_dims(hold_others)]);

    -- The usual: each array says the same of all, and nothing is near its limits.
    if accesses = '{exclusive}' and permit_limits[1] is null
       and cardinality(mutex_groups) + cardinality(mutex_modes) + cardinality(owner_sessions) + cardinality(owner_hosts) + cardinality(owner_ids)
           + cardinality(owner_logins) + cardinality(owner_names) + cardinality(auto_release_rules) + cardinality(auto_release_configs)
           + cardinality(status_datas) + cardinality(permit_limits) = 11
       and mutex_groups[1] || mutex_modes[1] <> '' and mutex_groups[1] <> 'pgmutex.pool' and owner_sessions[1] <> ''
       and octet_length(concat(mutex_groups[1], mutex_modes[1], owner_sessions[1], owner_hosts[1], owner_ids[1], owner_logins[1], owner_names[1],
                               status_datas[1])) <= 400
       and is_plain_rule(rule, config) then
        plain := capture_what_is_usual(
            mutex_groups[1], mutex_modes[1], capture_together.mutex_ids, owner_sessions[1], coalesce(owner_hosts[1], ''), coalesce(owner_ids[1], ''),
            coalesce(owner_logins[1], ''), coalesce(owner_names[1], ''), rule, config, status_datas[1]);
        is_decided := plain.decided_at is not null;
    end if;
    if not is_decided then
        plain := capture_what_is_plain(
            wanted, mutex_groups, mutex_modes, mutex_ids, owner_sessions, owner_hosts, owner_ids, owner_logins, owner_names,
            auto_release_rules, auto_release_configs, status_datas, accesses, permit_limits);
    end if;
    if plain.captured_places is not null then
        if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
            perform set_config('synchronous_commit', 'on', true);
        end if;
        -- Of these the asker knows the rest.
        return query
        select c.place, 'captured', null::text, null::text, null::text, null::integer, null::integer,
               null::text, null::text, null::text, null::text, null::text,
               null::text, null::text, plain.decided_at, null::text, c.fencing_token,
               plain.decided_at, c.expires_at, null::boolean, null::boolean, plain.decided_at,
               null::text, null::text, null::bigint, null::bigint
        from unnest(plain.captured_places, plain.fencing_tokens, plain.ends_at) c (place, fencing_token, expires_at);
    end if;
    if plain.places_left is null then
        return;
    end if;

    for request in
        select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
               mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
               owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
               owner_hosts[least(p.place, cardinality(owner_hosts))] as owner_host,
               owner_ids[least(p.place, cardinality(owner_ids))] as owner_id,
               owner_logins[least(p.place, cardinality(owner_logins))] as owner_login,
               owner_names[least(p.place, cardinality(owner_names))] as owner_name,
               auto_release_rules[least(p.place, cardinality(auto_release_rules))] as rule,
               auto_release_configs[least(p.place, cardinality(auto_release_configs))] as config,
               status_datas[least(p.place, cardinality(status_datas))] as status_data,
               accesses[least(p.place, cardinality(accesses))] as access,
               permit_limits[least(p.place, cardinality(permit_limits))] as permits,
               coalesce(waits[least(p.place, cardinality(waits))], false) as waits,
               coalesce(hold_others[least(p.place, cardinality(hold_others))], true) as holds_others
        from unnest(plain.places_left) p (place)
    loop
        select count(*) into own_holds from hold h
        where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
          and (h.owner_session = request.owner_session) is true;
        -- Who asks on its own gets no better place in line by that, nor a worse one: nobody is let in before it who has no hold yet.
        continue when own_holds = 0
                      and mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id) = any (passed_over);
        -- A refresh, or a change from shared to exclusive, would wait for whoever has the row.
        continue when own_holds > (select count(*) from (
                          select from hold h
                          where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                            and (h.owner_session = request.owner_session) is true
                          for no key update skip locked) mine);
        -- Who holds something, or has a place in another line, may close a circle, which raises. (See refuse_deadlock.)
        may_wait := request.waits and not request.holds_others
                    and not exists (select from hold h where h.owner_session = request.owner_session)
                    and not exists (select from mutex_waiter w
                                    where w.owner_session = request.owner_session
                                      and (w.mutex_group <> request.mutex_group or w.mutex_mode <> request.mutex_mode
                                           or w.mutex_id <> request.mutex_id));
        -- What raises takes back what it did; one that is left alone because it might has done nothing: what is over stays.
        if request.waits and not may_wait
           and exists (select from hold h
                       where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                         and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())) then
            passed_over := passed_over || mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id);
            continue;
        end if;
        answer := capture(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session,
                          request.owner_host, request.owner_id, request.owner_login, request.owner_name,
                          request.rule, request.config, request.status_data, request.access, request.permits,
                          wait => may_wait, listener => capture_together.listener);
        if answer.outcome = 'busy' and request.waits then
            passed_over := passed_over || mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id);
            continue;
        end if;
        return query select request.place, answer.*;
    end loop;
end
$$;
comment on function capture_together(text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], integer[], boolean[], boolean[], bigint) is
    'Captures mutexes for many callers, each for itself, as capture would in their order. One row for each request that was decided about: '
    'its place, from 1, and what capture answers, of which a plain capture leaves out what the asker said. A request without a row was '
    'left alone, because it might have had to wait for another transaction, or be refused: call capture for it. permit_limits are '
    'capture''s permits, waits its wait; hold_others says that while_holding is not empty.';

-- Which holds these are; and then they go.
create function lock_what_is_plain(
    wanted integer, mutex_groups text[], mutex_modes text[], mutex_ids text[], owner_sessions text[], fencing_tokens bigint[],
    out locked_places integer[], out locked_rows tid[], out all_end boolean, out decided_at timestamptz, out places_left integer[]
)
language plpgsql volatile parallel unsafe
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    places       integer[];
    later_places integer[];
    names        bigint;
begin
    select array_agg(asked.place) filter (where asked.is_locked), count(distinct asked.lock_key) filter (where asked.is_locked)
    into places, names
    from (select k.place, k.lock_key, case when k.lock_key is not null then pg_try_advisory_xact_lock(k.lock_key) end as is_locked
          from (select p.place,
                       case when can_be_plain(
                               mutex_groups[least(p.place, cardinality(mutex_groups))], mutex_modes[least(p.place, cardinality(mutex_modes))],
                               mutex_ids[p.place], owner_sessions[least(p.place, cardinality(owner_sessions))])
                            then mutex_key(
                               mutex_groups[least(p.place, cardinality(mutex_groups))], mutex_modes[least(p.place, cardinality(mutex_modes))],
                               mutex_ids[p.place])
                       end as lock_key
                from generate_series(1, wanted) p (place)
                offset 0) k
          offset 0) asked;
    places_left := places;
    -- Of those who ask for the same one, the first is plain; the others come after it.
    if names < cardinality(places) then
        select t.first_places, t.later_places into places, later_places from try_lock_together(places, mutex_groups, mutex_modes, mutex_ids) t;
        places_left := places || later_places;
    end if;

    decided_at := clock_timestamp();
    select array_agg(p.place), array_agg(h.ctid), bool_and(h.ends) into locked_places, locked_rows, all_end
    from unnest(places) p (place)
    cross join lateral (
        select h.ctid, isfinite(h.expires_at) is true or h.auto_release_rule = 'connection' as ends from mutex_model h
        where h.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
          and h.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and h.mutex_id = mutex_ids[p.place]
          -- Said so that the index of owners is of no use: one owner may hold many.
          and (h.owner_session = owner_sessions[least(p.place, cardinality(owner_sessions))]) is true
          and (fencing_tokens[least(p.place, cardinality(fencing_tokens))] is null
               or h.fencing_token = fencing_tokens[least(p.place, cardinality(fencing_tokens))])
          and (h.expires_at is null or h.expires_at >= decided_at)
          and (h.auto_release_rule <> 'connection' or not session_is_gone(h.auto_release_config))
        order by h.permit
        limit 1
        for update skip locked) h
    where (select true from mutex_waiter w
           where w.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
             and w.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and w.mutex_id = mutex_ids[p.place]
           limit 1) is null;
    if cardinality(locked_places) = cardinality(places_left) then
        places_left := null;
    else
        select array_agg(p.place order by p.place) into places_left from unnest(places_left) p (place)
        where p.place <> all (coalesce(locked_places, '{}'));
    end if;
end
$$;
comment on function lock_what_is_plain(integer, text[], text[], text[], text[], bigint[]) is
    'Takes the locks that can be had at once, locks the rows of the holds that their owners have and nobody waits for, and says what else '
    'may be decided about behind the locks.';

-- These rows are locked, so they stay where they are.
create function release_locked(places integer[], locked_rows tid[])
returns table (
    place integer, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer,
    owner_session text, owner_host text, owner_id text, owner_login text, owner_name text,
    auto_release_rule text, auto_release_config text, captured_since timestamptz, status_data text, fencing_token bigint,
    held_since timestamptz, expires_at timestamptz, lock_parents boolean, lock_children boolean
)
language plpgsql volatile parallel unsafe
set lock_timeout = '100ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexscan = off
set enable_indexonlyscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
    delete from mutex_model h using unnest(places, locked_rows) l (place, locked_row)
    where h.ctid = l.locked_row
    returning l.place, h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.permits,
              h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
              h.auto_release_rule, h.auto_release_config, h.captured_since, h.status_data,
              h.fencing_token, h.held_since, h.expires_at, h.lock_parents, h.lock_children;
end
$$;
comment on function release_locked(integer[], tid[]) is 'Removes the holds in these rows, which are locked by this transaction.';

create function release_together(
    mutex_groups   text[],
    mutex_modes    text[],
    mutex_ids      text[],
    owner_sessions text[],
    fencing_tokens bigint[],
    durable        boolean default true
) returns table (
    place integer, outcome text, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer,
    owner_session text, owner_host text, owner_id text, owner_login text, owner_name text,
    auto_release_rule text, auto_release_config text, captured_since timestamptz, status_data text, fencing_token bigint,
    held_since timestamptz, expires_at timestamptz, lock_parents boolean, lock_children boolean, observed_at timestamptz,
    evicted_owner_session text, evicted_owner_name text, evicted_fencing_token bigint, ticket bigint
)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
    wanted        integer := cardinality(release_together.mutex_ids);
    plain         record;
    all_end       boolean;
    request       record;
    answer        hold_outcome;
begin
    perform check_together(wanted, array[array_dims(mutex_groups), array_dims(mutex_modes), array_dims(mutex_ids), array_dims(owner_sessions),
                                         array_dims(release_together.fencing_tokens)]);
    plain := lock_what_is_plain(wanted, mutex_groups, mutex_modes, mutex_ids, owner_sessions, release_together.fencing_tokens);
    all_end := coalesce(plain.all_end, true);
    if plain.locked_places is not null then
        return query
        select r.place, 'released', r.mutex_group, r.mutex_mode, r.mutex_id, r.permit, r.permits,
               r.owner_session, r.owner_host, r.owner_id, r.owner_login, r.owner_name,
               r.auto_release_rule, r.auto_release_config, r.captured_since, r.status_data, r.fencing_token,
               r.held_since, r.expires_at, r.lock_parents, r.lock_children, plain.decided_at,
               null::text, null::text, null::bigint, null::bigint
        from release_locked(plain.locked_places, plain.locked_rows) r;
    end if;
    if plain.places_left is not null then
        for request in
            select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
                   mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
                   owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
                   release_together.fencing_tokens[least(p.place, cardinality(release_together.fencing_tokens))] as fencing_token
            from unnest(plain.places_left) p (place)
        loop
            -- release waits for a row that is being refreshed.
            continue when (select count(*) from hold h
                           where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                             and (h.owner_session = request.owner_session) is true
                             and (request.fencing_token is null or h.fencing_token = request.fencing_token))
                          > (select count(*) from (select from hold h
                             where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                               and (h.owner_session = request.owner_session) is true
                               and (request.fencing_token is null or h.fencing_token = request.fencing_token)
                             for update skip locked) mine);
            answer := release(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session, request.fencing_token, true);
            all_end := all_end and (answer.outcome <> 'released' or answer.auto_release_rule = 'connection' or isfinite(answer.expires_at) is true);
            return query select request.place, answer.*;
        end loop;
    end if;
    -- As in release; not left to it, because among the holds may be one that nothing else would end.
    if not release_together.durable and all_end and current_setting('synchronous_commit') <> 'off' then
        perform set_config('synchronous_commit', 'off', true);
    end if;
end
$$;
comment on function release_together(text[], text[], text[], text[], bigint[], boolean) is
    'Gives mutexes back for many callers, each for itself, as release would in their order. One row for each request that was decided '
    'about: its place, from 1, and what release answers. A request without a row was left alone, because it might have had to wait for '
    'another transaction, or be refused: call release for it.';

create function refresh_together(
    mutex_groups   text[],
    mutex_modes    text[],
    mutex_ids      text[],
    owner_sessions text[],
    fencing_tokens bigint[],
    status_datas   text[]
) returns table (
    place integer, outcome text, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer,
    owner_session text, owner_host text, owner_id text, owner_login text, owner_name text,
    auto_release_rule text, auto_release_config text, captured_since timestamptz, status_data text, fencing_token bigint,
    held_since timestamptz, expires_at timestamptz, lock_parents boolean, lock_children boolean, observed_at timestamptz,
    evicted_owner_session text, evicted_owner_name text, evicted_fencing_token bigint, ticket bigint
)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
    wanted  integer := cardinality(refresh_together.mutex_ids);
    request record;
    answer  hold_outcome;
begin
    perform check_together(wanted, array[array_dims(mutex_groups), array_dims(mutex_modes), array_dims(mutex_ids), array_dims(owner_sessions),
                                         array_dims(refresh_together.fencing_tokens), array_dims(status_datas)]);
    for request in
        select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
               mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
               owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
               refresh_together.fencing_tokens[least(p.place, cardinality(refresh_together.fencing_tokens))] as fencing_token,
               status_datas[least(p.place, cardinality(status_datas))] as status_data
        from generate_series(1, wanted) p (place)
        order by 1
    loop
        continue when not coalesce(can_be_plain(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session), false)
                      or octet_length(request.status_data) > 65536;
        -- refresh waits for whoever has the row.
        continue when (select count(*) from hold h
                       where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                         and (h.owner_session = request.owner_session) is true
                         and (request.fencing_token is null or h.fencing_token = request.fencing_token))
                      > (select count(*) from (select from hold h
                         where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                           and (h.owner_session = request.owner_session) is true
                           and (request.fencing_token is null or h.fencing_token = request.fencing_token)
                         for no key update skip locked) mine);
        answer := refresh(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session, request.fencing_token,
                          request.status_data);
        return query select request.place, answer.*;
    end loop;
end
$$;
comment on function refresh_together(text[], text[], text[], text[], bigint[], text[]) is
    'Makes the times of many callers'' holds start again, each for itself, as refresh would in their order. One row for each request that '
    'was decided about: its place, from 1, and what refresh answers. A request without a row was left alone, because it might have had '
    'to wait for another transaction, or be refused: call refresh for it.';

insert into object_role (kind, name, role)
select 'function', n.name, 'application' from unnest('{capture_together, release_together, refresh_together}'::name[]) n (name);
