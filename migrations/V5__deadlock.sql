-- Waits that could never end: whoever holds the mutex waits, directly or through others, for the one who asks.

create function takes_turns(one mutex_waiter, other mutex_waiter) returns boolean
language sql immutable parallel safe
as $$
    select one.owner_session <> other.owner_session and (one.access = 'exclusive' or other.access = 'exclusive')
           and (starts_with(other.mutex_id, one.mutex_id) and (one.lock_children or other.lock_parents)
                or starts_with(one.mutex_id, other.mutex_id) and (one.lock_parents or other.lock_children))
$$;
comment on function takes_turns(mutex_waiter, mutex_waiter) is
    'Whether of two who wait, one at a path above that of the other, one would be in the way of the other.';

-- Whoever waits for a mutex waits for its holders and for those before it in line, who with the same ticket may be waiting for other
-- mutexes too. A holder is stuck if something that it waits for is; a mutex is if its stuck holders alone leave no room for all these.
-- The circle is null if the wait may end, and empty if it cannot, though the one who asks is no part of that. A holder that was found not
-- to be stuck is not looked at again.
create function circle_of_waiting(
    mutex_group text, mutex_mode text, mutex_id text, access text, permits integer, before_ticket bigint,
    lock_parents boolean, lock_children boolean, waiter_session text,
    owner_session text, own_ticket bigint, while_holding bigint[], passed bigint[], inout cleared bigint[], out circle text
)
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();
    -- Of built-in types: see the top of V1.
    line_group      text;
    line_mode       text;
    line_id         text;
    before          bigint;  -- null: the whole line
    behind          text;
    needs_it_alone  boolean;
    strictest       integer;
    others_alone    boolean;
    others_permits  integer;
    token           bigint;
    holder          text;
    described       text;
    holds_permit    integer;
    holds_permits   integer;
    waits_group     text;
    waits_mode      text;
    waits_id        text;
    waits_access    text;
    waits_permits   integer;
    waits_ticket    bigint;
    waits_parents   boolean;
    waits_children  boolean;
    waits_session   text;
    rest            text;
    hold_path       text;
    stuck           integer;
    found_here      text;
    found_in_line   text;
