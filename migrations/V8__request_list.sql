-- Looking.

create function request(
    mutex_group   text,
    mutex_mode    text,
    mutex_id      text,
    owner_session text
) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    decided_at  timestamptz;
    current     hold;
    over_tokens bigint[];
    answer      hold_outcome;
begin
    perform check_call(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session);

    for attempt in 1..2 loop
        decided_at := clock_timestamp();
        over_tokens := null;
        for current in
            select h.* from hold h
            where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
            -- The asker's own is told of first, then another's.
            order by h.owner_session <> request.owner_session, h.permit
        loop
            if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, decided_at) then
                over_tokens := over_tokens || current.fencing_token;
                if attempt = 2 then
                    -- It could not be removed: its row is locked by a write behind its fence, and nobody can capture it before that ends.
                    over_tokens := null;
                else
                    continue;
                end if;
            end if;
            if answer.outcome is null then
                select case when current.owner_session = request.owner_session then 'captured_by_me' else 'captured_by_other' end,
                       current.*, decided_at, null, null, null, null into answer;
            end if;
        end loop;
        exit when over_tokens is null;

        -- Over, and so it is in the way of people who look: evicted as capture would, behind the same lock.
        answer := null;
        perform lock_mutex(request.mutex_group, request.mutex_mode, request.mutex_id);
        for current in
            select h.* from hold h
            where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
              and h.fencing_token = any (over_tokens)
              and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
            for update skip locked
        loop
            delete from hold h
            where h.mutex_group = current.mutex_group and h.mutex_mode = current.mutex_mode and h.mutex_id = current.mutex_id
              and h.permit = current.permit;
        end loop;
        perform wake_lines(request.mutex_group, request.mutex_mode, request.mutex_id);
    end loop;

    if answer.outcome is null then
        answer.outcome := 'free';
        answer.mutex_group := request.mutex_group;
        answer.mutex_mode := request.mutex_mode;
        answer.mutex_id := request.mutex_id;
        answer.observed_at := decided_at;
    end if;
    return answer;
end
$$;
comment on function request(text, text, text, text) is
    'Says whether a mutex is free: outcome free, captured_by_me or captured_by_other and the hold. A hold that is over is removed.';

-- Changes nothing and takes no lock: by the time of the answer it may have become another.
create function holder_in_the_way(
    mutex_group   text,
    mutex_mode    text,
    mutex_id      text,
    owner_session text,
    access        text default 'exclusive',
    permits       integer default null,
    lock_parents  boolean default false,
    lock_children boolean default false
) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    observed_at    timestamptz := clock_timestamp();
    current        hold;
    other          hold;
    others         integer := 0;
    has_own        boolean := false;  -- shared, and it wants to have it alone
    strictest      integer := holder_in_the_way.permits;
    own_ticket     bigint;
    ahead_at       text := holder_in_the_way.mutex_id;
    ahead          bigint;
    blocker_id     text;
    blocker_permit integer;
    answer         hold_outcome;
