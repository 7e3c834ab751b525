-- The table of m3-mutex, a package for Django, as a view: an application that uses the package as it is keeps working, and excludes those
-- who use the functions of this schema, and is excluded by them.
--
-- The package reads a row, thinks, and writes by the name of the mutex: it never says whose hold it means. In between the mutex may have
-- passed to another. So a read notes, in its database session, which hold it has shown last, and a write through the same session that
-- finds another hold of that mutex in its place does not touch it, nor does a DELETE that finds it refreshed since. What else the view keeps from doing harm:
-- * what is over is not shown, so the application goes straight to its INSERT, which captures by the database's clock;
-- * an INSERT is a capture, behind the mutex's lock: where another holds it, it fails;
-- * an UPDATE is a refresh; one that finds the hold gone fails, because the package would take its hold for granted;
-- * a DELETE, which may be a release or the eviction of what the application's clock takes for over, removes only what was captured or
--   refreshed through the view.
-- What is left: an application whose clock is ahead of the database's ends holds of its own kind too early by as much, as it always did.

alter table mutex_model add column through_m3_mutex boolean not null default false;
comment on column mutex_model.through_m3_mutex is
    'Whether the hold was captured or refreshed through the view m3_mutex: only such holds can be deleted through it before they are over.';

-- The package's reading of a timeout: what is no number counts as 300 seconds. The view shows and takes what it would write itself.
create function m3_mutex_config(rule text, config text) returns text
language plpgsql immutable parallel safe
set search_path from current
as $$
declare
    trimmed text := btrim(config, E' \t\r\n');
begin
    if rule is distinct from 'timeout' then
        return coalesce(config, '');
    elsif coalesce(trimmed !~ '^[+-]?[0-9]+$', true) then
        return '300';
    elsif left(trimmed, 1) = '-' then
        return trimmed;
    end if;
    trimmed := coalesce(nullif(ltrim(trimmed, '+0'), ''), '300');
    return case when length(trimmed) > 10 then '3153600000' else least(trimmed::bigint, 3153600000)::text end;
end
$$;
comment on function m3_mutex_config(text, text) is 'The setting of a rule as m3-mutex means it, such as this schema takes it.';

-- What writing through the view does ------------------------------------------------------------------------------------

-- While a statement writes, its own reading must not count as the application's.
create function m3_mutex_write_begins() returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform set_config('pgmutex.m3_writes', 'on', true), set_config('pgmutex.m3_has_written', '', true);
    return null;
end
$$;
comment on function m3_mutex_write_begins() is 'Before each statement that writes through a view m3_mutex.';

create function m3_mutex_write_ends() returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
declare
    seen        jsonb := nullif(current_setting('pgmutex.m3_read', true), '')::jsonb;
    has_written boolean := current_setting('pgmutex.m3_has_written', true) = 'on';
begin
    perform set_config('pgmutex.m3_writes', '', true), set_config('pgmutex.m3_read', '', false);
    if has_written then
        return null;
    elsif tg_op = 'UPDATE' and seen is not null
       and not exists (select from held h
                       where h.mutex_group = seen ->> 1 and h.mutex_mode = seen ->> 2 and h.mutex_id = seen ->> 3
                         and h.fencing_token = (seen ->> 0)::bigint) then
        raise unique_violation using
            message = format('mutex %L/%L/%L is no longer held: its hold ended before it could be refreshed', seen ->> 1, seen ->> 2, seen ->> 3),
            hint = 'Capture it again.',
            constraint = 'mutex_is_held';
    elsif tg_op = 'DELETE' and statement_timestamp() - transaction_timestamp() < interval '10 milliseconds' then
        -- Not in a larger transaction, which would keep the turns of up to 100 other mutexes to its end. (A driver that sends a statement
        -- in parts begins its transaction a moment earlier.)
        -- The package's own clearing away of what is over finds nothing here, because that is not shown.
        perform sweep(100);
    end if;
    return null;
