-- Who had which mutex when: a table of what happened, written in the transaction in which it happens. Off until somebody switches it
-- on, and until then nothing calls anything in this file.

create sequence audit_number_sequence;
comment on sequence audit_number_sequence is 'Numbers the events of the audit.';

create table audit (
    at               timestamptz      not null,
    number           bigint           not null default nextval('audit_number_sequence'),
    event            text             not null,
    mutex_group      text collate "C" not null,
    mutex_mode       text collate "C" not null,
    mutex_id         text collate "C" not null,
    permit           integer          not null,
    fencing_token    bigint           not null,
    owner_session    text collate "C" not null,
    owner_host       text             not null,
    owner_id         text             not null,
    owner_login      text             not null,
    owner_name       text             not null,
    reason           text,
    database_role    text             not null,
    client_address   inet,
    application_name text             not null,

    constraint audit_event_is_known check (event in ('captured', 'released', 'evicted', 'forced'))
) partition by range (at);

-- Who had this mutex when. What somebody did is found by time: a partition is a month.
create index audit_mutex on audit (mutex_group, mutex_mode, mutex_id, at);

comment on table audit is
    'Every beginning and end of a hold since enable_audit was called, in a partition for each month. Events are added and never changed: '
    'update, delete and truncate are refused, and keep_audit drops whole months that are past their time. (The owner of the table could '
    'drop it, or its triggers.)';
comment on column audit.at is 'Database time of the event.';
comment on column audit.number is 'Larger for a later event of the same database session; sets events of one time apart.';
comment on column audit.event is
    'captured; released (by the holder); evicted (its rule had ended it, and somebody noticed); forced (taken away by force_release, or by '
    'emptying the table). A hold that changes between exclusive and shared, or its owner, is released and captured.';
comment on column audit.mutex_group is 'First part of the mutex id.';
comment on column audit.mutex_mode is 'Second part of the mutex id.';
comment on column audit.mutex_id is 'Third part of the mutex id.';
comment on column audit.permit is '0: the hold was exclusive. Else it was shared, and this was the number of its permit.';
comment on column audit.fencing_token is 'Token of the hold: what begins and ends one hold has the same.';
comment on column audit.owner_session is 'Whose hold it was: the owner''s session.';
comment on column audit.owner_host is 'Host of the owner.';
comment on column audit.owner_id is 'User id of the owner.';
comment on column audit.owner_login is 'Login of the owner.';
comment on column audit.owner_name is 'Name of the owner.';
comment on column audit.reason is 'For forced what force_release was told, for evicted the rule and its setting; else null.';
comment on column audit.database_role is 'The role that was logged in to the database when it happened; of an evicted hold, whoever noticed.';
comment on column audit.client_address is 'Address of that connection''s client (or of the pooler in between); null for a local socket.';
comment on column audit.application_name is 'What that client calls itself.';

-- Even the owner does not change an event by accident.
create function audit_only_grows() returns trigger
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    raise insufficient_privilege using message = format('events of the audit are not changed or removed (%s of table %I)', lower(tg_op), tg_table_name),
        hint = 'keep_audit drops whole months that are older than the retention.';
end
$$;
comment on function audit_only_grows() is 'Trigger: refuses to change or remove events of the audit.';

create trigger audit_only_grows before update or delete on audit for each row execute function audit_only_grows();
create trigger audit_is_not_emptied before truncate on audit for each statement execute function audit_only_grows();

-- Months --------------------------------------------------------------------------------------------------------------------

-- Not `partition of`: like brings the comments of the columns along.
create function make_audit_partition(name text, bounds text, events_from text) returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    reader text;
begin
    execute format('create table %I (like audit including defaults including constraints including comments)', name);
    -- Whoever may do this for the owner, a superuser perhaps, does not become the owner of events.
    execute format('alter table %I owner to %s', name, (select c.relowner::regrole from pg_class c where c.oid = 'audit'::regclass));
    execute format('revoke all on type %I from public', name);
    -- What default privileges have given away: whoever may read the audit reads it as a whole.
    for reader in
        select distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
        from pg_class c cross join aclexplode(c.relacl) a
        where c.oid = to_regclass(quote_ident(name)) and a.grantee <> c.relowner
    loop
        execute format('revoke all on table %I from %s', name, reader);
    end loop;
    execute format('comment on table %I is %L', name, 'A part of the audit: ' || bounds);
    execute format('create trigger audit_is_not_emptied before truncate on %I for each statement execute function audit_only_grows()', name);
    if events_from is not null then
        execute format('insert into %I (at, number, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token, owner_session, owner_host, '
                       'owner_id, owner_login, owner_name, reason, database_role, client_address, application_name) '
                       'select e.at, e.number, e.event, e.mutex_group, e.mutex_mode, e.mutex_id, e.permit, e.fencing_token, e.owner_session, '
                       'e.owner_host, e.owner_id, e.owner_login, e.owner_name, e.reason, e.database_role, e.client_address, e.application_name %s',
                       name, events_from);
    end if;
    execute format('alter table audit attach partition %I %s', name, bounds);
