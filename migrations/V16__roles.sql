-- Roles: what a database role may do with the objects of this schema, granted to roles that are there already, because on many managed
-- servers nobody may make one.
--
-- For those who write migrations: insert each new object into object_role, with the least role that may use it (functions that nobody but
-- the owner calls are inserted by V22__privileges, if its list names them), and end every later migration with
-- `select complete_grants();`. It takes from everybody what PostgreSQL gives everybody of a new function or type, and gives those who have
-- a role what is new in it.

create table object_role (
    kind text not null constraint kind_of_object check (kind in ('function', 'relation', 'type')),
    name name not null,
    role text not null constraint least_role check (role in ('reader', 'application', 'admin', 'owner')),

    constraint object_role_pkey primary key (kind, name)
);
comment on table object_role is
    'The objects of this schema that are ours, and who may use them: functions may be called, views and the history of migrations read, '
    'types named in functions of one''s own. Whoever may use more may use what those before may: reader, application, admin, owner.';
comment on column object_role.kind is 'function, relation (a table, view or sequence) or type.';
comment on column object_role.name is 'Its name in this schema; of a function, of all that are so named. It need not exist.';
comment on column object_role.role is 'The least role that may use it; owner: nobody but the owner of the schema.';

insert into object_role (kind, name, role)
select 'relation', n.name, 'reader'
from unnest('{held, waiting, blocking, pool_statistics, refinery_schema_history}'::name[]) n (name)
union all
select 'relation', n.name, 'application' from unnest('{hold, pool}'::name[]) n (name)
union all
select 'relation', n.name, 'owner'
from unnest('{mutex_model, mutex_waiter, mutex_listener, pool_session, token_generation, object_role, fencing_token_sequence,
              mutex_ticket_sequence, pool_session_id_seq, live_hold, role_mark, roles}'::name[]) n (name)
union all
select 'type', n.name, 'application' from unnest('{hold_outcome, pool_outcome}'::name[]) n (name)
union all
select 'function', n.name, 'application'
from unnest('{capture, refresh, release, request, fence, evict, list, list_count, list_waiting, holder_in_the_way, sweep, keep,
              capture_each, capture_all, release_each, release_owner, leave_line, attach_session, look_at_lines,
              ensure_generation, doctor,
              pool_get_session, pool_checkout, pool_success, pool_lock, pool_block, pool_inactive, pool_activate, pool_add, pool_update,
              pool_delete, pool_get, pool_find, pool_count, pool_count_active, pool_find_one_and_update, pool_delete_one,
              pool_list_indexes, pool_statistics}'::name[]) n (name)
union all
select 'function', n.name, 'admin'
from unnest('{force_release, bump_generation, pool_create_index, pool_drop_index}'::name[]) n (name);

-- A table of names would lose those that are renamed and keep those that are dropped, and one of numbers would mean others after a
-- restore. Privileges go with their roles, whatever happens to these.
create view role_mark as select null::text as reader, null::text as application, null::text as admin where false;
comment on view role_mark is
    'Marks who has which role: it is written down as the privilege to read the column of that name. What was granted by hand is no role, '
    'and is left alone.';
comment on column role_mark.reader is 'Readable by those with the role reader.';
comment on column role_mark.application is 'Readable by those with the role application.';
comment on column role_mark.admin is 'Readable by those with the role admin.';

create view roles as
select pg_get_userbyid(mark.grantee) as database_role, a.attname::text as role
from pg_attribute a cross join lateral aclexplode(a.attacl) mark
where a.attrelid = 'role_mark'::regclass and mark.privilege_type = 'SELECT'
union all
select pg_get_userbyid(n.nspowner), 'owner'
from pg_namespace n
where n.oid = (select c.relnamespace from pg_class c where c.oid = 'role_mark'::regclass);
comment on view roles is 'Who has which role, as grant_role gave it. Members of these database roles have it too.';
comment on column roles.database_role is 'Name of the database role.';
comment on column roles.role is 'owner, admin, application or reader.';

-- Which objects -----------------------------------------------------------------------------------------------------------