end
$$;
comment on function m3_mutex_write_ends() is
    'After each statement that writes through a view m3_mutex: an UPDATE that meant the hold last read, which is gone, fails; a DELETE '
    'that removed nothing sweeps.';

create function m3_mutex_insert() returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    answer hold_outcome;
begin
    answer := capture(new.mutex_group, new.mutex_mode, new.mutex_id, new.owner_session, new.owner_host, new.owner_id, new.owner_login,
                      new.owner_name, coalesce(new.auto_release_rule, ''),
                      m3_mutex_config(new.auto_release_rule, new.auto_release_config), new.status_data);
    if answer.outcome = 'busy' then
        raise unique_violation using
            message = format('mutex %L/%L/%L %s %s since %s', new.mutex_group, new.mutex_mode, new.mutex_id,
                             case when answer.fencing_token = 0 then 'is waited for by' else 'is held by' end,
                             owner_in_words(answer.owner_name, answer.owner_login, answer.owner_session), answer.held_since),
            hint = 'Another was faster, or came before: the mutex was not captured.',
            constraint = 'mutex_is_held';
    end if;
    update mutex_model m set through_m3_mutex = true
    where m.mutex_group = answer.mutex_group and m.mutex_mode = answer.mutex_mode and m.mutex_id = answer.mutex_id
      and m.fencing_token = answer.fencing_token;
    perform set_config('pgmutex.m3_has_written', 'on', true);
    new.id := (answer.fencing_token & 9223372036854775807) % 2147483647 + 1;
    new.owner_host := answer.owner_host;
    new.owner_id := answer.owner_id;
    new.owner_login := answer.owner_login;
    new.owner_name := answer.owner_name;
    new.auto_release_rule := answer.auto_release_rule;
    new.auto_release_config := answer.auto_release_config;
    new.captured_since := answer.captured_since;
    new.status_data := answer.status_data;
    return new;
end
$$;
comment on function m3_mutex_insert() is
    'INSERT through a view m3_mutex: captures, or refreshes what the same session has. Where another holds the mutex or waits for it: unique_violation.';

-- What the mutex of a row was seen as by the application, if that is what its session has read last; null otherwise.
create function m3_mutex_token_read(mutex_group text, mutex_mode text, mutex_id text) returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    seen jsonb := nullif(current_setting('pgmutex.m3_read', true), '')::jsonb;
begin
    if seen ->> 1 = m3_mutex_token_read.mutex_group and seen ->> 2 = m3_mutex_token_read.mutex_mode
       and seen ->> 3 = m3_mutex_token_read.mutex_id then
        return (seen ->> 0)::bigint;
    end if;
    return null;
end
$$;
comment on function m3_mutex_token_read(text, text, text) is
    'The fencing token of the hold that this database session has last read through a view m3_mutex, if it was one of this mutex.';

create function m3_mutex_update() returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    refreshed   mutex_model;
    new_config  text := m3_mutex_config(new.auto_release_rule, new.auto_release_config);
    is_new_rule boolean := (new.auto_release_rule, new.auto_release_config) is distinct from (old.auto_release_rule, old.auto_release_config);