begin
    perform check_call(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id, holder_in_the_way.owner_session);
    perform check_access(holder_in_the_way.access, holder_in_the_way.permits);
    perform check_reach(holder_in_the_way.mutex_id, holder_in_the_way.lock_parents, holder_in_the_way.lock_children);
    answer.outcome := 'free';
    answer.mutex_group := holder_in_the_way.mutex_group;
    answer.mutex_mode := holder_in_the_way.mutex_mode;
    answer.mutex_id := holder_in_the_way.mutex_id;
    answer.observed_at := observed_at;

    for current in
        select h.* from hold h
        where h.mutex_group = holder_in_the_way.mutex_group and h.mutex_mode = holder_in_the_way.mutex_mode
          and h.mutex_id = holder_in_the_way.mutex_id
          and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, observed_at)
        order by h.permit
    loop
        if current.owner_session = holder_in_the_way.owner_session then
            has_own := true;
            if current.permit = 0 or holder_in_the_way.access = 'shared' then
                return answer;
            end if;
            continue;
        end if;
        others := others + 1;
        strictest := least(strictest, current.permits);
        if other.fencing_token is null then
            other := current;
        end if;
    end loop;
    if others = 0 or holder_in_the_way.access = 'shared' and other.permit > 0 and others < coalesce(strictest, others + 1) then
        select h.blocker_id, h.blocker_permit into blocker_id, blocker_permit
        from hold_in_the_way(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id,
                             holder_in_the_way.owner_session, holder_in_the_way.access, false) h
        where is_path(holder_in_the_way.mutex_id);
        if blocker_id is not null then
            select h.* into other from hold h
            where h.mutex_group = holder_in_the_way.mutex_group and h.mutex_mode = holder_in_the_way.mutex_mode and h.mutex_id = blocker_id
              and h.permit = blocker_permit;
        else
            other := null;
        end if;
    end if;
    if other.fencing_token is not null then
        select 'busy', other.*, observed_at, null, null, null, null into answer;
        return answer;
    elsif has_own then
        return answer;
    end if;

    select w.ticket into own_ticket from mutex_waiter w
    where w.owner_session = holder_in_the_way.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id)
      and (w.mutex_group = holder_in_the_way.mutex_group and w.mutex_mode = holder_in_the_way.mutex_mode and w.mutex_id = holder_in_the_way.mutex_id) is true;
    select w.ticket into ahead from mutex_waiter w
    where w.mutex_group = holder_in_the_way.mutex_group and w.mutex_mode = holder_in_the_way.mutex_mode
      and w.mutex_id = holder_in_the_way.mutex_id and (own_ticket is null or w.ticket < own_ticket)
      and not waiter_is_gone(w.listener, w.seen_at)
    order by w.ticket
    limit 1;
    if ahead is null and is_path(holder_in_the_way.mutex_id) then
        select w.waiter_id, w.waiter_ticket into ahead_at, ahead
        from waiter_in_the_way(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id, own_ticket,
                               holder_in_the_way.owner_session, holder_in_the_way.access,
                               holder_in_the_way.lock_parents, holder_in_the_way.lock_children) w;
    end if;
    if ahead is not null then
        select 'busy', w.mutex_group, w.mutex_mode, w.mutex_id, case when w.access = 'shared' then 1 else 0 end, w.permits,
               w.owner_session, w.owner_host, w.owner_id, w.owner_login, w.owner_name,
               '', '', w.queued_since, null, 0, w.queued_since, null, w.lock_parents, w.lock_children,
               observed_at, null, null, null, null
        into answer from mutex_waiter w
        where w.mutex_group = holder_in_the_way.mutex_group and w.mutex_mode = holder_in_the_way.mutex_mode and w.mutex_id = ahead_at
          and w.ticket = ahead;
        if not found then
            answer.outcome := 'free';
        end if;
    end if;
    return answer;
end
$$;
comment on function holder_in_the_way(text, text, text, text, text, integer, boolean, boolean) is
    'Whether a capture would be refused, as things look now: outcome free, or busy and the hold in the way, which for a path may be at a path '
    'above or below; with token 0 it is one who waits and came before. Unlike request it removes nothing.';

create function list(
    mutex_group       text default null,
    mutex_mode        text default null,
    mutex_id          text default null,
    mutex_id_prefix   text default null,
    owner_session     text default null,
    owner_id          text default null,
    owner_login       text default null,
    auto_release_rule text default null,
    include_over      boolean default false,
    page_start        bigint default 0,
    page_size         bigint default -1,
    after_group       text default null,
    after_mode        text default null,
    after_id          text default null,
    after_permit      integer default null
) returns setof hold
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_custom_plan  -- so that a filter that is not given costs nothing and one that is given finds its index
set enable_bitmapscan = off  -- so that a page is read in the order of the index, not sorted out of all that follows, also while the table has no statistics
as $$
#variable_conflict use_column
declare
    observed_at timestamptz := clock_timestamp();
    -- E: a plain literal with backslashes means something else under standard_conforming_strings = off.
    prefix_pattern text := regexp_replace(list.mutex_id_prefix, E'([\\\\%_])', E'\\\\\\1', 'g') || '%';
