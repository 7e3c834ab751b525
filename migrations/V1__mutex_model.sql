-- The truth about mutexes: one row of mutex_model is one hold.
--
-- Every name in these files is unqualified. The migrator sets search_path to the schema it installs into, pg_temp last,
-- and the functions that programs call keep that path (`set search_path from current`): the same text serves any schema, and
-- a temporary table of the caller's cannot stand in for ours. What they call in turn finds the path kept, and does without,
-- because keeping it once more costs about as much as a whole decision. That goes only for functions that declare nothing of
-- a type of ours: such a name is looked up once a session, by whoever calls first and with their path.

-- Fencing tokens --------------------------------------------------------------------------------------------------------

create table token_generation (
    only_row          boolean primary key default true constraint token_generation_has_one_row check (only_row),
    generation        bigint  not null constraint generation_leaves_room_for_tokens check (generation between 1 and 8388607),
    system_identifier bigint  not null,
    timeline          integer not null
);

comment on table token_generation is
    'One row: the server that gave the last fencing tokens. A token is generation * 2^40 + a sequence number. The generation '
    'rises when the server turns out to be another one (failover, restored dump, pg_upgrade), whose sequence may have fallen behind.';
comment on column token_generation.only_row is 'Always true: there is one row.';
comment on column token_generation.generation is 'The generation of the tokens given now.';
comment on column token_generation.system_identifier is 'The cluster that gave the last tokens; compared when a client connects or migrates.';
comment on column token_generation.timeline is 'The timeline of the server that gave the last tokens; compared at each capture.';

create sequence fencing_token_sequence;
comment on sequence fencing_token_sequence is 'Numbers the fencing tokens within one generation.';

-- Right at once after a promotion, when pg_control_checkpoint() still names the old timeline.
create function current_timeline() returns integer
language sql volatile parallel unsafe
as $$
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer
$$;
comment on function current_timeline() is 'The timeline this primary writes.';

insert into token_generation (generation, system_identifier, timeline)
select greatest(1, current_timeline()), control.system_identifier, current_timeline()
from pg_control_system() control;

create function bump_generation() returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
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
$$;
comment on function bump_generation() is
    'Raises the generation of fencing tokens, so that every later token is larger than every earlier one. It rises by itself '
    'after a failover; call this after a recovery that kept timeline and cluster but lost data, such as a restored snapshot of the disk.';

create function ensure_generation() returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
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
$$;
comment on function ensure_generation() is
    'Raises the generation of fencing tokens if this is not the server that gave the last ones. Clients call it when they connect and migrate.';

-- Called where the path is kept already: keeping it once more would cost more than the rest of this function.
create function draw_fencing_token() returns bigint
language plpgsql volatile parallel unsafe
as $$
declare
    current_generation bigint;
begin
    select t.generation into current_generation from token_generation t where t.timeline = current_timeline();
    if not found then
        current_generation := ensure_generation();
    end if;
    return (current_generation << 40) + nextval('fencing_token_sequence');
end
$$;
comment on function draw_fencing_token() is 'The next fencing token, for the functions of this schema.';

create function next_fencing_token() returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return draw_fencing_token();
end
$$;
comment on function next_fencing_token() is
    'The next fencing token: larger than every one given before, also after a failover. For rows that another program inserts.';

-- Rules that end a hold -------------------------------------------------------------------------------------------------

-- Total: any two texts and any time give an answer, so a row that another program wrote badly cannot stop a capture, a list or a sweep.
-- Truly immutable: an interval of seconds does not depend on the time zone, and a deadline without an offset is not accepted.
create function rule_ends_at(rule text, config text, captured_since timestamptz) returns timestamptz
language plpgsql immutable parallel unsafe  -- its EXCEPTION block begins a subtransaction
as $$
declare
    longest constant bigint := 3153600000;  -- 100 years in seconds; more counts as for ever
    seconds bigint := 300;
    deadline timestamptz;
    trimmed text;