end
$$;
comment on function make_audit_partition(text, text, text) is 'Used by keep_audit; not called directly.';

-- For what no month has a place for, so that a missing partition fails no capture.
select make_audit_partition('audit_default', 'default', null);

-- Events keep the owner sessions of what is held now: for those who look after locks, not for those who look at them.
insert into object_role (kind, name, role)
values ('relation', 'audit', 'admin'), ('relation', 'audit_default', 'owner'), ('relation', 'audit_number_sequence', 'owner');

create function audit_partitions(out name text, out month timestamptz) returns setof record
language plpgsql volatile parallel unsafe
set search_path from current
set timezone = 'UTC'
as $$
begin
    return query
    select c.relname::text, to_timestamp(right(c.relname, 7), 'YYYY_MM')
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit'::regclass and c.relname ~ '^audit_[0-9]{4}_(0[1-9]|1[0-2])$';
end
$$;
comment on function audit_partitions() is 'The months that the audit has partitions for.';

-- Runs with the rights of its caller: who may drop a month may drop a month's events, and that is the owner alone.
--
-- The first lock is the strongest, on the whole: once it is granted no transaction that wrote an event is open, so nothing else is
-- waited for, and a capture cannot be in a circle with it. Captures that come meanwhile wait behind it, for at most 5 seconds: so this
-- gives up earlier. If there is nothing to do it keeps no lock at all; nor does it keep one while it looks, or two who look at once
-- would wait for each other: so it asks for the size of the default partition (0 until something is written there), and reads no row.
create function keep_audit(
    retention interval default '1 year', ahead interval default '3 months', out made integer, out moved bigint, out dropped integer
)
language plpgsql volatile parallel unsafe
set search_path from current
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
    now_is  timestamptz := clock_timestamp();
    missing timestamptz[];
    stale   text[];
    is_used boolean;
    month   timestamptz;
    name    text;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if retention is null or ahead is null
       or extract(epoch from retention) not between 0 and extract(epoch from interval '1000 years')
       or extract(epoch from ahead) not between 0 and extract(epoch from interval '10 years') then
        perform refuse_input('retention must be from 0 to 1000 years, and ahead from 0 to 10 years');
    end if;
    made := 0; moved := 0; dropped := 0;
    for attempt in 1..2 loop
        select array_agg(m.month order by m.month) into missing
        from generate_series(date_trunc('month', now_is), now_is + ahead, interval '1 month') m (month)
        where m.month not in (select p.month from audit_partitions() p);
        select array_agg(p.name) into stale from audit_partitions() p where p.month + interval '1 month' <= now_is - retention;
        is_used := pg_relation_size('audit_default') > 0;
        if missing is null and stale is null and not is_used then
            return;
        end if;
        exit when attempt = 2;
        lock table audit in access exclusive mode;
    end loop;

    foreach name in array coalesce(stale, '{}') loop
        execute format('drop table %I', name);
        dropped := dropped + 1;
    end loop;
    if is_used then
        alter table audit detach partition audit_default;
        alter table audit_default rename to audit_to_be_moved;
        perform make_audit_partition('audit_default', 'default', null);
        select count(*) into moved from audit_to_be_moved;
        select array_agg(distinct date_trunc('month', e.at)) || missing into missing from audit_to_be_moved e;
    end if;
    for month in select distinct m from unnest(missing) m order by m loop
        name := 'audit_' || to_char(month, 'YYYY_MM');
        perform make_audit_partition(
            name, format('for values from (%L) to (%L)', month, month + interval '1 month'),
            case when is_used then format('from audit_to_be_moved e where e.at >= %L and e.at < %L', month, month + interval '1 month') end);
        made := made + 1;
    end loop;
    if is_used then
        drop table audit_to_be_moved;
    end if;