begin
    if list.page_start < 0 then
        perform refuse_input('page_start must be 0 or more');
    elsif list.page_size < -1 then
        perform refuse_input('page_size must be 0 or more, or -1 for all');
    end if;
    return query
    select h.* from hold h
    where (list.mutex_group is null or h.mutex_group = list.mutex_group)
      and (list.mutex_mode is null or h.mutex_mode = list.mutex_mode)
      and (list.mutex_id is null or h.mutex_id = list.mutex_id)
      and (list.mutex_id_prefix is null or h.mutex_id like prefix_pattern)
      and (list.owner_session is null or h.owner_session = list.owner_session)
      and (list.owner_id is null or h.owner_id = list.owner_id)
      and (list.owner_login is null or h.owner_login = list.owner_login)
      and (list.auto_release_rule is null or h.auto_release_rule = list.auto_release_rule)
      and (list.include_over or h.expires_at is null or h.expires_at >= observed_at)
      and case when list.include_over or h.auto_release_rule <> 'connection' then true else not session_is_gone(h.auto_release_config) end
      -- The columns that a filter fixes are left out of the comparison: an index scan begins at an equality if there is one for
      -- its first column, and then walks past all that lies before the place.
      and case
              when list.after_group is null then true
              when list.mutex_group is null then
                  (h.mutex_group, h.mutex_mode, h.mutex_id, h.permit)
                  > (list.after_group, coalesce(list.after_mode, ''), coalesce(list.after_id, ''), coalesce(list.after_permit, 0))
              when list.mutex_group <> list.after_group then list.mutex_group collate "C" > list.after_group
              when list.mutex_mode is null then
                  (h.mutex_mode, h.mutex_id, h.permit)
                  > (coalesce(list.after_mode, ''), coalesce(list.after_id, ''), coalesce(list.after_permit, 0))
              when list.mutex_mode <> coalesce(list.after_mode, '') then list.mutex_mode collate "C" > coalesce(list.after_mode, '')
              else (h.mutex_id, h.permit) > (coalesce(list.after_id, ''), coalesce(list.after_permit, 0))
          end
    order by h.mutex_group, h.mutex_mode, h.mutex_id, h.permit
    offset coalesce(list.page_start, 0)
    limit nullif(list.page_size, -1);
end
$$;
comment on function list(text, text, text, text, text, text, text, text, boolean, bigint, bigint, text, text, text, integer) is
    'The holds that fit all the filters given, ordered by mutex id. A page: page_size rows (-1: all) from page_start, or, at a cost '
    'that does not grow with the number of holds, after the last row of the page before (after_group, after_mode, after_id, after_permit).';

create function list_count(
    mutex_group       text default null,
    mutex_mode        text default null,
    mutex_id          text default null,
    mutex_id_prefix   text default null,
    owner_session     text default null,
    owner_id          text default null,
    owner_login       text default null,
    auto_release_rule text default null,
    include_over      boolean default false
) returns bigint
language sql volatile parallel unsafe security definer
set search_path from current
as $$
    select count(*) from list(mutex_group, mutex_mode, mutex_id, mutex_id_prefix, owner_session, owner_id, owner_login, auto_release_rule, include_over)
$$;
comment on function list_count(text, text, text, text, text, text, text, text, boolean) is 'How many holds fit all the filters given. It reads them all.';

create function list_waiting(
    mutex_group     text default null,
    mutex_mode      text default null,
    mutex_id        text default null,
    mutex_id_prefix text default null,
    owner_session   text default null,
    page_size       bigint default -1,
    after_group     text default null,
    after_mode      text default null,
    after_id        text default null,
    after_ticket    bigint default null
) returns setof waiting
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
    if list_waiting.page_size < -1 then
        perform refuse_input('page_size must be 0 or more, or -1 for all');
    end if;
    return query
    select w.* from waiting w
    where (list_waiting.mutex_group is null or w.mutex_group = list_waiting.mutex_group)
      and (list_waiting.mutex_mode is null or w.mutex_mode = list_waiting.mutex_mode)
      and (list_waiting.mutex_id is null or w.mutex_id = list_waiting.mutex_id)
      and (list_waiting.mutex_id_prefix is null or starts_with(w.mutex_id, list_waiting.mutex_id_prefix))
      and (list_waiting.owner_session is null or w.owner_session = list_waiting.owner_session)
      and (list_waiting.after_group is null
           or (w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket)
              > (list_waiting.after_group, coalesce(list_waiting.after_mode, ''), coalesce(list_waiting.after_id, ''),
                 coalesce(list_waiting.after_ticket, 0)))
    order by w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket
    limit nullif(list_waiting.page_size, -1);
end
$$;
comment on function list_waiting(text, text, text, text, text, bigint, text, text, text, bigint) is
    'Those who wait, as the view waiting shows them, that fit all the filters given, ordered by mutex id and place. A page: page_size rows '
    '(-1: all) after the last row of the page before (after_group, after_mode, after_id, after_ticket).';
