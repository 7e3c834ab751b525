-- What other programs rely on: names, arguments and their defaults, columns, explanations, and nothing for everybody.
select plan(22);

create function arguments(name text) returns text language sql as $$
    select pg_get_function_arguments(p.oid) from pg_proc p where p.pronamespace = 'pgmutex'::regnamespace and p.proname = arguments.name
$$;

select is(arguments('capture'),
    'mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text DEFAULT ''''::text, owner_id text DEFAULT ''''::text, '
    'owner_login text DEFAULT ''''::text, owner_name text DEFAULT ''''::text, auto_release_rule text DEFAULT NULL::text, '
    'auto_release_config text DEFAULT NULL::text, status_data text DEFAULT NULL::text, access text DEFAULT ''exclusive''::text, '
    'permits integer DEFAULT NULL::integer, wait boolean DEFAULT false, listener bigint DEFAULT NULL::bigint, '
    'while_holding bigint[] DEFAULT NULL::bigint[], lock_parents boolean DEFAULT false, lock_children boolean DEFAULT false', 'capture');
select is(arguments('refresh'),
    'mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint DEFAULT NULL::bigint, '
    'status_data text DEFAULT NULL::text', 'refresh');
select is(arguments('release'),
    'mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint DEFAULT NULL::bigint, durable boolean DEFAULT true',
    'release');
select is(arguments('request'), 'mutex_group text, mutex_mode text, mutex_id text, owner_session text', 'request');
select is(arguments('fence'), 'mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint', 'fence');
select is(arguments('force_release'),
    'mutex_group text, mutex_mode text, mutex_id text, reason text DEFAULT NULL::text, fencing_token bigint DEFAULT NULL::bigint', 'force_release');
select is(arguments('sweep'), 'batch integer DEFAULT 1000', 'sweep');
select is(arguments('capture_each'), 'requests jsonb, defaults jsonb DEFAULT ''{}''::jsonb', 'capture_each');
select is(arguments('capture_all'),
    'requests jsonb, defaults jsonb DEFAULT ''{}''::jsonb, wait boolean DEFAULT false, listener bigint DEFAULT NULL::bigint, '
    'while_holding bigint[] DEFAULT NULL::bigint[]', 'capture_all');
select is(arguments('release_each'), 'requests jsonb, defaults jsonb DEFAULT ''{}''::jsonb, durable boolean DEFAULT true', 'release_each');
select is(arguments('release_owner'), 'owner_session text, batch integer DEFAULT 1000', 'release_owner');
select is(arguments('enable_audit'), '', 'enable_audit');
select is(arguments('disable_audit'), '', 'disable_audit');
select is(arguments('keep_audit'),
    'retention interval DEFAULT ''1 year''::interval, ahead interval DEFAULT ''3 mons''::interval, OUT made integer, OUT moved bigint, '
    'OUT dropped integer', 'keep_audit');

-- The columns of the mission, under their names and in their order: an old program reads and writes them.
select is((array_agg(attname::text order by attnum))[1:12],
          array['mutex_group', 'mutex_mode', 'mutex_id', 'owner_session', 'owner_host', 'owner_id', 'owner_login', 'owner_name',
                'auto_release_rule', 'auto_release_config', 'captured_since', 'status_data'], 'the first columns of mutex_model')
from pg_attribute where attrelid = 'pgmutex.mutex_model'::regclass and attnum > 0 and not attisdropped;

-- \d+ and \df+ explain themselves.
select is_empty($$
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'pgmutex'::regnamespace and obj_description(p.oid, 'pg_proc') is null
$$, 'every function has a comment');
select is_empty($$
    select c.oid::regclass from pg_class c
    where c.relnamespace = 'pgmutex'::regnamespace and c.relkind in ('r', 'p', 'v', 'S', 'c')
      and obj_description(c.oid, 'pg_class') is null and obj_description(c.reltype, 'pg_type') is null
$$, 'every table, view, sequence and type has a comment');
select is_empty($$
    select c.oid::regclass, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = 'pgmutex'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
      and col_description(c.oid, a.attnum) is null
$$, 'every column of a table has a comment');
select isnt(obj_description('pgmutex'::regnamespace, 'pg_namespace'), null, 'the schema has a comment');

-- Nothing is for everybody.
select is_empty($$
    select p.oid::regprocedure from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
    where p.pronamespace = 'pgmutex'::regnamespace and acl.grantee = 0
$$, 'no function is for everybody');
select is_empty($$
    select c.oid::regclass from pg_class c cross join lateral aclexplode(c.relacl) acl
    where c.relnamespace = 'pgmutex'::regnamespace and acl.grantee = 0
$$, 'no table, view or sequence is for everybody');
select is_empty($$
    select from pg_namespace n cross join lateral aclexplode(n.nspacl) acl where n.nspname = 'pgmutex' and acl.grantee = 0
$$, 'nor is the schema');

select * from finish();