create function role_objects(role text) returns table (privilege text, object text)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    steps constant text[] := '{reader,application,admin,owner}';
begin
    return query
    select 'usage'::text, format('schema %I', current_schema())
    union all
    select 'execute', format('routine %s', p.oid::regprocedure)
    from object_role o join pg_proc p on p.proname = o.name and p.pronamespace = quote_ident(current_schema())::regnamespace
    where o.kind = 'function' and array_position(steps, o.role) <= array_position(steps, role_objects.role)
    union all
    select 'select', format('table %s', c.oid::regclass)
    from object_role o join pg_class c on c.relname = o.name and c.relnamespace = quote_ident(current_schema())::regnamespace
    where o.kind = 'relation' and c.relkind in ('r', 'p', 'v', 'm')
      and array_position(steps, o.role) <= array_position(steps, role_objects.role)
    union all
    select 'usage', format('type %s', t.oid::regtype)
    from object_role o join pg_type t on t.typname = o.name and t.typnamespace = quote_ident(current_schema())::regnamespace
    where o.kind = 'type' and array_position(steps, o.role) <= array_position(steps, role_objects.role);
end
$$;
comment on function role_objects(text) is 'What grant_role grants: privileges and objects that exist, as GRANT and REVOKE name them.';

-- What belongs to other roles than these, another program's objects in this schema, stays theirs.
create function hand_over(new_owner name, old_owners oid[]) returns void
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
declare
    objects   text[];
    object    text;
    m3_schema name;
