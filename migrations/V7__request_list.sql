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
        perform pg_advisory_xact_lock(mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id));
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
        perform wake_line(request.mutex_group, request.mutex_mode, request.mutex_id);
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
