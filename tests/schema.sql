-- The schema as all migrations leave it. Made by the test schema::the_schema_is_as_dumped; do not edit.

-- tables, views and types ---

view held
  -- What is held now, by whom, since when and until when. Holds whose rule has ended them are left out; hold shows those too.
    mutex_group text collate "C"
    mutex_mode text collate "C"
    mutex_id text collate "C"
    permit integer
    owner_session text collate "C"
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    status_data text
    fencing_token bigint
    held_since timestamp with time zone
    captured_since timestamp with time zone
    expires_at timestamp with time zone
    held_for interval  -- Age of the hold.
    time_left interval  -- Time until the rule ends the hold; null if no time does.

view hold
  -- Every row of mutex_model, over or not, with a fixed list of columns. The functions read and write through it, so a column that another program adds to the table disturbs nothing.
    mutex_group text collate "C"
    mutex_mode text collate "C"
    mutex_id text collate "C"
    permit integer
    owner_session text collate "C"
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    captured_since timestamp with time zone
    status_data text
    fencing_token bigint
    held_since timestamp with time zone
    expires_at timestamp with time zone

type hold_outcome
    outcome text
    mutex_group text
    mutex_mode text
    mutex_id text
    permit integer
    owner_session text
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    captured_since timestamp with time zone
    status_data text
    fencing_token bigint
    held_since timestamp with time zone
    expires_at timestamp with time zone
    observed_at timestamp with time zone
    evicted_owner_session text
    evicted_owner_name text
    evicted_fencing_token bigint

table mutex_model with (fillfactor=70)
  -- The holds: one row is one owner that has captured one mutex. Read it through the views held and hold.
    mutex_group text collate "C" not null default ''::text  -- First part of the mutex id: the application or area.
    mutex_mode text collate "C" not null default ''::text  -- Second part of the mutex id: the type of the object locked.
    mutex_id text collate "C" not null default ''::text  -- Third part of the mutex id: which object of that type.
    owner_session text collate "C" not null  -- Who holds it: the identity that captures, refreshes and releases compare.
    owner_host text not null default ''::text  -- Host of the owner, for people.
    owner_id text not null default ''::text  -- User id of the owner.
    owner_login text not null default ''::text  -- Login of the owner, for people.
    owner_name text not null default ''::text  -- Name of the owner, for people.
    auto_release_rule text not null default ''::text  -- Code of the rule that ends the hold: timeout, deadline, never (or empty), or a custom code.
    auto_release_config text not null default ''::text  -- Setting of the rule: whole seconds for timeout, an RFC 3339 time for deadline.
    captured_since timestamp with time zone not null default clock_timestamp()  -- Database time of the capture or of the last refresh; a timeout counts from here.
    status_data text  -- Free text of the holder.
    fencing_token bigint not null default pgmutex.next_fencing_token()  -- Larger for each later capture of the mutex; a refresh keeps it.
    permit integer not null default 0  -- 0: the hold is exclusive.
    held_since timestamp with time zone not null default clock_timestamp()  -- Database time at which this hold began; refreshes leave it.
    expires_at timestamp with time zone generated as pgmutex.rule_ends_at(auto_release_rule, auto_release_config, captured_since)  -- When the rule ends the hold, worked out from rule, setting and captured_since; null if the rule is not one of time.

table refinery_schema_history
  -- The migrations applied to this schema, kept by refinery.
    version integer not null  -- Number of the migration.
    name character varying(255)  -- Name of the migration.
    applied_on character varying(255)  -- When it was applied, by the clock of the program that did so.
    checksum character varying(255)  -- Checksum of its name, number and text.

table token_generation
  -- One row: the server that gave the last fencing tokens. A token is generation * 2^40 + a sequence number. The generation rises when the server turns out to be another one (failover, restored dump, pg_upgrade), whose sequence may have fallen behind.
    only_row boolean not null default true  -- Always true: there is one row.
    generation bigint not null  -- The generation of the tokens given now.
    system_identifier bigint not null  -- The cluster that gave the last tokens; compared when a client connects or migrates.
    timeline integer not null  -- The timeline of the server that gave the last tokens; compared at each capture.

-- constraints ---

pgmutex.mutex_model: auto_release_config_at_most_1600_bytes CHECK ((octet_length(auto_release_config) <= 1600))

pgmutex.mutex_model: auto_release_rule_at_most_400_bytes CHECK ((octet_length(auto_release_rule) <= 400))