begin
    for line_group, line_mode, line_id, before, behind, needs_it_alone, strictest in
        with recursive line (mutex_group, mutex_mode, mutex_id, ticket, access, permits, lock_parents, lock_children, owner_session, behind) as (
            select circle_of_waiting.mutex_group collate "C", circle_of_waiting.mutex_mode collate "C", circle_of_waiting.mutex_id collate "C",
                   circle_of_waiting.before_ticket, circle_of_waiting.access, circle_of_waiting.permits,
                   circle_of_waiting.lock_parents, circle_of_waiting.lock_children,
                   circle_of_waiting.waiter_session collate "C", null::text collate "C"
            union
            select next.mutex_group, next.mutex_mode, next.mutex_id, next.ticket, next.access, next.permits,
                   next.lock_parents, next.lock_children, next.owner_session,
                   coalesce(nullif(next.owner_name, ''), 'session ' || next.owner_session)
            from line l
            cross join lateral (
                select other.* from mutex_waiter w
                join mutex_waiter other on other.owner_session = w.owner_session and other.ticket = w.ticket
                 and (other.mutex_group <> w.mutex_group or other.mutex_mode <> w.mutex_mode or other.mutex_id <> w.mutex_id)
                where w.mutex_group = l.mutex_group and w.mutex_mode = l.mutex_mode and w.mutex_id = l.mutex_id
                  and (l.ticket is null or w.ticket <= l.ticket)
                union all
                -- Those who come before one in the line at paths above and below.
                select w.* from mutex_waiter w
                where is_path(l.mutex_id) and w.mutex_group = l.mutex_group and w.mutex_mode = l.mutex_mode
                  and (w.mutex_id = any (paths_above(l.mutex_id))
                       or w.mutex_id > l.mutex_id and w.mutex_id < end_of_path(l.mutex_id) and is_path(w.mutex_id))
                  and exists (select from mutex_waiter later
                              where later.mutex_group = l.mutex_group and later.mutex_mode = l.mutex_mode and later.mutex_id = l.mutex_id
                                and later.ticket > w.ticket and (l.ticket is null or later.ticket <= l.ticket)
                                and (later.ticket = l.ticket or later.owner_session <> circle_of_waiting.owner_session)
                                and takes_turns(w, later))
            ) next
            -- Of the other place: it is the same waiter, and few have one.
            where next.owner_session <> circle_of_waiting.owner_session and not waiter_is_gone(next.listener, next.seen_at)
        )
        select l.mutex_group, l.mutex_mode, l.mutex_id, nullif(max(coalesce(l.ticket, 9223372036854775807)), 9223372036854775807),
               case when not bool_or(l.behind is null) then max(l.behind) end, bool_or(l.access = 'exclusive'), min(l.permits)
        from line l
        group by l.mutex_group, l.mutex_mode, l.mutex_id
        order by bool_or(l.behind is null) desc, 1, 2, 3
    loop
        stuck := 0;
        found_in_line := null;

        for token, holder, described, holds_permit, holds_permits, hold_path in
            select h.fencing_token, h.owner_session, coalesce(nullif(h.owner_name, ''), 'session ' || h.owner_session), h.permit, h.permits, null
            from hold h
            where h.mutex_group = line_group and h.mutex_mode = line_mode and h.mutex_id = line_id
              and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is)
            union all
            -- At paths above and below only those who wait can be stuck.
            select h.fencing_token, h.owner_session,
                   format('%s (%s)', coalesce(nullif(h.owner_name, ''), 'session ' || h.owner_session), h.mutex_id), h.permit, h.permits, h.mutex_id
            from hold h
            where is_path(line_id) and h.mutex_group = line_group and h.mutex_mode = line_mode
              and (h.mutex_id = any (paths_above(line_id)) and h.lock_children
                   or h.mutex_id > line_id and h.mutex_id < end_of_path(line_id) and h.lock_parents)
              and exists (select from mutex_waiter w
                          where w.mutex_group = line_group and w.mutex_mode = line_mode and w.mutex_id = line_id
                            and (before is null or w.ticket <= before)
                            and (w.ticket = before or w.owner_session <> circle_of_waiting.owner_session)
                            and w.owner_session <> h.owner_session and (h.permit = 0 or w.access = 'exclusive')
                            and not waiter_is_gone(w.listener, w.seen_at))
              and (h.owner_session = circle_of_waiting.owner_session or h.fencing_token = any (circle_of_waiting.while_holding)
                   or exists (select from mutex_waiter w where w.owner_session = h.owner_session)
                   or exists (select from mutex_waiter w where w.while_holding is not null and w.while_holding @> array[h.fencing_token]))
              and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is)
            order by 6 nulls first, 4
        loop
            found_here := null;
            if holder = circle_of_waiting.owner_session or token = any (circle_of_waiting.while_holding) then
                found_here := case when hold_path is null then ', which the one who asks holds'
                                   else format(', of which the one who asks holds %s', hold_path) end;
            elsif token = any (circle_of_waiting.passed) then
                found_here := '';
            elsif token <> all (cleared) and cardinality(circle_of_waiting.passed) < 64 then
                for waits_group, waits_mode, waits_id, waits_access, waits_permits, waits_ticket, waits_parents, waits_children, waits_session in
                    select w.mutex_group, w.mutex_mode, w.mutex_id, w.access, w.permits, w.ticket, w.lock_parents, w.lock_children, w.owner_session
                    from mutex_waiter w
                    where w.owner_session = holder and not waiter_is_gone(w.listener, w.seen_at)
                    union all
                    select w.mutex_group, w.mutex_mode, w.mutex_id, w.access, w.permits, w.ticket, w.lock_parents, w.lock_children, w.owner_session
                    from mutex_waiter w
                    where w.while_holding is not null and w.while_holding @> array[token] and w.owner_session <> holder
                      and not waiter_is_gone(w.listener, w.seen_at)
                    order by 6, 1, 2, 3  -- of several circles always the same is named
                loop
                    select c.cleared, c.circle into cleared, rest
                    from circle_of_waiting(waits_group, waits_mode, waits_id, waits_access, waits_permits, waits_ticket,
                                           waits_parents, waits_children, waits_session, circle_of_waiting.owner_session, circle_of_waiting.own_ticket,
                                           circle_of_waiting.while_holding, circle_of_waiting.passed || token, cleared) c;
                    if rest <> '' then
                        found_here := format(', held by %s, who waits for %s', described, rest);
                        exit;
                    end if;
                    found_here := coalesce(found_here, rest);
                end loop;
                if found_here is null then
                    cleared := cleared || token;
                end if;
            end if;
            if found_here is not null then
                stuck := stuck + 1;
                needs_it_alone := needs_it_alone or holds_permit = 0 or hold_path is not null;
                strictest := least(strictest, holds_permits);
                found_in_line := coalesce(nullif(found_in_line, ''), found_here);
            end if;
            exit when needs_it_alone and found_here <> '';
        end loop;
        if stuck > 0 then
            -- Those before it must get in, too.
            select coalesce(bool_or(w.access = 'exclusive'), false), min(w.permits) into others_alone, others_permits from mutex_waiter w
            where w.mutex_group = line_group and w.mutex_mode = line_mode and w.mutex_id = line_id
              and (before is null or w.ticket < before) and w.owner_session <> circle_of_waiting.owner_session
              and not waiter_is_gone(w.listener, w.seen_at);
            needs_it_alone := needs_it_alone or others_alone;
            strictest := least(strictest, others_permits);
        end if;
        if stuck = 0 or not needs_it_alone and coalesce(stuck < strictest, true) then
            found_in_line := null;
        end if;
        if found_in_line is null
           and exists (select from mutex_waiter w
                       where w.mutex_group = line_group and w.mutex_mode = line_mode
                         and w.owner_session = circle_of_waiting.owner_session and w.ticket = circle_of_waiting.own_ticket
                         and (w.mutex_id = line_id and w.ticket < before
                              or is_path(line_id) and is_path(w.mutex_id)
                                 and exists (select from mutex_waiter later
                                             where later.mutex_group = line_group and later.mutex_mode = line_mode and later.mutex_id = line_id
                                               and later.ticket > w.ticket and later.ticket <= before and takes_turns(w, later)
                                               and not waiter_is_gone(later.listener, later.seen_at)))) then
            found_in_line := ', where the one who asks is before it';
        end if;
        if found_in_line <> '' then
            circle := concat(circle_of_waiting.mutex_group, '/', circle_of_waiting.mutex_mode, '/', circle_of_waiting.mutex_id,
                             ', behind ' || behind || format(', who waits for %s/%s/%s', line_group, line_mode, line_id),
                             found_in_line);
            return;
        end if;
        circle := coalesce(circle, found_in_line);
    end loop;