begin
    -- Nearly every row: decided at once, with nothing that costs more than it must (a regular expression does).
    if rule = 'timeout' and ltrim(config, '0123456789') = '' and octet_length(config) between 1 and 9
       and captured_since between '2000-01-01 00:00:00+00' and '9000-01-01 00:00:00+00' then
        return captured_since + make_interval(secs => config::integer);
    end if;
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
    elsif rule = 'connection' and config ~ '^[0-9]{1,18}$' then
        return null;  -- over with the database session, and not by time
    elsif rule = 'connection' and config ~ '^[0-9]{1,18} [0-9]{1,10}$' and split_part(config, ' ', 2)::bigint <= longest then
        seconds := split_part(config, ' ', 2)::bigint;
    elsif rule = 'timeout' then
        trimmed := btrim(config, E' \t\r\n');
        if trimmed ~ '^[+-]?[0-9]+$' then
            if length(trimmed) > 18 or trimmed::bigint not between -longest and longest then
                return case when left(trimmed, 1) = '-' then '-infinity' else 'infinity' end;
            end if;
            seconds := trimmed::bigint;
        end if;
    elsif rule is null or rule not in ('deadline', 'connection') then
        return null;
    end if;
    if captured_since not between '4600-01-01 00:00:00+00 BC' and '294000-01-01 00:00:00+00' then
        -- So near an end of the calendar that the sum might leave it.
        return case when captured_since > 'epoch' then 'infinity' else '-infinity' end;
    end if;
    return captured_since + make_interval(secs => seconds);
end
$$;
comment on function rule_ends_at(text, text, timestamptz) is
    'When time ends a hold under this rule: null if the rule is not one of time. A timeout that is no number, a deadline that '
    'is no time and a connection that names no session count as 300 seconds.';

-- Holds -----------------------------------------------------------------------------------------------------------------

-- One constraint for the whole row: the server reads and prepares each constraint again for each statement that writes a row, and
-- seventeen of them cost more than the rest of the insert. What is wrong is named as if there were one for each. Total for nulls, too:
-- the columns that must not be null say so themselves.
create function hold_is_within_limits(
    mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text,
    auto_release_rule text, auto_release_config text, status_data text, permit integer, permits integer, lock_parents boolean, lock_children boolean
) returns boolean
language plpgsql immutable parallel safe
as $$
declare
    limit_broken text;
begin
    -- All texts together within the smallest of the limits: each is. (What is null makes this null, and is looked at below.)
    if octet_length(mutex_group || mutex_mode || mutex_id || owner_session || owner_host || owner_id || owner_login || owner_name
                    || auto_release_rule || auto_release_config || coalesce(status_data, '')) <= 400
       and mutex_group || mutex_mode || mutex_id <> '' and permit = 0 and permits is null and not lock_parents and not lock_children then
        return true;
    end if;
    limit_broken := case
        when mutex_group = '' and mutex_mode = '' and mutex_id = '' then 'mutex_is_named'
        -- Together the key columns stay below the 2,704 bytes that an index entry can hold.
        when octet_length(mutex_group) > 400 then 'mutex_group_at_most_400_bytes'
        when octet_length(mutex_mode) > 400 then 'mutex_mode_at_most_400_bytes'
        when octet_length(mutex_id) > 1600 then 'mutex_id_at_most_1600_bytes'
        when octet_length(owner_session) > 400 then 'owner_session_at_most_400_bytes'
        when octet_length(owner_host) > 1600 then 'owner_host_at_most_1600_bytes'
        when octet_length(owner_id) > 400 then 'owner_id_at_most_400_bytes'
        when octet_length(owner_login) > 400 then 'owner_login_at_most_400_bytes'
        when octet_length(owner_name) > 400 then 'owner_name_at_most_400_bytes'
        when octet_length(auto_release_rule) > 400 then 'auto_release_rule_at_most_400_bytes'
        when octet_length(auto_release_config) > 1600 then 'auto_release_config_at_most_1600_bytes'
        when octet_length(status_data) > 65536 then 'status_data_at_most_65536_bytes'
        when permit < 0 then 'permit_is_0_or_a_number'
        when permits is not null and permit not between 1 and permits then 'permit_is_one_of_the_permits'
        when (lock_parents or lock_children) and not (left(mutex_id, 1) = '/' and right(mutex_id, 1) = '/')
            then 'lock_parents_and_lock_children_go_with_a_path'
    end;
    if limit_broken is not null then
        raise exception using errcode = 'check_violation', table = 'mutex_model', constraint = limit_broken,
            message = format('new row for relation "mutex_model" violates check constraint "%s"', limit_broken);
    end if;
    return true;
end
$$;
comment on function hold_is_within_limits(text, text, text, text, text, text, text, text, text, text, text, integer, integer, boolean, boolean) is
    'Whether a row of mutex_model is within its limits: raises check_violation with the name of the limit that is broken.';