pgmutex.mutex_model: holds_are_exclusive CHECK ((permit = 0))

pgmutex.mutex_model: mutex_group_at_most_400_bytes CHECK ((octet_length(mutex_group) <= 400))

pgmutex.mutex_model: mutex_id_at_most_1600_bytes CHECK ((octet_length(mutex_id) <= 1600))

pgmutex.mutex_model: mutex_is_named CHECK (((mutex_group <> ''::text) OR (mutex_mode <> ''::text) OR (mutex_id <> ''::text)))

pgmutex.mutex_model: mutex_mode_at_most_400_bytes CHECK ((octet_length(mutex_mode) <= 400))

pgmutex.mutex_model: mutex_model_pkey PRIMARY KEY (mutex_group, mutex_mode, mutex_id, permit)

pgmutex.mutex_model: owner_host_at_most_1600_bytes CHECK ((octet_length(owner_host) <= 1600))

pgmutex.mutex_model: owner_id_at_most_400_bytes CHECK ((octet_length(owner_id) <= 400))

pgmutex.mutex_model: owner_login_at_most_400_bytes CHECK ((octet_length(owner_login) <= 400))

pgmutex.mutex_model: owner_name_at_most_400_bytes CHECK ((octet_length(owner_name) <= 400))

pgmutex.mutex_model: owner_session_at_most_400_bytes CHECK ((octet_length(owner_session) <= 400))

pgmutex.mutex_model: status_data_at_most_65536_bytes CHECK ((octet_length(status_data) <= 65536))

pgmutex.refinery_schema_history: refinery_schema_history_pkey PRIMARY KEY (version)

pgmutex.token_generation: generation_leaves_room_for_tokens CHECK (((generation >= 1) AND (generation <= 8388607)))

pgmutex.token_generation: token_generation_has_one_row CHECK (only_row)

pgmutex.token_generation: token_generation_pkey PRIMARY KEY (only_row)

-- indexes ---

CREATE INDEX mutex_model_owner_session ON pgmutex.mutex_model USING btree (owner_session)

CREATE UNIQUE INDEX mutex_model_pkey ON pgmutex.mutex_model USING btree (mutex_group, mutex_mode, mutex_id, permit)

CREATE UNIQUE INDEX refinery_schema_history_pkey ON pgmutex.refinery_schema_history USING btree (version)

CREATE UNIQUE INDEX token_generation_pkey ON pgmutex.token_generation USING btree (only_row)

-- sequences ---

fencing_token_sequence bigint from 1 to 9223372036854775807 by 1 cache 1

-- view definitions ---

held as
 SELECT mutex_group,
    mutex_mode,
    mutex_id,
    permit,
    owner_session,
    owner_host,
    owner_id,
    owner_login,
    owner_name,
    auto_release_rule,
    auto_release_config,
    status_data,
    fencing_token,
    held_since,
    captured_since,
    expires_at,
        CASE
            WHEN isfinite(held_since) THEN (clock_timestamp() - held_since)
            ELSE NULL::interval
        END AS held_for,
        CASE
            WHEN isfinite(expires_at) THEN (expires_at - clock_timestamp())
            ELSE NULL::interval
        END AS time_left
   FROM pgmutex.hold
  WHERE ((expires_at IS NULL) OR (expires_at >= clock_timestamp()));

hold as
 SELECT mutex_group,
    mutex_mode,
    mutex_id,
    permit,
    owner_session,
    owner_host,
    owner_id,
    owner_login,
    owner_name,
    auto_release_rule,
    auto_release_config,
    captured_since,
    status_data,
    fencing_token,
    held_since,
    expires_at
   FROM pgmutex.mutex_model;

-- functions ---

-- Raises the generation of fencing tokens, so that every later token is larger than every earlier one. It rises by itself after a failover; call this after a recovery that kept timeline and cluster but lost data, such as a restored snapshot of the disk.
CREATE OR REPLACE FUNCTION pgmutex.bump_generation()
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    raised bigint;
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    -- The sequence may have outgrown its 40 bits: what it carried into the generation is skipped too.
    update token_generation
    set generation = greatest(generation + 1 + ((select last_value from fencing_token_sequence) >> 40), current_timeline()),
        system_identifier = (select control.system_identifier from pg_control_system() control),
        timeline = current_timeline()
    returning generation into raised;
    return raised;