begin
    perform check_call(old.mutex_group, old.mutex_mode, old.mutex_id, old.owner_session);
    perform check_text('status_data', new.status_data, 65536);
    if (new.id, new.mutex_group, new.mutex_mode, new.mutex_id, new.owner_session, new.owner_host, new.owner_id, new.owner_login, new.owner_name)
       is distinct from
       (old.id, old.mutex_group, old.mutex_mode, old.mutex_id, old.owner_session, old.owner_host, old.owner_id, old.owner_login, old.owner_name) then
        perform refuse_input('a hold keeps its mutex and its owner: an UPDATE refreshes it, and changes status_data or the rule at most');
    elsif is_new_rule then
        perform check_rule(coalesce(new.auto_release_rule, ''), new_config);
    end if;

    update mutex_model m
    set captured_since = clock_timestamp(),
        status_data = new.status_data,
        auto_release_rule = case when is_new_rule then coalesce(new.auto_release_rule, '') else m.auto_release_rule end,
        auto_release_config = case when is_new_rule then new_config else m.auto_release_config end,
        through_m3_mutex = true
    where m.mutex_group = old.mutex_group and m.mutex_mode = old.mutex_mode and m.mutex_id = old.mutex_id
      and ((m.fencing_token & 9223372036854775807) % 2147483647 + 1)::integer = old.id
      and m.fencing_token = coalesce(m3_mutex_token_read(old.mutex_group, old.mutex_mode, old.mutex_id), m.fencing_token)
      and not hold_is_over(m.auto_release_rule, m.auto_release_config, m.expires_at, clock_timestamp())
    returning m.* into refreshed;
    if not found then
        raise unique_violation using
            message = format('mutex %L/%L/%L is no longer held: its hold ended before it could be refreshed',
                             old.mutex_group, old.mutex_mode, old.mutex_id),
            hint = 'Capture it again.',
            constraint = 'mutex_is_held';
    end if;
    perform be_durable(), set_config('pgmutex.m3_has_written', 'on', true);
    new.captured_since := refreshed.captured_since;
    new.auto_release_rule := refreshed.auto_release_rule;
    new.auto_release_config := refreshed.auto_release_config;
    return new;
end
$$;
comment on function m3_mutex_update() is
    'UPDATE through a view m3_mutex: refreshes the hold, by the database''s clock whatever captured_since is sent, and takes status_data '
    'and the rule. Where the hold read before is gone, or another''s by now: unique_violation.';

create function m3_mutex_delete() returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    hold_now mutex_model;
    token    bigint := m3_mutex_token_read(old.mutex_group, old.mutex_mode, old.mutex_id);
    since    timestamptz := case when token is not null then current_setting('pgmutex.m3_read')::jsonb ->> 4 end;
    answer   hold_outcome;
    why_not  text;
begin
    -- A refresh on its way is waited out, as in release, and none comes in between any more: whoever took the hold for over must not
    -- remove it after its holder has refreshed it in time.
    perform lock_mutex(old.mutex_group, old.mutex_mode, old.mutex_id);
    select m.* into hold_now from mutex_model m
    where m.mutex_group = old.mutex_group and m.mutex_mode = old.mutex_mode and m.mutex_id = old.mutex_id
      and ((m.fencing_token & 9223372036854775807) % 2147483647 + 1)::integer = old.id
    for no key update;
    if not found then
        return null;
    elsif hold_now.fencing_token <> token then
        why_not := 'it is another hold than the one read before';
    elsif hold_now.captured_since <> since then
        why_not := 'it has been refreshed since it was read';
    elsif not hold_now.through_m3_mutex
          and not hold_is_over(hold_now.auto_release_rule, hold_now.auto_release_config, hold_now.expires_at, clock_timestamp()) then
        why_not := 'it was not captured through this view, and is not over';
    else
        answer := release(old.mutex_group, old.mutex_mode, old.mutex_id, old.owner_session, hold_now.fencing_token);
        if answer.outcome <> 'busy' then
            perform set_config('pgmutex.m3_has_written', 'on', true);
            return old;
        end if;
        why_not := 'a write behind its fence is under way';
    end if;
    -- On one line, whatever the names contain: a line of the log must not be forged.
    raise warning using message = regexp_replace(format(
        'pgmutex: the hold of mutex %L/%L/%L by %s stays: %s',
        old.mutex_group, old.mutex_mode, old.mutex_id, owner_in_words(old.owner_name, old.owner_login, old.owner_session), why_not), '[[:cntrl:]]', ' ', 'g');
    return null;
end
$$;
comment on function m3_mutex_delete() is
    'DELETE through a view m3_mutex: releases the hold, if it was captured or refreshed through the view. Any other stays until it is over, '
    'and so does one that has come into the place of the one read before, or was refreshed since; a warning tells.';

-- The view --------------------------------------------------------------------------------------------------------------