create table mutex_model (
    mutex_group         text collate "C" not null default '',
    mutex_mode          text collate "C" not null default '',
    mutex_id            text collate "C" not null default '',
    owner_session       text collate "C" not null,
    owner_host          text             not null default '',
    owner_id            text             not null default '',
    owner_login         text             not null default '',
    owner_name          text             not null default '',
    auto_release_rule   text             not null default '',
    auto_release_config text             not null default '',
    captured_since      timestamptz      not null default clock_timestamp(),
    status_data         text,
    fencing_token       bigint           not null default next_fencing_token(),
    permit              integer          not null default 0,
    permits             integer,
    lock_parents        boolean          not null default false,
    lock_children       boolean          not null default false,
    held_since          timestamptz      not null default clock_timestamp(),
    expires_at          timestamptz      generated always as (rule_ends_at(auto_release_rule, auto_release_config, captured_since)) stored,
    ending              text,
    sweep_at            timestamptz      default clock_timestamp(),

    constraint mutex_model_pkey primary key (mutex_group, mutex_mode, mutex_id, permit),
    constraint mutex_model_is_within_limits check (hold_is_within_limits(
        mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name,
        auto_release_rule, auto_release_config, status_data, permit, permits, lock_parents, lock_children))
) with (
    -- More than half of each page free: a process refreshes all that it holds in one statement, so a page's rows may all be there twice
    -- until it commits, and only what fits on the page is a HOT update. At 70 a fifth of such refreshes is none, and the table, which has
    -- to make room after all, ends up larger than at 45.
    fillfactor = 45,
    -- Every release leaves a dead row and dead index entries. The share keeps a table of ten million holds from being vacuumed all the
    -- time, the number one of a hundred.
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);

-- No index on a column that a refresh changes (captured_since, expires_at, status_data): it would end HOT updates.
create index mutex_model_owner_session on mutex_model (owner_session);
-- What is held below a path, and is in the way of whoever wants the path, is one range of this index.
create index mutex_model_lock_parents on mutex_model (mutex_group, mutex_mode, mutex_id, permit) where lock_parents;
-- For a sweep, which must not read ten million holds to find the few that are over. A refresh does not write sweep_at: when its time has
-- come, a sweep looks at the hold, and sets it to the end that the hold has by then.
create index mutex_model_sweep_at on mutex_model (sweep_at);
-- The database sessions that holds are attached to, few for many holds: each is asked for once, not once for each of its holds.
create index mutex_model_connection on mutex_model ((auto_release_config collate "C")) where auto_release_rule = 'connection';

comment on table mutex_model is 'The holds: one row is one owner that has captured one mutex. Read it through the views held and hold.';
comment on column mutex_model.mutex_group is 'First part of the mutex id: the application or area.';
comment on column mutex_model.mutex_mode is 'Second part of the mutex id: the type of the object locked.';
comment on column mutex_model.mutex_id is 'Third part of the mutex id: which object of that type.';
comment on column mutex_model.owner_session is 'Who holds it: the identity that captures, refreshes and releases compare.';
comment on column mutex_model.owner_host is 'Host of the owner, for people.';
comment on column mutex_model.owner_id is 'User id of the owner.';
comment on column mutex_model.owner_login is 'Login of the owner, for people.';
comment on column mutex_model.owner_name is 'Name of the owner, for people.';
comment on column mutex_model.auto_release_rule is 'Code of the rule that ends the hold: timeout, deadline, connection, never (or empty), or a custom code.';
comment on column mutex_model.auto_release_config is 'Setting of the rule: whole seconds for timeout; an RFC 3339 time for deadline; for connection the number of a database session, and perhaps a space and whole seconds.';
comment on column mutex_model.captured_since is 'Database time of the capture or of the last refresh; a timeout counts from here.';
comment on column mutex_model.status_data is 'Free text of the holder.';
comment on column mutex_model.fencing_token is 'Larger for each later capture of the mutex; a refresh keeps it.';
comment on column mutex_model.permit is '0: the hold is exclusive. Else it is shared, and this is the number of its permit.';
comment on column mutex_model.permits is 'How many may share the mutex while this hold lasts, itself included; null: any number.';
comment on column mutex_model.lock_parents is 'For a path of a tree: whether nobody may capture a path above it. False for plain mutexes.';
comment on column mutex_model.lock_children is 'For a path of a tree: whether nobody may capture a path below it. False for plain mutexes.';
comment on column mutex_model.held_since is 'Database time at which this hold began; refreshes leave it.';
comment on column mutex_model.expires_at is 'When the rule ends the hold, worked out from rule, setting and captured_since; null if the rule is not one of time.';
comment on column mutex_model.ending is 'Why the hold is about to be removed against its holder''s will, for the audit; null in every row that is there.';
comment on column mutex_model.sweep_at is 'When a sweep is to look at the hold; never later than expires_at. It begins as the time at which the row is written, whoever writes it; null: time does not end the hold.';