end
$function$

-- Captures a mutex for owner_session, or refreshes the hold that session has. Outcome: captured, refreshed, evicted (captured; a hold that was over made way) or busy, then the row is the holder's. Without a rule a new hold gets timeout 300 and a refresh keeps the rule it has. An empty status_data leaves the old one.
CREATE OR REPLACE FUNCTION pgmutex.capture(mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text DEFAULT ''::text, owner_id text DEFAULT ''::text, owner_login text DEFAULT ''::text, owner_name text DEFAULT ''::text, auto_release_rule text DEFAULT NULL::text, auto_release_config text DEFAULT NULL::text, status_data text DEFAULT NULL::text)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
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
$function$

-- The start of every decision: refuses a transaction whose snapshot may be stale (PM001), a standby (PM002) and bad names (PM003).
CREATE OR REPLACE FUNCTION pgmutex.check_call(mutex_group text, mutex_mode text, mutex_id text, owner_session text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if mutex_group is null or mutex_mode is null or mutex_id is null then
        perform refuse_input('mutex_group, mutex_mode and mutex_id must not be null');
    end if;
    if mutex_group = '' and mutex_mode = '' and mutex_id = '' then
        perform refuse_input('mutex_id is empty, and so are mutex_group and mutex_mode: name the mutex');
    end if;
    if coalesce(owner_session, '') = '' then
        perform refuse_input('owner_session is empty: it says who holds the mutex');
    end if;
    perform check_text('mutex_group', mutex_group, 400);
    perform check_text('mutex_mode', mutex_mode, 400);
    perform check_text('mutex_id', mutex_id, 1600);
    perform check_text('owner_session', owner_session, 400);
end
$function$

-- Raises PM003 if a rule could not end a hold as its caller means it to.
CREATE OR REPLACE FUNCTION pgmutex.check_rule(rule text, config text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if rule in ('', 'never') then
        if coalesce(config, '') <> '' then
            perform refuse_input('auto_release_config must be empty for the rule never');
        end if;
    elsif rule = 'timeout' then
        if coalesce(config !~ '^[0-9]{1,10}$', true) or config::bigint not between 1 and 3153600000 then
            perform refuse_input('auto_release_config of a timeout must be whole seconds from 1 to 3153600000 (100 years)');
        end if;
    elsif rule = 'deadline' then
        -- Two different starting points give two answers exactly when the text is no time and the fallback answers.
        if rule_ends_at(rule, config, timestamptz 'epoch') <> rule_ends_at(rule, config, timestamptz '2000-01-01 00:00:00Z') then
            perform refuse_input('auto_release_config of a deadline must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z');
        elsif rule_ends_at(rule, config, timestamptz 'epoch') <= clock_timestamp() then
            perform refuse_input('auto_release_config: this deadline has already passed');
        end if;
    elsif rule = 'connection' then
        perform refuse_input('auto_release_rule connection is reserved; this version does not offer it');
    end if;
    perform check_text('auto_release_rule', rule, 400);
    perform check_text('auto_release_config', config, 1600);
end
$function$

-- Raises PM003 if a text is longer than its column takes.
CREATE OR REPLACE FUNCTION pgmutex.check_text(field text, value text, most_bytes integer)
 RETURNS void
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
begin
    if octet_length(value) > most_bytes then
        raise exception using errcode = 'PM003',
            message = format('%s is %s bytes long, at most %s are allowed', field, octet_length(value), most_bytes);
    end if;
end
$function$

-- The timeline this primary writes.
CREATE OR REPLACE FUNCTION pgmutex.current_timeline()
 RETURNS integer
 LANGUAGE sql
AS $function$
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer
$function$

-- The next fencing token, for the functions of this schema.
CREATE OR REPLACE FUNCTION pgmutex.draw_fencing_token()
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    current_generation bigint;
begin
    select t.generation into current_generation from token_generation t where t.timeline = current_timeline();
    if not found then
        current_generation := ensure_generation();
    end if;
    return (current_generation << 40) + nextval('fencing_token_sequence');
end
$function$

-- Raises the generation of fencing tokens if this is not the server that gave the last ones. Clients call it when they connect and migrate.
CREATE OR REPLACE FUNCTION pgmutex.ensure_generation()
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    seen_timeline integer;
    seen_system   bigint := (select control.system_identifier from pg_control_system() control);
    current_generation bigint;
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    seen_timeline := current_timeline();
    select t.generation into current_generation from token_generation t
    where t.timeline = seen_timeline and t.system_identifier = seen_system;
    if not found then
        -- Whoever comes second waits here for the first and then finds the row already right.
        perform 1 from token_generation t for update;
        select t.generation into current_generation from token_generation t
        where t.timeline = seen_timeline and t.system_identifier = seen_system;
        if not found then
            current_generation := bump_generation();
        end if;
    end if;
    return current_generation;
end
$function$

-- Removes one hold under a custom rule, for a client that knows the rule and has found it over: exactly the hold with this token, and only if its rule is not one that the database judges itself. Outcome: released, not_held or busy.
CREATE OR REPLACE FUNCTION pgmutex.evict(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
begin
    perform check_call(evict.mutex_group, evict.mutex_mode, evict.mutex_id, 'evict');
    if evict.fencing_token is null then
        perform refuse_input('fencing_token must not be null: it says which hold was judged');
    end if;
    return remove_hold(evict.mutex_group, evict.mutex_mode, evict.mutex_id, evict.fencing_token, true);
end
$function$

-- Called inside the transaction that writes what the mutex protects: raises PM005 if the hold with this token is over or gone; else nobody can capture the mutex until this transaction ends.
CREATE OR REPLACE FUNCTION pgmutex.fence(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
#variable_conflict use_column
declare
    ends_at timestamptz;
begin
    if fence.mutex_group is null or fence.mutex_mode is null or fence.mutex_id is null or fence.fencing_token is null then
        perform refuse_input('mutex_group, mutex_mode, mutex_id and fencing_token must not be null');
    end if;
    select h.expires_at into ends_at from hold h
    where h.mutex_group = fence.mutex_group and h.mutex_mode = fence.mutex_mode and h.mutex_id = fence.mutex_id
      and h.fencing_token = fence.fencing_token
    for key share;
    -- The clock is read when the row is locked: the wait for it counts.
    if not found or ends_at < clock_timestamp() then
        raise exception using errcode = 'PM005',
            message = format('mutex %s/%s/%s is no longer held under token %s',
                             fence.mutex_group, fence.mutex_mode, fence.mutex_id, fence.fencing_token),
            hint = 'Roll back: another may hold it by now. Nothing of this transaction must be kept.';
    end if;
end
$function$

-- Takes a mutex away from whoever holds it and writes who did so and why to the server's log. Outcome: released (the row is the hold that was), not_held, or busy (a fenced write of the holder is under way). With fencing_token, only that very hold.
CREATE OR REPLACE FUNCTION pgmutex.force_release(mutex_group text, mutex_mode text, mutex_id text, reason text DEFAULT NULL::text, fencing_token bigint DEFAULT NULL::bigint)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    answer hold_outcome;
begin
    perform check_call(force_release.mutex_group, force_release.mutex_mode, force_release.mutex_id, 'force_release');
    answer := remove_hold(force_release.mutex_group, force_release.mutex_mode, force_release.mutex_id, force_release.fencing_token, false);
    if answer.outcome = 'released' then
        -- On one line, whatever the names and the reason contain: a line of the log must not be forged.
        raise log using message = regexp_replace(format(
            'pgmutex: %L forced the release of %L/%L/%L, held by session %L (%L) with token %s since %s; reason: %L',
            session_user, answer.mutex_group, answer.mutex_mode, answer.mutex_id, answer.owner_session, answer.owner_name,
            answer.fencing_token, answer.held_since, force_release.reason), '[[:cntrl:]]', ' ', 'g');
    end if;
    return answer;
end
$function$

-- The holds that fit all the filters given, ordered by mutex id. A page: page_size rows (-1: all) from page_start, or, at a cost that does not grow with the number of holds, after the last row of the page before (after_group, after_mode, after_id, after_permit).
CREATE OR REPLACE FUNCTION pgmutex.list(mutex_group text DEFAULT NULL::text, mutex_mode text DEFAULT NULL::text, mutex_id text DEFAULT NULL::text, mutex_id_prefix text DEFAULT NULL::text, owner_session text DEFAULT NULL::text, owner_id text DEFAULT NULL::text, owner_login text DEFAULT NULL::text, auto_release_rule text DEFAULT NULL::text, include_over boolean DEFAULT false, page_start bigint DEFAULT 0, page_size bigint DEFAULT '-1'::integer, after_group text DEFAULT NULL::text, after_mode text DEFAULT NULL::text, after_id text DEFAULT NULL::text, after_permit integer DEFAULT NULL::integer)
 RETURNS SETOF pgmutex.hold
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_bitmapscan TO 'off'
AS $function$
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
$function$

-- How many holds fit all the filters given. It reads them all.
CREATE OR REPLACE FUNCTION pgmutex.list_count(mutex_group text DEFAULT NULL::text, mutex_mode text DEFAULT NULL::text, mutex_id text DEFAULT NULL::text, mutex_id_prefix text DEFAULT NULL::text, owner_session text DEFAULT NULL::text, owner_id text DEFAULT NULL::text, owner_login text DEFAULT NULL::text, auto_release_rule text DEFAULT NULL::text, include_over boolean DEFAULT false)
 RETURNS bigint
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
    select count(*) from list(mutex_group, mutex_mode, mutex_id, mutex_id_prefix, owner_session, owner_id, owner_login, auto_release_rule, include_over)
$function$

-- The key of the advisory transaction lock behind which decisions about a mutex are made. Two mutexes with one key only take turns.
CREATE OR REPLACE FUNCTION pgmutex.mutex_key(mutex_group text, mutex_mode text, mutex_id text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select hashtextextended(
        octet_length(mutex_group)::text || ':' || octet_length(mutex_mode)::text || ':' || mutex_group || mutex_mode || mutex_id,
        31638917211252088)  -- the bytes of 'pgmutex': keys that an application makes for itself do not meet ours by accident
$function$

-- The next fencing token: larger than every one given before, also after a failover. For rows that another program inserts.
CREATE OR REPLACE FUNCTION pgmutex.next_fencing_token()
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
begin
    return draw_fencing_token();
end
$function$

-- Makes the time of a hold start again. Outcome: refreshed; not_held (lost: it was over, released or never held); or busy (lost: another holds it). With fencing_token, only that very hold counts.
CREATE OR REPLACE FUNCTION pgmutex.refresh(mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint DEFAULT NULL::bigint, status_data text DEFAULT NULL::text)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
#variable_conflict use_column
declare
    observed_at timestamptz;
    answer      hold_outcome;
begin
    perform check_call(refresh.mutex_group, refresh.mutex_mode, refresh.mutex_id, refresh.owner_session);
    perform check_text('status_data', refresh.status_data, 65536);

    update hold h
    set captured_since = clock_timestamp(),
        status_data = coalesce(nullif(refresh.status_data, ''), h.status_data)
    where h.mutex_group = refresh.mutex_group and h.mutex_mode = refresh.mutex_mode and h.mutex_id = refresh.mutex_id
      and h.owner_session = refresh.owner_session
      and (refresh.fencing_token is null or h.fencing_token = refresh.fencing_token)
      and (h.expires_at is null or h.expires_at >= clock_timestamp())
    returning 'refreshed', h.*, h.captured_since, null, null, null
    into answer;
    if found then
        if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
            perform set_config('synchronous_commit', 'on', true);
        end if;
        return answer;
    end if;

    observed_at := clock_timestamp();
    select 'busy', h.*, observed_at, null, null, null into answer from hold h
    where h.mutex_group = refresh.mutex_group and h.mutex_mode = refresh.mutex_mode and h.mutex_id = refresh.mutex_id
      and h.owner_session <> refresh.owner_session
      and (h.expires_at is null or h.expires_at >= observed_at)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := refresh.mutex_group;
        answer.mutex_mode := refresh.mutex_mode;
        answer.mutex_id := refresh.mutex_id;
        answer.observed_at := observed_at;
    end if;
    return answer;
end
$function$

-- Raises PM003 (an argument that cannot be accepted).
CREATE OR REPLACE FUNCTION pgmutex.refuse_input(problem text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    raise exception using errcode = 'PM003', message = problem,
        hint = 'Nothing was changed. The limits are in the comments of table mutex_model and its check constraints.';
end
$function$

-- Raises PM001 (isolation level) or PM002 (standby).
CREATE OR REPLACE FUNCTION pgmutex.refuse_transaction()
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if pg_is_in_recovery() then
        raise exception using errcode = 'PM002',
            message = 'pgmutex cannot decide on a standby',
            hint = 'Connect to the primary, for example with target_session_attrs=read-write.';
    end if;
    raise exception using errcode = 'PM001',
        message = format('pgmutex cannot decide in a %s transaction: its snapshot may be older than the lock', current_setting('transaction_isolation')),
        hint = 'Call it on its own, or begin the transaction with: begin isolation level read committed';
end
$function$

-- Gives a mutex back. Outcome: released (the row is the hold that was); not_held (nothing to release, or it was already over); busy (held by another, or a fenced write of this holder is still under way). With fencing_token, only that very hold is released. durable => false does not wait for the disk: only for a call that is a transaction of its own.
CREATE OR REPLACE FUNCTION pgmutex.release(mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint DEFAULT NULL::bigint, durable boolean DEFAULT true)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
#variable_conflict use_column
declare
    decided_at timestamptz;
    answer     hold_outcome;
begin
    perform check_call(release.mutex_group, release.mutex_mode, release.mutex_id, release.owner_session);

    perform pg_advisory_xact_lock(mutex_key(release.mutex_group, release.mutex_mode, release.mutex_id));

    for attempt in 1..2 loop
        decided_at := clock_timestamp();
        select case when h.expires_at < decided_at then 'not_held' else 'released' end, h.*, decided_at, null, null, null
        into answer from hold h
        where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
          and h.owner_session = release.owner_session
          and (release.fencing_token is null or h.fencing_token = release.fencing_token)
        for update skip locked;
        exit when found or attempt = 2;
        -- Nothing, or a locked row. A refresh on its way is waited out here: this lock conflicts with its lock, but not with
        -- the lock of a fence, which a transaction may keep for long. What is still locked afterwards is fenced.
        perform 1 from hold h
        where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
          and h.owner_session = release.owner_session
          and (release.fencing_token is null or h.fencing_token = release.fencing_token)
        for no key update;
        exit when not found;
    end loop;

    if answer.outcome is not null then
        delete from hold h
        where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
          and h.permit = answer.permit;
        -- If a crash loses this, the hold only lasts until its rule ends it. Never for a hold that nothing else would end,
        -- and never unasked: in a larger transaction it would weaken the caller's own data.
        if not release.durable and isfinite(answer.expires_at) and current_setting('synchronous_commit') <> 'off' then
            perform set_config('synchronous_commit', 'off', true);
        end if;
        return answer;
    end if;

    -- Another's hold, or our own behind a fence: either way it stays.
    select 'busy', h.*, decided_at, null, null, null into answer from hold h
    where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
      and (h.expires_at is null or h.expires_at >= decided_at)
      and (release.fencing_token is null or h.owner_session <> release.owner_session or h.fencing_token = release.fencing_token)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := release.mutex_group;
        answer.mutex_mode := release.mutex_mode;
        answer.mutex_id := release.mutex_id;
        answer.observed_at := decided_at;
    end if;
    return answer;
end
$function$

-- Used by evict and force_release; not called directly.
CREATE OR REPLACE FUNCTION pgmutex.remove_hold(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint, custom_rule_only boolean)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    answer hold_outcome;
begin
    perform pg_advisory_xact_lock(mutex_key(remove_hold.mutex_group, remove_hold.mutex_mode, remove_hold.mutex_id));
    for attempt in 1..2 loop
        select 'released', h.*, clock_timestamp(), h.owner_session, h.owner_name, h.fencing_token into answer from hold h
        where h.mutex_group = remove_hold.mutex_group and h.mutex_mode = remove_hold.mutex_mode and h.mutex_id = remove_hold.mutex_id
          and (remove_hold.fencing_token is null or h.fencing_token = remove_hold.fencing_token)
          and not (remove_hold.custom_rule_only and h.auto_release_rule in ('', 'never', 'timeout', 'deadline', 'connection'))
        order by h.permit
        limit 1
        for update skip locked;
        if found then
            delete from hold h
            where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
              and h.permit = answer.permit;
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

    select 'busy', h.*, clock_timestamp(), null, null, null into answer from hold h
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
$function$

-- Says whether a mutex is free: outcome free, captured_by_me or captured_by_other and the hold. A hold that is over is removed.
CREATE OR REPLACE FUNCTION pgmutex.request(mutex_group text, mutex_mode text, mutex_id text, owner_session text)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
#variable_conflict use_column
declare
    decided_at timestamptz;
    answer     hold_outcome;
begin
    perform check_call(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session);

    for attempt in 1..2 loop
        decided_at := clock_timestamp();
        select case when h.expires_at < decided_at then 'over'
                    when h.owner_session = request.owner_session then 'captured_by_me'
                    else 'captured_by_other' end,
               h.*, decided_at, null, null, null
        into answer from hold h
        where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
        order by h.expires_at < decided_at nulls first, h.owner_session <> request.owner_session, h.permit
        limit 1;
        exit when answer.outcome is distinct from 'over' or attempt = 2;

        -- Over, and so it is in the way of people who look: evicted as capture would, behind the same lock.
        perform pg_advisory_xact_lock(mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id));
        perform 1 from hold h
        where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
          and h.permit = answer.permit and h.fencing_token = answer.fencing_token and h.expires_at < clock_timestamp()
        for update skip locked;
        if found then
            delete from hold h
            where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
              and h.permit = answer.permit;
        end if;
    end loop;

    if answer.outcome = 'over' then
        -- Its row is locked by a write behind its fence: nobody can capture it before that ends.
        answer.outcome := case when answer.owner_session = request.owner_session then 'captured_by_me' else 'captured_by_other' end;
    elsif answer.outcome is null then
        answer.outcome := 'free';
        answer.mutex_group := request.mutex_group;
        answer.mutex_mode := request.mutex_mode;
        answer.mutex_id := request.mutex_id;
        answer.observed_at := decided_at;
    end if;
    return answer;
end
$function$

-- When a hold under this rule is over: null if the rule is not one of time. A timeout that is no number, and a deadline that is no time, count as 300 seconds.
CREATE OR REPLACE FUNCTION pgmutex.rule_ends_at(rule text, config text, captured_since timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
declare
    longest constant bigint := 3153600000;  -- 100 years in seconds; more counts as for ever
    seconds bigint := 300;
    deadline timestamptz;
    trimmed text;
begin
    if rule = 'deadline'
       and config ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$' then
        begin
            deadline := config::timestamptz;
            -- The years that can be written so in UTC, which is how clients write it back.
            if deadline >= '0001-01-01 00:00:00+00' and deadline < '10000-01-01 00:00:00+00' then
                return deadline;
            end if;
        exception when others then
            null;  -- the 31st of February: it counts as the fallback, like any other config that makes no sense
        end;
    elsif rule = 'timeout' then
        trimmed := btrim(config, E' \t\r\n');
        if trimmed ~ '^[+-]?[0-9]+$' then
            if length(trimmed) > 18 or trimmed::bigint not between -longest and longest then
                return case when left(trimmed, 1) = '-' then '-infinity' else 'infinity' end;
            end if;
            seconds := trimmed::bigint;
        end if;
    elsif rule is distinct from 'deadline' then
        return null;
    end if;
    if captured_since not between '4600-01-01 00:00:00+00 BC' and '294000-01-01 00:00:00+00' then
        -- So near an end of the calendar that the sum might leave it.
        return case when captured_since > 'epoch' then 'infinity' else '-infinity' end;
    end if;
    return captured_since + make_interval(secs => seconds);
end
$function$

-- Removes up to batch holds that are over (at most 1000) and says how many. Not needed for correctness: a hold that is over stops nobody. Call it now and then, until it answers 0, to keep the table small.
CREATE OR REPLACE FUNCTION pgmutex.sweep(batch integer DEFAULT 1000)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
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
    for candidate in select h.* from hold h where h.expires_at < started_at loop
        exit when swept >= sweep.batch or locked >= 1000;
        -- Never waits: whoever has the lock is deciding about this mutex and will evict the hold itself.
        continue when not pg_try_advisory_xact_lock(mutex_key(candidate.mutex_group, candidate.mutex_mode, candidate.mutex_id));
        locked := locked + 1;
        perform 1 from hold h
        where h.mutex_group = candidate.mutex_group and h.mutex_mode = candidate.mutex_mode and h.mutex_id = candidate.mutex_id
          and h.permit = candidate.permit and h.fencing_token = candidate.fencing_token and h.expires_at < started_at
        for update skip locked;
        if found then
            delete from hold h
            where h.mutex_group = candidate.mutex_group and h.mutex_mode = candidate.mutex_mode and h.mutex_id = candidate.mutex_id
              and h.permit = candidate.permit;
            if found then
                swept := swept + 1;
            end if;
        end if;
    end loop;
    return swept;
end
$function$

-- privileges of everybody ---
