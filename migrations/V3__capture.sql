-- Capture: the one decision that must never make two holders.
--
-- Read committed gives each statement of this function a new snapshot, and the lock is a statement of its own before them:
-- every read below sees what the previous owner of the lock committed. No EXCEPTION block may enclose the lock: leaving
-- such a block gives the lock up.

create function capture(
    mutex_group         text,
    mutex_mode          text,
    mutex_id            text,
    owner_session       text,
    owner_host          text default '',
    owner_id            text default '',
    owner_login         text default '',
    owner_name          text default '',
    auto_release_rule   text default null,
    auto_release_config text default null,
    status_data         text default null
) returns hold_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    decided_at timestamptz;
    current    hold;
    evicted    hold;
    answer     hold_outcome;
    rule       text := coalesce(capture.auto_release_rule, 'timeout');
    config     text := coalesce(capture.auto_release_config, case when rule = 'timeout' then '300' else '' end);
begin
    perform check_call(capture.mutex_group, capture.mutex_mode, capture.mutex_id, capture.owner_session);
    perform check_rule(rule, config);
    perform check_text('owner_host', capture.owner_host, 1600);
    perform check_text('owner_id', capture.owner_id, 400);
    perform check_text('owner_login', capture.owner_login, 400);
    perform check_text('owner_name', capture.owner_name, 400);
    perform check_text('status_data', capture.status_data, 65536);

    perform pg_advisory_xact_lock(mutex_key(capture.mutex_group, capture.mutex_mode, capture.mutex_id));

    -- Comes round again only if a program that does not take the lock changed the row between two of these statements.
    for attempt in 1..100 loop
        decided_at := clock_timestamp();
        -- The token is drawn only when a row will be written: a refused try leaves no trace, not even in the sequence.
        insert into hold (mutex_group, mutex_mode, mutex_id,
                          owner_session, owner_host, owner_id, owner_login, owner_name,
                          auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since)
        select capture.mutex_group, capture.mutex_mode, capture.mutex_id,
               capture.owner_session, coalesce(capture.owner_host, ''), coalesce(capture.owner_id, ''),
               coalesce(capture.owner_login, ''), coalesce(capture.owner_name, ''),
               rule, config, decided_at, capture.status_data, draw_fencing_token(), decided_at
        where not exists (select from hold h
                          where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id)
        on conflict do nothing
        returning case when evicted.fencing_token is null then 'captured' else 'evicted' end, hold.*, decided_at,
                  evicted.owner_session, evicted.owner_name, evicted.fencing_token
        into answer;
        exit when found;

        select h.* into current from hold h
        where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id
        order by h.permit
        limit 1;
        continue when not found;

        if current.expires_at < decided_at then
            -- Over: its row must go, it is never taken over by an update. A row that someone else has locked is not waited for
            -- (the holder may be refreshing it, or writing behind its fence): then it is busy.
            perform 1 from hold h
            where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id
              and h.permit = current.permit and h.fencing_token = current.fencing_token and h.expires_at < decided_at
            for update skip locked;
            if found then
                delete from hold h
                where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id
                  and h.permit = current.permit;
                if found then
                    evicted := current;
                    continue;
                end if;
            end if;
        elsif current.owner_session = capture.owner_session then
            -- The clock once more: this may have waited for a refresh of the same hold.
            update hold h
            set captured_since = clock_timestamp(),
                status_data = coalesce(nullif(capture.status_data, ''), h.status_data),
                auto_release_rule = case when capture.auto_release_rule is null and capture.auto_release_config is null then h.auto_release_rule else rule end,
                auto_release_config = case when capture.auto_release_rule is null and capture.auto_release_config is null then h.auto_release_config else config end
            where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id
              and h.permit = current.permit and h.fencing_token = current.fencing_token
              and (h.expires_at is null or h.expires_at >= clock_timestamp())
            returning 'refreshed', h.*, h.captured_since, null, null, null
            into answer;
            exit when found;
            continue;
        end if;

        select 'busy', current.*, decided_at, null, null, null into answer;
        return answer;
    end loop;
    if answer.outcome is null then
        raise exception using errcode = 'PM004',
            message = 'pgmutex cannot write the row of this hold: it stays as it is, however often it is tried',
            hint = 'Look for a trigger of another program on table mutex_model that suppresses changes.';
    end if;

    -- What is acknowledged must survive a crash, whatever this role's default. (As a SET clause of the function it would be
    -- undone before the commit.)
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    return answer;
end
$$;
comment on function capture(text, text, text, text, text, text, text, text, text, text, text) is
    'Captures a mutex for owner_session, or refreshes the hold that session has. Outcome: captured, refreshed, evicted (captured; '
    'a hold that was over made way) or busy, then the row is the holder''s. Without a rule a new hold gets timeout 300 and a refresh '
    'keeps the rule it has. An empty status_data leaves the old one.';
