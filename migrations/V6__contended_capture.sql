-- Capture where it is not simple: what to do about a mutex that is held or waited for, and about a path. Together with the one statement
-- that capture tries first, this is the decision that must never make two holders.
--
-- Only behind the mutex's lock, with arguments that capture has looked at. Read committed gives each statement of this function a new
-- snapshot: every read below sees what the previous owner of the lock committed. A function of its own, so that an uncontended capture
-- does not set up its variables.

create function capture_contended(
    mutex_group         text,
    mutex_mode          text,
    mutex_id            text,
    owner_session       text,
    owner_host          text,
    owner_id            text,
    owner_login         text,
    owner_name          text,
    rule                text,
    config              text,
    keeps_rule          boolean,
    status_data         text,
    access              text,
    permits             integer,
    wait                boolean,
    listener            bigint,
    while_holding       bigint[],
    lock_parents        boolean,
    lock_children       boolean
) returns hold_outcome
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    decided_at   timestamptz;
    current      hold;
    own          hold;
    other        hold;
    evicted      hold;
    answer       hold_outcome;
    wants_permit integer := case when capture_contended.access = 'shared' then 1 else 0 end;
    others       integer;
    strictest    integer;
    has_room     boolean;
    ahead        bigint;
    ahead_at     text;
    own_ticket   bigint;
    at_path      boolean := is_path(capture_contended.mutex_id);
    blocker_id     text;
    blocker_permit integer;
    over_session   text;
    over_name      text;
    over_token     bigint;
    freed          text;
    freed_from     text;  -- the uppermost path where something was in the way that was over
    has_waited   boolean := false;