create function m3_mutex_relation(in_schema name) returns pg_class
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    found_relation pg_class;
begin
    if in_schema is null or to_regnamespace(quote_ident(in_schema)) is null then
        perform refuse_input(format('there is no schema %s', coalesce(quote_ident(in_schema), 'null')));
    end if;
    select c.* into found_relation from pg_class c
    where c.relnamespace = to_regnamespace(quote_ident(in_schema)) and c.relname = 'm3_mutex';
    return found_relation;
end
$$;
comment on function m3_mutex_relation(name) is 'What is called m3_mutex in a schema, if anything is.';

create function is_m3_mutex_view(relation oid) returns boolean
language sql volatile parallel unsafe
set search_path from current
as $$
    select exists (select from pg_trigger t where t.tgrelid = relation and t.tgfoid = 'm3_mutex_insert()'::regprocedure)
$$;
comment on function is_m3_mutex_view(oid) is 'Whether this is a view that install_m3_mutex of this schema made.';

create function install_m3_mutex(in_schema name default 'public', to_role name default null) returns void
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
declare
    taken pg_class := m3_mutex_relation(in_schema);
    owner name := (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = 'mutex_model'::regclass);
begin
    if taken.relkind in ('r', 'p') then
        perform refuse_input(format(
            'there is a table m3_mutex in schema %I: adopt_m3_mutex(%L) keeps it under another name, imports its rows and puts the view in its place',
            in_schema, in_schema));
    elsif taken.oid is not null and not is_m3_mutex_view(taken.oid) then
        perform refuse_input(format('there is something else called m3_mutex in schema %I: rename it first', in_schema));
    elsif to_role is not null and to_regrole(quote_ident(to_role)) is null then
        perform refuse_input(format('there is no role %I', to_role));
    end if;

    -- The package's id is a positive number of 32 bits. Two holds share one only if so many captures lie between them, or a failover has
    -- made the sequence run backwards. A refresh does not change it, and stays a HOT update.
    if to_regclass('mutex_model_m3_mutex_id') is null then
        create index mutex_model_m3_mutex_id on mutex_model ((((fencing_token & 9223372036854775807) % 2147483647 + 1)::integer));
    end if;
    execute format($view$
        create or replace view %1$I.m3_mutex as
        select ((h.fencing_token & 9223372036854775807) %% 2147483647 + 1)::integer as id,
               h.mutex_group::varchar, h.mutex_mode::varchar, h.mutex_id::varchar,
               h.owner_session::varchar, h.owner_host, h.owner_id::varchar, h.owner_login::varchar, h.owner_name::varchar,
               h.auto_release_rule::varchar,
               -- The package casts it to an integer where it clears away.
               case when h.auto_release_rule <> 'timeout' or h.auto_release_config ~ '^[+-]?[0-9]{1,9}$' then h.auto_release_config
                    when h.auto_release_config ~ '^[[:space:]]*[+]?[0-9]+[[:space:]]*$' then '2147483647'
                    when h.auto_release_config ~ '^[[:space:]]*-[0-9]+[[:space:]]*$' then '-1'
                    else '300' end::varchar as auto_release_config,
               h.captured_since, h.status_data
        from %2$I.live_hold h
        where case
                  -- One row of a shared mutex, as the package expects.
                  when h.permit > 0 and exists (select from %2$I.live_hold o
                                                where o.mutex_group = h.mutex_group and o.mutex_mode = h.mutex_mode and o.mutex_id = h.mutex_id
                                                  and o.permit < h.permit) then false
                  when current_setting('pgmutex.m3_writes', true) = 'on' then true
                  else set_config('pgmutex.m3_read', jsonb_build_array(h.fencing_token, h.mutex_group, h.mutex_mode, h.mutex_id, h.captured_since)::text, false) is not null
              end
        $view$, in_schema, current_schema());
    execute format('alter view %I.m3_mutex owner to %I', in_schema, owner);
    execute format('revoke all on %I.m3_mutex from public', in_schema);
    execute format('comment on view %I.m3_mutex is %L', in_schema,
                   'What is held, as the table of the Django package m3-mutex. INSERT captures, UPDATE refreshes, DELETE releases.');
    if not is_m3_mutex_view(format('%I.m3_mutex', in_schema)::regclass) then
        execute format('create trigger m3_mutex_write_begins before insert or update or delete on %I.m3_mutex
                        for each statement execute function m3_mutex_write_begins()', in_schema);
        execute format('create trigger m3_mutex_insert instead of insert on %I.m3_mutex for each row execute function m3_mutex_insert()', in_schema);
        execute format('create trigger m3_mutex_update instead of update on %I.m3_mutex for each row execute function m3_mutex_update()', in_schema);
        execute format('create trigger m3_mutex_delete instead of delete on %I.m3_mutex for each row execute function m3_mutex_delete()', in_schema);
        execute format('create trigger m3_mutex_write_ends after insert or update or delete on %I.m3_mutex
                        for each statement execute function m3_mutex_write_ends()', in_schema);
    end if;
    if to_role is not null then
        execute format('grant usage on schema %I to %I', in_schema, to_role);
        execute format('grant select, insert, update, delete on %I.m3_mutex to %I', in_schema, to_role);
    end if;
end
$$;
comment on function install_m3_mutex(name, name) is
    'Puts a view m3_mutex into a schema, which the Django package m3-mutex takes for its table, and grants it to the role of the application. '
    'Repeating it is safe. Where there is the package''s own table: adopt_m3_mutex. In Django: manage.py migrate --fake m3_mutex. '
    'For the owner of this schema.';

create function uninstall_m3_mutex(in_schema name default 'public') returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
declare
    installed pg_class := m3_mutex_relation(in_schema);
begin
    if installed.oid is null then
        return false;
    elsif not is_m3_mutex_view(installed.oid) then
        perform refuse_input(format('m3_mutex in schema %I is not the view that install_m3_mutex makes', in_schema));
    end if;
    execute format('drop view %I.m3_mutex', in_schema);
    if not exists (select from pg_trigger t where t.tgfoid = 'm3_mutex_insert()'::regprocedure) then
        drop index if exists mutex_model_m3_mutex_id;
    end if;
    return true;
end
$$;
comment on function uninstall_m3_mutex(name) is 'Drops the view that install_m3_mutex made; the holds stay. Says whether there was one.';

-- The old table ---------------------------------------------------------------------------------------------------------

create type m3_mutex_import as (
    id          text,
    mutex_group text,
    mutex_mode  text,
    mutex_id    text,
    outcome     text,
    problem     text
);
comment on type m3_mutex_import is
    'What became of one row of an old table: imported (problem: what it was taken for, if it did not quite make sense), over, or refused, and why.';

-- Nobody else may decide meanwhile, about anything: whoever has decided on a reading of the table keeps this waiting to the end of its
-- transaction, and whoever comes later reads what was imported. So no mutex needs its own lock, however many rows there are.
insert into object_role (kind, name, role) values ('type', 'm3_mutex_import', 'owner');

create function import_m3_mutex(from_table regclass) returns setof m3_mutex_import
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
set row_security = off  -- a row that is not seen is a hold that is not imported
as $$
#variable_conflict use_column
declare
    missing     text;
    imported_at timestamptz;
    old_row     record;
    answer      m3_mutex_import;
    config      text;
    in_the_way  hold;
    last_token  bigint := 0;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    elsif from_table is null then
        perform refuse_input('from_table must name a table that is there');
    end if;
    select string_agg(c.name, ', ' order by c.place) into missing
    from unnest('{id,mutex_group,mutex_mode,mutex_id,owner_session,owner_host,owner_id,owner_login,owner_name,auto_release_rule,'
                'auto_release_config,captured_since,status_data}'::text[]) with ordinality c (name, place)
    where not exists (select from pg_attribute a where a.attrelid = from_table and a.attname = c.name and not a.attisdropped);
    if missing is not null then
        perform refuse_input(format('%s is not a table of m3-mutex: it has no %s', from_table, missing));
    elsif exists (select from pg_class c where c.oid = from_table and c.relkind not in ('r', 'p'))
       or exists (select from pg_attribute a join pg_type t on t.oid = a.atttypid
                  where a.attrelid = from_table and a.attnum > 0 and not a.attisdropped and t.typnamespace <> 'pg_catalog'::regnamespace) then
        -- Reading it would run its owner's functions with the rights of whoever imports.
        perform refuse_input(format('%s is not a table of m3-mutex: it is no plain table, or has columns of types that PostgreSQL does not bring', from_table));
    end if;

    lock table mutex_model in access exclusive mode;
    imported_at := clock_timestamp();
    select coalesce(max(m.fencing_token), 0) into last_token from mutex_model m;
    for old_row in execute format(
        'select id::text, mutex_group::text, mutex_mode::text, mutex_id::text, owner_session::text, owner_host::text, owner_id::text, '
        'owner_login::text, owner_name::text, auto_release_rule::text, auto_release_config::text, '
        -- So near the end of the calendar that another time zone leaves it: no time, like infinity.
        'case when captured_since between ''4700-01-01 BC'' and ''294000-01-01'' then captured_since end::timestamptz as captured_since, status_data::text '
        'from %s t order by t.captured_since desc nulls last, t.id desc', from_table)
    loop
        answer := (old_row.id, old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, 'imported', null);
        config := m3_mutex_config(old_row.auto_release_rule, old_row.auto_release_config);
        if coalesce(old_row.auto_release_rule, '') in ('', 'never') then
            config := '';  -- the package asks for none either
        end if;
        if old_row.auto_release_rule = 'timeout' and config <> coalesce(old_row.auto_release_config, '') then
            answer.problem := format('auto_release_config %L counts as %s', old_row.auto_release_config, config);
        end if;
        -- No lock is taken inside: an error may undo what is done here.
        begin
            if old_row.captured_since is null or not isfinite(old_row.captured_since) then
                perform refuse_input('captured_since is no time');
            elsif old_row.auto_release_rule in ('deadline', 'connection') then
                perform refuse_input(format('auto_release_rule %L means something else to pgmutex', old_row.auto_release_rule));
            end if;
            perform check_call(old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, old_row.owner_session);
            perform check_text('owner_host', old_row.owner_host, 1600);
            perform check_text('owner_id', old_row.owner_id, 400);
            perform check_text('owner_login', old_row.owner_login, 400);
            perform check_text('owner_name', old_row.owner_name, 400);
            perform check_text('status_data', old_row.status_data, 65536);
            if rule_ends_at(old_row.auto_release_rule, config, old_row.captured_since) < imported_at then
                answer.outcome := 'over';
            else
                perform check_rule(coalesce(old_row.auto_release_rule, ''), config);
                -- A clock that was ahead, or a time zone that was another.
                if old_row.captured_since > imported_at then
                    answer.problem := concat_ws('; ', answer.problem,
                                                format('captured_since %s lies ahead: counts as now', old_row.captured_since));
                    old_row.captured_since := imported_at;
                end if;
                if old_row.mutex_group = 'pgmutex.pool' then
                    perform refuse_input('mutex_group pgmutex.pool is that of the session pools');
                end if;
            end if;
        exception when others then
            answer.outcome := 'refused';
            answer.problem := sqlerrm;
        end;

        if answer.outcome = 'imported' then
            delete from mutex_model m
            where m.mutex_group = old_row.mutex_group and m.mutex_mode = old_row.mutex_mode and m.mutex_id = old_row.mutex_id
              and hold_is_over(m.auto_release_rule, m.auto_release_config, m.expires_at, imported_at);
            in_the_way := null;
            select h.* into in_the_way from hold h
            where h.mutex_group = old_row.mutex_group and h.mutex_mode = old_row.mutex_mode and h.mutex_id = old_row.mutex_id
            order by h.permit
            limit 1;
            if not found and is_path(old_row.mutex_id) then
                select h.* into in_the_way
                from hold_in_the_way(old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, old_row.owner_session, 'exclusive', false) b
                join hold h on h.mutex_group = old_row.mutex_group and h.mutex_mode = old_row.mutex_mode and h.mutex_id = b.blocker_id
                           and h.permit = b.blocker_permit;
            end if;
            if in_the_way.fencing_token is null then
                insert into mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name,
                                         auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                                         through_m3_mutex)
                values (old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, old_row.owner_session, coalesce(old_row.owner_host, ''),
                        coalesce(old_row.owner_id, ''), coalesce(old_row.owner_login, ''), coalesce(old_row.owner_name, ''),
                        coalesce(old_row.auto_release_rule, ''), config, old_row.captured_since, old_row.status_data, draw_fencing_token(),
                        old_row.captured_since, true);
            else
                answer.outcome := 'refused';
                answer.problem := format(
                    case when in_the_way.fencing_token > last_token
                         then 'there is a later row of this mutex, of session %L captured at %s, which was kept'
                         else 'it is held here already, by session %L since %s' end,
                    in_the_way.owner_session, in_the_way.captured_since);
            end if;
        end if;
        return next answer;
    end loop;
    perform be_durable();
end
$$;
comment on function import_m3_mutex(regclass) is
    'Captures what the rows of an old table of m3-mutex hold, for their owners, under their rules and since the time they say, and tells of '
    'each row what became of it. A time without a time zone is read in the session''s. A row that makes no sense stops no other. '
    'Nobody may write to the old table meanwhile, or any more: adopt_m3_mutex sees to that. For the owner of this schema.';

create function adopt_m3_mutex(in_schema name default 'public', to_role name default null) returns setof m3_mutex_import
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
declare
    old_table pg_class := m3_mutex_relation(in_schema);
    grantee   name;
    privilege text;
begin
    if old_table.relkind is distinct from 'r' and old_table.relkind is distinct from 'p' then
        perform install_m3_mutex(in_schema, to_role);
        return;
    elsif to_regclass(format('%I.m3_mutex_before_pgmutex', in_schema)) is not null then
        perform refuse_input(format('there is a table m3_mutex_before_pgmutex in schema %I already: rename or drop it first', in_schema));
    end if;
    -- Whoever waits for the table from now on finds the view when this commits.
    execute format('lock table %I.m3_mutex in access exclusive mode', in_schema);
    old_table := m3_mutex_relation(in_schema);
    execute format('alter table %I.m3_mutex rename to m3_mutex_before_pgmutex', in_schema);
    return query select i.* from import_m3_mutex(old_table.oid::regclass) i;
    perform install_m3_mutex(in_schema, to_role);
    for grantee, privilege in
        select r.rolname, a.privilege_type
        from aclexplode(coalesce(old_table.relacl, acldefault('r', old_table.relowner))) a
        join pg_roles r on r.oid = a.grantee  -- never PUBLIC
        where a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
          -- Who only looked at the application's own holds is not to see everybody's.
          and exists (select from aclexplode(coalesce(old_table.relacl, acldefault('r', old_table.relowner))) w
                      where w.grantee = a.grantee and w.privilege_type in ('INSERT', 'UPDATE', 'DELETE'))
    loop
        execute format('grant %s on %I.m3_mutex to %I', privilege, in_schema, grantee);
    end loop;
end
$$;
comment on function adopt_m3_mutex(name, name) is
    'Replaces the table m3_mutex of the Django package m3-mutex by the view of install_m3_mutex, in one step, also while the application '
    'runs: the table stays as m3_mutex_before_pgmutex, its holds are imported (import_m3_mutex tells how), and the roles that could write '
    'to the table can use the view, except for PUBLIC: whoever could only read it would see the sessions of all holders there. Without such a table it only installs the view. For the owner of this schema and of the table.';