begin
    select n.nspname into m3_schema
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relname = 'm3_mutex' and c.relkind = 'v' and c.relowner = any (hand_over.old_owners) and is_m3_mutex_view(c.oid)
      and not has_schema_privilege(hand_over.new_owner, n.oid, 'CREATE')
      and not (select r.rolsuper from pg_roles r where r.rolname = current_user);
    if found then
        raise insufficient_privilege using message = format(
            'to hand view %1$I.m3_mutex over to %2$I, it must be allowed to create objects there: have the owner of schema %1$I run: '
            'grant create on schema %1$I to %2$I (it can be revoked afterwards), or call uninstall_m3_mutex(%3$L) first',
            m3_schema, hand_over.new_owner, m3_schema);
    end if;
    -- All of them before the first is handed over: a table that is being read does not change hands.
    objects := array(
        -- Each once: a partition is among the parts of its table, too. The sequence of an identity column and the type of a table's rows follow their table.
        select format('%s %s', case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end,
                      c.oid::regclass)
        from object_role o
        join pg_class ours on ours.relname = o.name and ours.relnamespace = quote_ident(current_schema())::regnamespace
        join pg_class c on c.oid = ours.oid or ours.relkind = 'p' and c.oid in (select t.relid from pg_partition_tree(ours.oid) t)
        where o.kind = 'relation' and c.relkind in ('r', 'p', 'v', 'm', 'S') and c.relowner = any (hand_over.old_owners)
          and not (c.relkind = 'S' and exists (select from pg_depend d
                                               where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                                 and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')))
        union
        -- What stands in for another program's table reads ours with the rights of its owner.
        select format('view %s', c.oid::regclass)
        from pg_class c
        where c.relname = 'm3_mutex' and c.relkind = 'v' and c.relowner = any (hand_over.old_owners)
          and is_m3_mutex_view(c.oid)
        union
        select format('type %s', t.oid::regtype)
        from object_role o join pg_type t on t.typname = o.name and t.typnamespace = quote_ident(current_schema())::regnamespace
        where o.kind = 'type' and t.typowner = any (hand_over.old_owners)
        union
        select format('routine %s', p.oid::regprocedure)
        from object_role o join pg_proc p on p.proname = o.name and p.pronamespace = quote_ident(current_schema())::regnamespace
        where o.kind = 'function' and p.proowner = any (hand_over.old_owners));
    foreach object in array objects loop
        execute format('alter %s owner to %I', object, hand_over.new_owner);
    end loop;
end
$$;
comment on function hand_over(name, oid[]) is 'Used by grant_role and complete_grants; makes what is ours and belongs to these roles belong to another.';

-- Who may -------------------------------------------------------------------------------------------------------------------

create function may_become(database_role oid) returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    -- PostgreSQL 16 tells being a member from being allowed to act as the role.
    return pg_has_role(database_role, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end);
end
$$;
comment on function may_become(oid) is 'Whether the caller may make another database role the owner of what it owns.';

create function check_granting(database_role name, role text) returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    schema_owner oid := (select n.nspowner from pg_namespace n where n.nspname = current_schema());
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if check_granting.role is null or check_granting.role not in ('owner', 'admin', 'application', 'reader') then
        perform refuse_input(format('role is %s: it must be owner, admin, application or reader', coalesce(quote_literal(check_granting.role), 'null')));
    elsif check_granting.database_role is null then
        perform refuse_input('database_role must not be null: it says to whom');
    elsif not exists (select from pg_roles r where r.rolname = check_granting.database_role) then
        perform refuse_input(format('there is no database role %I: make it first (create role), or name one that is there', check_granting.database_role));
    elsif not pg_has_role(schema_owner, 'USAGE') then
        raise insufficient_privilege using message = format(
            'roles in schema %I are granted by its owner: connect as %I, or as a member of it', current_schema(), pg_get_userbyid(schema_owner));
    end if;
    -- Two who grant at once would trip over each other's privileges, and a migration over both: the turn is that of migrations.
    perform pg_advisory_xact_lock(hashtextextended(format('pgmutex: migrations of schema %s', current_schema()), 31638917211252088));
end
$$;
comment on function check_granting(name, text) is
    'The start of grant_role and revoke_role: refuses bad names (PM003) and callers that are not the owner, and takes the turn.';

-- Granting ----------------------------------------------------------------------------------------------------------------

create function grant_objects(database_role name, role text) returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    granted record;
begin
    for granted in select o.privilege, o.object from role_objects(grant_objects.role) o loop
        execute format('grant %s on %s to %I', granted.privilege, granted.object, grant_objects.database_role);
    end loop;
    execute format('grant select (%I) on role_mark to %I', grant_objects.role, grant_objects.database_role);
end
$$;
comment on function grant_objects(name, text) is 'Used by grant_role and complete_grants: grants everything that belongs to a role, and marks it.';

create function revoke_objects(database_role name, role text, but_not_of text) returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    revoked record;
begin
    for revoked in
        select o.privilege, o.object from role_objects(revoke_objects.role) o
        except
        select o.privilege, o.object from role_objects(revoke_objects.but_not_of) o where revoke_objects.but_not_of is not null
    loop
        execute format('revoke %s on %s from %I', revoked.privilege, revoked.object, revoke_objects.database_role);
    end loop;
    execute format('revoke select (%I) on role_mark from %I', revoke_objects.role, revoke_objects.database_role);
end
$$;
comment on function revoke_objects(name, text, text) is
    'Used by grant_role and revoke_role: takes away everything that belongs to a role and not to another one that stays.';

create function grant_role(database_role name, role text) returns void
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    schema_owner oid := (select n.nspowner from pg_namespace n where n.nspname = current_schema());
    new_owner    oid;
    other        text;
begin
    perform check_granting(grant_role.database_role, grant_role.role);
    select r.oid into new_owner from pg_roles r where r.rolname = grant_role.database_role;
    if grant_role.role <> 'owner' then
        if new_owner = schema_owner then
            perform refuse_input(format('%I owns the schema and may do everything; grant the role owner to another first', grant_role.database_role));
        end if;
        for other in select m.role from roles m where m.database_role = grant_role.database_role and m.role <> grant_role.role loop
            perform revoke_objects(grant_role.database_role, other, grant_role.role);
        end loop;
        perform grant_objects(grant_role.database_role, grant_role.role);
        return;
    end if;

    if not may_become(new_owner) then
        raise insufficient_privilege using message = format(
            'to hand schema %1$I over to %2$I, %3$I must be a member of it: have somebody who may do so run: grant %2$I to %3$I',
            current_schema(), grant_role.database_role, current_user);
    elsif new_owner <> schema_owner and not has_database_privilege(current_database(), 'CREATE') then
        raise insufficient_privilege using message = format(
            'to hand schema %I over, %2$I must be allowed to create schemas in this database: have its owner run: grant create on database %3$I to %2$I',
            current_schema(), current_user, current_database());
    end if;
    for other in select m.role from roles m where m.database_role = grant_role.database_role and m.role <> 'owner' loop
        perform revoke_objects(grant_role.database_role, other, null);
    end loop;
    -- The schema last: until then its old owner finds the objects, and the new one is allowed to have them.
    execute format('grant usage, create on schema %I to %I', current_schema(), grant_role.database_role);
    perform hand_over(grant_role.database_role, array[schema_owner, current_user::regrole::oid]);
    execute format('alter schema %I owner to %I', current_schema(), grant_role.database_role);
end
$$;
comment on function grant_role(name, text) is
    'Gives a database role that is there one of the roles of this schema: reader (the views, without secrets), application (the functions that '
    'use locks and pools), admin (beside them force_release, bump_generation and the indexes of pools), or owner: the schema and what is ours '
    'in it are handed over, to be migrated by that role from now on. Instead of the role that it had, if any. Granting it again is harmless. Only '
    'the owner may call this; to hand over, it must be a member of the new owner and be allowed to create schemas in the database.';

create function revoke_role(database_role name, role text) returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    has text;
begin
    perform check_granting(revoke_role.database_role, revoke_role.role);
    select m.role into has from roles m where m.database_role = revoke_role.database_role order by m.role = 'owner' desc limit 1;
    if has = 'owner' or revoke_role.role = 'owner' then
        perform refuse_input('the role owner cannot be revoked: grant it to another, who then has it');
    elsif has <> revoke_role.role then
        perform refuse_input(format('%I has the role %s, not %s: revoke that, or grant the one that it is to have',
                                    revoke_role.database_role, has, revoke_role.role));
    end if;
    perform revoke_objects(revoke_role.database_role, revoke_role.role, null);
    return has is not null;
end
$$;
comment on function revoke_role(name, text) is
    'Takes a role away from a database role, with all its privileges, those that were granted by hand too; says whether it had the role. Only '
    'the owner may call this.';

create function complete_grants() returns void
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
declare
    schema_owner oid := (select n.nspowner from pg_namespace n where n.nspname = current_schema());
    object       text;
    granted      record;
begin
    -- PostgreSQL lets everybody call a new function and use a new type, also the one of a table's rows: as long as nobody has granted or
    -- revoked anything about it. Answers need no privilege on their type; functions of a caller's own that take or return it do.
    for object in
        select format('routine %s', p.oid::regprocedure)
        from object_role o join pg_proc p on p.proname = o.name and p.pronamespace = quote_ident(current_schema())::regnamespace
        where o.kind = 'function' and pg_has_role(p.proowner, 'USAGE')
          and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
        union all
        select format('type %s', t.oid::regtype)
        from object_role o join pg_type t on t.typname = o.name and t.typnamespace = quote_ident(current_schema())::regnamespace
        where o.kind in ('relation', 'type') and pg_has_role(t.typowner, 'USAGE')
          and exists (select from aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a where a.grantee = 0)
    loop
        execute format('revoke all on %s from public', object);
    end loop;
    -- A superuser who has migrated, or a member of the owner: functions must run with the owner's rights, not with theirs.
    if schema_owner <> current_user::regrole::oid and may_become(schema_owner)
       and has_schema_privilege(schema_owner, quote_ident(current_schema())::regnamespace, 'CREATE') then
        perform hand_over(pg_get_userbyid(schema_owner), array[current_user::regrole::oid]);
    end if;
    for granted in select r.database_role, r.role from roles r where r.role <> 'owner' loop
        perform grant_objects(granted.database_role, granted.role);
    end loop;
end
$$;
comment on function complete_grants() is
    'The last step of a migration: takes what is new from everybody, gives those who have a role what is new in it, and gives what the '
    'migration has made to the owner of the schema.';