begin
    -- Comes round again only if a program that does not take the lock changed a row between two of these statements.
    for attempt in 1..100 loop
        decided_at := clock_timestamp();
        -- Who holds it? A hold that is over is removed, never ignored nor taken over by an update. One whose row is locked by
        -- someone else is not waited for (the holder may be refreshing it, or writing behind its fence): it counts.
        own := null; other := null; others := 0; strictest := null;
        for current in
            select h.* from hold h
            where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
            order by h.permit
        loop
            if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, decided_at) then
                perform 1 from hold h
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                  and h.permit = current.permit and h.fencing_token = current.fencing_token
                  and h.captured_since = current.captured_since  -- not refreshed since
                for update skip locked;
                if found then
                    delete from hold h
                    where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                      and h.permit = current.permit;
                    if found then
                        if evicted.fencing_token is null then
                            evicted := current;
                        end if;
                        continue;
                    end if;
                end if;
            elsif current.owner_session = capture_contended.owner_session then
                own := current;
                continue;
            end if;
            others := others + 1;
            strictest := least(strictest, current.permits);
            if other.fencing_token is null then
                other := current;
            end if;
        end loop;

        if own.fencing_token is not null then
            if own.permit = 0 and wants_permit = 0 or own.permit > 0 and wants_permit > 0 then
                -- The clock once more: this may have waited for a refresh of the same hold.
                update hold h
                set captured_since = clock_timestamp(),
                    status_data = coalesce(nullif(capture_contended.status_data, ''), h.status_data),
                    auto_release_rule = case when keeps_rule then h.auto_release_rule else rule end,
                    auto_release_config = case when keeps_rule then h.auto_release_config else config end
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                  and h.permit = own.permit and h.fencing_token = own.fencing_token
                  and (h.expires_at is null or h.expires_at >= clock_timestamp())
                returning 'refreshed', h.*, h.captured_since, null, null, null, null
                into answer;
                continue when not found;
                if evicted.fencing_token is not null or freed_from is not null then
                    perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
                end if;
                exit;
            end if;
            if own.permit > 0 and others = 0 and at_path then
                select i.blocker_id, i.blocker_permit, i.freed, i.evicted_owner_session, i.evicted_owner_name, i.evicted_fencing_token
                into blocker_id, blocker_permit, freed, over_session, over_name, over_token
                from hold_in_the_way(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, capture_contended.owner_session, 'exclusive', true) i;
                freed_from := least(freed_from, freed collate "C");
                if blocker_id is not null then
                    select h.* into other from hold h
                    where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = blocker_id
                      and h.permit = blocker_permit;
                    continue when not found;
                    others := 1;
                end if;
            end if;
            if own.permit > 0 and others > 0 then
                -- To have it alone needs to be alone. Waiting for that would end badly as soon as two of the holders did.
                if evicted.fencing_token is not null or freed_from is not null then
                    perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
                end if;
                select 'busy', other.*, decided_at, null, null, null, null into answer;
                return answer;
            end if;
            -- From exclusive to shared keeps the token, as a refresh does. From shared to exclusive is a capture: others may have
            -- shared the mutex since, with tokens larger than this hold's. As in release, a refresh on its way is waited out, but
            -- not a transaction behind the hold's fence.
            perform 1 from hold h
            where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
              and h.permit = own.permit and h.fencing_token = own.fencing_token
            for update skip locked;
            if not found then
                if has_waited then
                    if evicted.fencing_token is not null or freed_from is not null then
                        perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
                    end if;
                    select 'busy', own.*, decided_at, null, null, null, null into answer;
                    return answer;
                end if;
                perform 1 from hold h
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                  and h.permit = own.permit and h.fencing_token = own.fencing_token
                for no key update;
                has_waited := true;
                continue;
            end if;
            update hold h
            set permit = wants_permit, permits = capture_contended.permits, captured_since = decided_at,
                fencing_token = case when wants_permit = 0 then draw_fencing_token() else h.fencing_token end,
                status_data = coalesce(nullif(capture_contended.status_data, ''), h.status_data),
                auto_release_rule = case when keeps_rule then h.auto_release_rule else rule end,
                auto_release_config = case when keeps_rule then h.auto_release_config else config end
            where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
              and h.permit = own.permit and h.fencing_token = own.fencing_token
            returning case when wants_permit = 0 then 'captured' else 'refreshed' end, h.*, decided_at, null, null, null, null
            into answer;
            continue when not found;
            if wants_permit > 0 or freed_from is not null then
                perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
            end if;
            exit;
        end if;

        select w.ticket into own_ticket from mutex_waiter w
        where w.owner_session = capture_contended.owner_session
          and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id)
              = mutex_key(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id)
          and (w.mutex_group = capture_contended.mutex_group and w.mutex_mode = capture_contended.mutex_mode
               and w.mutex_id = capture_contended.mutex_id) is true;
        -- First come, first served: whoever came before must have been served, or be gone.
        ahead := first_in_line(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, own_ticket);
        ahead_at := capture_contended.mutex_id;

        has_room := others = 0
                    or wants_permit > 0 and other.permit > 0 and others < coalesce(least(strictest, capture_contended.permits), others + 1);
        -- There may be room at a path itself, and something above or below it in the way.
        if at_path and ahead is null and has_room then
            select i.blocker_id, i.blocker_permit, i.freed, i.evicted_owner_session, i.evicted_owner_name, i.evicted_fencing_token
            into blocker_id, blocker_permit, freed, over_session, over_name, over_token
            from hold_in_the_way(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, capture_contended.owner_session, capture_contended.access, true) i;
            freed_from := least(freed_from, freed collate "C");
            if over_token is not null and evicted.fencing_token is null then
                evicted.fencing_token := over_token;
                evicted.owner_session := over_session;
                evicted.owner_name := over_name;
            end if;
            if blocker_id is not null then
                select h.* into other from hold h
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = blocker_id
                  and h.permit = blocker_permit;
                continue when not found;
                ahead := 0;
            else
                select i.waiter_id, i.waiter_ticket into ahead_at, ahead
                from waiter_in_the_way(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, own_ticket, capture_contended.owner_session,
                                       capture_contended.access, capture_contended.lock_parents, capture_contended.lock_children) i;
                if ahead is not null then
                    other := null;  -- there would be room beside it
                end if;
            end if;
        end if;

        if ahead is null
           and has_room then
            if wants_permit > 0 then
                -- The smallest number that nobody has.
                select min(free.number) into wants_permit
                from generate_series(1, others + 1) free (number)
                where not exists (select from hold h
                                  where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode
                                    and h.mutex_id = capture_contended.mutex_id and h.permit = free.number);
            end if;
            insert into mutex_model as h (
                              mutex_group, mutex_mode, mutex_id, permit, permits,
                              owner_session, owner_host, owner_id, owner_login, owner_name,
                              auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                              lock_parents, lock_children, sweep_at)
            values (capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, wants_permit, capture_contended.permits,
                    capture_contended.owner_session, coalesce(capture_contended.owner_host, ''), coalesce(capture_contended.owner_id, ''),
                    coalesce(capture_contended.owner_login, ''), coalesce(capture_contended.owner_name, ''),
                    rule, config, decided_at, capture_contended.status_data, draw_fencing_token(), decided_at,
                    capture_contended.lock_parents, capture_contended.lock_children, rule_ends_at(rule, config, decided_at))
            on conflict do nothing
            returning case when evicted.fencing_token is null then 'captured' else 'evicted' end,
                      h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.permits,
                      h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
                      h.auto_release_rule, h.auto_release_config, h.captured_since, h.status_data,
                      h.fencing_token, h.held_since, h.expires_at, h.lock_parents, h.lock_children,
                      decided_at,
                      evicted.owner_session, evicted.owner_name, evicted.fencing_token, null
            into answer;
            continue when not found;
            if own_ticket is not null then
                delete from mutex_waiter w
                where w.mutex_group = capture_contended.mutex_group and w.mutex_mode = capture_contended.mutex_mode and w.mutex_id = capture_contended.mutex_id
                  and w.ticket = own_ticket;
            end if;
            if own_ticket is not null and (wants_permit > 0 or at_path) or freed_from is not null
               or at_path and evicted.fencing_token is not null then
                -- The next one may be able to share it, or waits at another path.
                perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
            end if;
            exit;
        end if;

        if other.fencing_token is not null then
            select 'busy', other.*, decided_at, null, null, null, null into answer;
        else
            -- Free, but for the one that is about to capture it: the answer shows it as it will be, without a token.
            select 'busy', w.mutex_group, w.mutex_mode, w.mutex_id, case when w.access = 'shared' then 1 else 0 end, w.permits,
                   w.owner_session, w.owner_host, w.owner_id, w.owner_login, w.owner_name,
                   '', '', w.queued_since, null, 0, w.queued_since, null, w.lock_parents, w.lock_children,
                   decided_at, null, null, null, null
            into answer from mutex_waiter w
            where w.mutex_group = capture_contended.mutex_group and w.mutex_mode = capture_contended.mutex_mode and w.mutex_id = ahead_at
              and w.ticket = ahead;
            -- It has left since, at a path where only its own call needs the lock.
            continue when not found;
        end if;
        if capture_contended.wait then
            answer.ticket := join_line(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, null, capture_contended.access, capture_contended.permits,
                                       capture_contended.owner_session, capture_contended.owner_host, capture_contended.owner_id, capture_contended.owner_login, capture_contended.owner_name,
                                       capture_contended.while_holding, capture_contended.listener, capture_contended.lock_parents, capture_contended.lock_children);
            perform refuse_deadlock(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, capture_contended.access, capture_contended.permits,
                                    capture_contended.owner_session, answer.ticket, capture_contended.while_holding,
                                    capture_contended.lock_parents, capture_contended.lock_children);
            answer.outcome := 'queued';
        end if;
        if evicted.fencing_token is not null or freed_from is not null then
            perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
        end if;
        return answer;
    end loop;
    if answer.outcome is null then
        raise exception using errcode = 'PM004',
            message = 'pgmutex cannot write the row of this hold: it stays as it is, however often it is tried',
            hint = 'Look for a trigger of another program on table mutex_model that suppresses changes.';
    end if;
    return answer;
end
$$;
comment on function capture_contended(text, text, text, text, text, text, text, text, text, text, boolean, text, text, integer, boolean, bigint, bigint[], boolean, boolean) is
    'What capture does when a mutex is held or waited for, and for a path.';