end
$$;
comment on function keep_audit(interval, interval) is
    'Makes the partitions of the audit for this month and those of the time ahead, moves events that had no month into one, and drops the months '
    'that have wholly passed since longer than the retention: an event is kept for up to a month more. Call it now and then, from anywhere: '
    'where nothing is to do it does nothing. If the months have run out, captures wait while events are moved, some seconds for a million. '
    'Only for the owner of the schema.';

-- Events --------------------------------------------------------------------------------------------------------------------

-- Says nothing to whoever writes: a hold that cannot be recorded is not captured, and one that is rolled back leaves no event.
create function write_audit() returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    what text := 'released';
    why  text;
begin
    if tg_op = 'TRUNCATE' then
        insert into audit (at, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token,
                           owner_session, owner_host, owner_id, owner_login, owner_name,
                           reason, database_role, client_address, application_name)
        select clock_timestamp(), 'forced', h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.fencing_token,
               h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
               'truncate', session_user, inet_client_addr(), current_setting('application_name')
        from hold h;
        return null;
    end if;
    if tg_op <> 'INSERT' then
        if old.ending is not null then
            -- Only the functions that remove a hold against its holder's will write there.
            what := split_part(old.ending, ' ', 1);
            why := nullif(substr(old.ending, length(what) + 2), '');
        elsif hold_is_over(old.auto_release_rule, old.auto_release_config, old.expires_at, clock_timestamp()) then
            what := 'evicted';
        end if;
        if what = 'evicted' then
            why := rtrim(old.auto_release_rule || ' ' || old.auto_release_config);
        end if;
        insert into audit (at, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token,
                           owner_session, owner_host, owner_id, owner_login, owner_name,
                           reason, database_role, client_address, application_name)
        values (clock_timestamp(), what, old.mutex_group, old.mutex_mode, old.mutex_id, old.permit, old.fencing_token,
                old.owner_session, old.owner_host, old.owner_id, old.owner_login, old.owner_name,
                why, session_user, inet_client_addr(), current_setting('application_name'));
    end if;
    if tg_op <> 'DELETE' then
        insert into audit (at, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token,
                           owner_session, owner_host, owner_id, owner_login, owner_name,
                           reason, database_role, client_address, application_name)
        values (clock_timestamp(), 'captured', new.mutex_group, new.mutex_mode, new.mutex_id, new.permit, new.fencing_token,
                new.owner_session, new.owner_host, new.owner_id, new.owner_login, new.owner_name,
                null, session_user, inet_client_addr(), current_setting('application_name'));
    end if;
    return null;
end
$$;
comment on function write_audit() is 'Trigger: writes the beginnings and ends of holds into the audit.';

create function audit_is_on() returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    return exists (select from pg_trigger t where t.tgrelid = 'mutex_model'::regclass and t.tgname = 'audit_hold');
end
$$;
comment on function audit_is_on() is 'Whether enable_audit has switched the audit on.';

-- Holds first and then the audit: the order in which a capture takes them.
create function enable_audit() returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '2s'
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if audit_is_on() then
        return false;
    end if;
    -- Against row locks, too: whoever has locked a hold that it removes has seen that there is no audit.
    lock table mutex_model in exclusive mode;
    if audit_is_on() then
        return false;
    end if;
    -- Whatever is older than a retention is left to a call that says one.
    perform keep_audit('1000 years');
    create trigger audit_hold after insert or delete on mutex_model
    for each row execute function write_audit();
    -- No refresh writes these columns.
    create trigger audit_change after update of mutex_group, mutex_mode, mutex_id, permit, owner_session, fencing_token on mutex_model
    for each row when ((old.mutex_group, old.mutex_mode, old.mutex_id, old.permit, old.owner_session, old.fencing_token)
                       is distinct from (new.mutex_group, new.mutex_mode, new.mutex_id, new.permit, new.owner_session, new.fencing_token))
    execute function write_audit();
    create trigger audit_truncate before truncate on mutex_model
    for each statement execute function write_audit();
    return true;
end
$$;
comment on function enable_audit() is
    'Has every beginning and end of a hold written into table audit from now on, and says whether that is new. Waits up to 2 seconds for '
    'transactions that have captured something. Only for the owner of the schema.';

create function disable_audit() returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if not audit_is_on() then
        return false;
    end if;
    lock table mutex_model in access exclusive mode;
    if not audit_is_on() then
        return false;
    end if;
    drop trigger audit_hold on mutex_model;
    drop trigger audit_change on mutex_model;
    drop trigger audit_truncate on mutex_model;
    return true;
end
$$;
comment on function disable_audit() is
    'Writes no more events into table audit, which stays, and says whether that is new. Only for the owner of the schema.';