end
$$;
comment on function circle_of_waiting(text, text, text, text, integer, bigint, boolean, boolean, text, text, bigint, bigint[], bigint[], bigint[]) is
    'If waiting for this mutex could never end, because its holders wait, directly or not, for the one who asks: the circle, in words. '
    'A circle of more than 64 is not found.';

create function refuse_deadlock(
    mutex_group text, mutex_mode text, mutex_id text, access text, permits integer, owner_session text, own_ticket bigint,
    while_holding bigint[], lock_parents boolean, lock_children boolean
) returns void
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    circle text;
begin
    -- Who holds nothing, and keeps no place in another line, cannot be waited for.
    if coalesce(cardinality(refuse_deadlock.while_holding), 0) = 0
       and not exists (select from hold h where h.owner_session = refuse_deadlock.owner_session)
       and not exists (select from mutex_waiter w
                       where w.owner_session = refuse_deadlock.owner_session and w.ticket = refuse_deadlock.own_ticket
                         and (w.mutex_group <> refuse_deadlock.mutex_group or w.mutex_mode <> refuse_deadlock.mutex_mode
                              or w.mutex_id <> refuse_deadlock.mutex_id)) then
        return;
    end if;
    -- Two who close a circle at the same moment, in two lines, must see each other. This lock is always the last one taken;
    -- no mutex has the empty name.
    perform pg_advisory_xact_lock(mutex_key('', '', ''));
    select c.circle into circle
    from circle_of_waiting(refuse_deadlock.mutex_group, refuse_deadlock.mutex_mode, refuse_deadlock.mutex_id,
                           refuse_deadlock.access, refuse_deadlock.permits, refuse_deadlock.own_ticket,
                           refuse_deadlock.lock_parents, refuse_deadlock.lock_children, refuse_deadlock.owner_session,
                           refuse_deadlock.owner_session, refuse_deadlock.own_ticket,
                           coalesce(refuse_deadlock.while_holding, '{}'), '{}', '{}') c;
    if circle <> '' then
        raise exception using errcode = 'PM006',
            message = format('deadlock: this would wait for %s', circle),
            hint = 'Release what you hold and begin again, or capture all of them at once with capture_all.';
    end if;
end
$$;
comment on function refuse_deadlock(text, text, text, text, integer, text, bigint, bigint[], boolean, boolean) is 'Raises PM006 if waiting for this mutex could never end.';
