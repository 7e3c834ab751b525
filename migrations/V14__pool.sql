-- What workers, and those who look after a pool, do with its sessions.

-- What becomes of one -----------------------------------------------------------------------------------------------------------

create function pool_success(
    collection text, id bigint, count_success bigint default 1, next_use_delay interval default null, fencing_token bigint default null
) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
begin
    perform check_pool(pool_success.collection);
    perform check_period('next_use_delay', pool_success.next_use_delay);
    perform check_count('count_success', pool_success.count_success);
    update pool_session p
    set success_count = least(p.success_count, 9000000000000000000) + pool_success.count_success,
        next_use = coalesce(clock_timestamp() + pool_success.next_use_delay, p.next_use),
        is_blocked = p.is_blocked and pool_success.next_use_delay is null
    where p.collection = pool_success.collection and p.id = pool_success.id
      and (pool_success.fencing_token is null or p.fencing_token = pool_success.fencing_token);
    return session_answer(case when found then 'updated' else 'not_found' end, pool_success.collection, pool_success.id);
end
$$;
comment on function pool_success(text, bigint, bigint, interval, bigint) is
    'Counts a success, and with next_use_delay locks the session for that long from now. Outcome updated or not_found. With '
    'fencing_token only while that lease has it.';

create function lock_session(collection text, id bigint, period interval, fencing_token bigint, is_blocked boolean) returns boolean
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
begin
    perform check_pool(lock_session.collection);
    perform check_period('period', lock_session.period);
    if lock_session.period is null then
        perform refuse_input('period must not be null');
    end if;
    update pool_session p
    set next_use = clock_timestamp() + lock_session.period, is_blocked = lock_session.is_blocked
    where p.collection = lock_session.collection and p.id = lock_session.id
      and (lock_session.fencing_token is null or p.fencing_token = lock_session.fencing_token);
    return found;
end
$$;
comment on function lock_session(text, bigint, interval, bigint, boolean) is 'Used by pool_lock and pool_block; not called directly.';

create function pool_lock(collection text, id bigint, period interval default '10 minutes', fencing_token bigint default null) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
begin
    return session_answer(
        case when lock_session(pool_lock.collection, pool_lock.id, pool_lock.period, pool_lock.fencing_token, false)
             then 'updated' else 'not_found' end, pool_lock.collection, pool_lock.id);
end
$$;
comment on function pool_lock(text, bigint, interval, bigint) is
    'Keeps a session from being used for a while. Outcome updated or not_found. With fencing_token only while that lease has it.';

create function pool_block(collection text, id bigint, period interval default '1 day', fencing_token bigint default null) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
begin
    return session_answer(
        case when lock_session(pool_block.collection, pool_block.id, pool_block.period, pool_block.fencing_token, true)
             then 'updated' else 'not_found' end, pool_block.collection, pool_block.id);
end
$$;
comment on function pool_block(text, bigint, interval, bigint) is
    'As pool_lock, for long: statistics count it as blocked.';

create function activate_session(collection text, id bigint, active boolean) returns pool_outcome
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_pool(activate_session.collection);
    update pool_session p set active = activate_session.active
    where p.collection = activate_session.collection and p.id = activate_session.id;
    return session_answer(case when found then 'updated' else 'not_found' end, activate_session.collection, activate_session.id);
end
$$;
comment on function activate_session(text, bigint, boolean) is 'Used by pool_inactive and pool_activate; not called directly.';

create function pool_inactive(collection text, id bigint) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$ begin return activate_session(pool_inactive.collection, pool_inactive.id, false); end $$;
comment on function pool_inactive(text, bigint) is 'Takes a session out of use until somebody activates it. Outcome updated or not_found.';

create function pool_activate(collection text, id bigint) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$ begin return activate_session(pool_activate.collection, pool_activate.id, true); end $$;
comment on function pool_activate(text, bigint) is 'Puts a session into use again. Outcome updated or not_found.';

-- The documents -----------------------------------------------------------------------------------------------------------------

create function pool_add(collection text, payload jsonb) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    added bigint;
begin
    perform check_pool(pool_add.collection);
    perform check_payload(pool_add.payload);
    insert into pool_session (collection, payload) values (pool_add.collection, pool_add.payload) returning id into added;
    perform pg_advisory_xact_lock_shared(mutex_key('pgmutex.pool', pool_add.collection, ''));
    perform wake_pool(pool_add.collection);
    return session_answer('added', pool_add.collection, added);
end
$$;
comment on function pool_add(text, jsonb) is 'Adds a session to a pool, ready to be used. Outcome added.';

create function change_session(collection text, id bigint, payload jsonb, unset_payload text[]) returns pool_outcome
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    changed jsonb;
begin
    select p.payload into changed from pool_session p
    where p.collection = change_session.collection and p.id = change_session.id for no key update;
    if not found then
        return session_answer('not_found', change_session.collection, null);
    end if;
    changed := updated_document(changed, coalesce(change_session.payload, '{}'), coalesce(change_session.unset_payload, '{}'));
    perform check_payload(changed);
    update pool_session p set payload = changed
    where p.collection = change_session.collection and p.id = change_session.id;
    return session_answer('updated', change_session.collection, change_session.id);
end
$$;
comment on function change_session(text, bigint, jsonb, text[]) is 'Used by pool_update and its like; not called directly.';

create function pool_update(collection text, id bigint, payload jsonb, unset_payload text[] default '{}') returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
begin
    perform check_pool(pool_update.collection);
    return change_session(pool_update.collection, pool_update.id, pool_update.payload, pool_update.unset_payload);
end
$$;
comment on function pool_update(text, bigint, jsonb, text[]) is
    'Sets the values at dotted paths of a session''s payload ({"session.phone": "..."}) and takes those at others away; everything beside them '
    'stays. Outcome updated or not_found.';

create function pool_delete(collection text, id bigint) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    answer pool_outcome;
begin
    perform check_pool(pool_delete.collection);
    answer := session_answer('deleted', pool_delete.collection, pool_delete.id);
    delete from pool_session p where p.collection = pool_delete.collection and p.id = pool_delete.id;
    if not found then
        answer := session_answer('not_found', pool_delete.collection, null);
    end if;
    return answer;
end
$$;
comment on function pool_delete(text, bigint) is
    'Removes a session from its pool. Outcome deleted (the row is the session as it was) or not_found. A lease of it lasts on.';

create function pool_get(collection text, id bigint) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
begin
    perform check_pool(pool_get.collection);
    return session_answer(
        case when exists (select from pool_session p where p.collection = pool_get.collection and p.id = pool_get.id)
             then 'found' else 'not_found' end, pool_get.collection, pool_get.id);
end
$$;
comment on function pool_get(text, bigint) is 'One session. Outcome found or not_found.';

-- By what they are like -----------------------------------------------------------------------------------------------------------

create function pool_find(
    collection text, filter jsonb default '[]', projection text[] default null, page_size bigint default -1, after_id bigint default null
) returns setof pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform check_pool(pool_find.collection);
    if coalesce(pool_find.page_size, -1) < -1 then
        perform refuse_input('page_size must be 0 or more, or -1 for all');
    end if;
    return query execute format(
        'select ''found'', p.collection, p.id, projected_document(p.payload, $2), p.active, p.next_use, p.last_use, p.use_count, p.success_count, '
        'p.created_at, p.updated_at, p.fencing_token, clock_timestamp() from pool_session p '
        'where p.collection = $1 and ($3::bigint is null or p.id > $3) and %s order by p.id limit $4',
        pool_condition(pool_find.filter))
    using pool_find.collection, pool_find.projection, pool_find.after_id, nullif(coalesce(pool_find.page_size, -1), -1);
end
$$;
comment on function pool_find(text, jsonb, text[], bigint, bigint) is
    'The sessions that a filter lets through, in the order of their ids, with what projection names of their payloads. A filter is an array of '
    'conditions: {"path": "session.country", "test": "equal", "value": "DE"}, or {"field": "active", ...}.';

create function pool_count(collection text, filter jsonb default '[]') returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    counted bigint;
begin
    perform check_pool(pool_count.collection);
    execute format('select count(*) from pool_session p where p.collection = $1 and %s', pool_condition(pool_count.filter))
    into counted using pool_count.collection;
    return counted;
end
$$;
comment on function pool_count(text, jsonb) is 'How many sessions a filter lets through.';

create function pool_count_active(collection text, filter jsonb default '[]') returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    counted bigint;
begin
    perform check_pool(pool_count_active.collection);
    execute format('select count(*) from pool_session p where p.collection = $1 and p.active and p.next_use <= clock_timestamp() and %s',
                   pool_condition(pool_count_active.filter))
    into counted using pool_count_active.collection;
    return counted;
end
$$;
comment on function pool_count_active(text, jsonb) is 'How many sessions are active and not locked now, leased or not.';

create function session_that_fits(collection text, filter jsonb) returns bigint
language plpgsql volatile parallel unsafe
as $$
declare
    fits bigint;
begin
    perform check_pool(session_that_fits.collection);
    execute format('select p.id from pool_session p where p.collection = $1 and %s order by p.id limit 1 for update',
                   pool_condition(session_that_fits.filter))
    into fits using session_that_fits.collection;
    return fits;
end
$$;
comment on function session_that_fits(text, jsonb) is 'Locks the row of the first session that a filter lets through.';

create function pool_find_one_and_update(
    collection text, filter jsonb, payload jsonb, unset_payload text[] default '{}'
) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
begin
    return change_session(pool_find_one_and_update.collection,
                          session_that_fits(pool_find_one_and_update.collection, pool_find_one_and_update.filter),
                          pool_find_one_and_update.payload, pool_find_one_and_update.unset_payload);
end
$$;
comment on function pool_find_one_and_update(text, jsonb, jsonb, text[]) is
    'Changes the first session that a filter lets through, as pool_update does. Outcome updated (the row is the session as it is now) or not_found.';

create function pool_delete_one(collection text, filter jsonb) returns pool_outcome
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
begin
    return pool_delete(pool_delete_one.collection, coalesce(session_that_fits(pool_delete_one.collection, pool_delete_one.filter), 0));
end
$$;
comment on function pool_delete_one(text, jsonb) is 'Deletes the first session that a filter lets through. Outcome deleted or not_found.';

-- Indexes ---------------------------------------------------------------------------------------------------------------------------

create function pool_create_index(collection text, path text) returns text
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
declare
    names text[] := path_of_key(pool_create_index.path);
    name  text := 'pool_session_path_' || md5(jsonb_build_array(pool_create_index.collection, pool_create_index.path)::text);
begin
    perform check_pool(pool_create_index.collection);
    execute format('create index if not exists %I on pool_session ((payload #> %L::text[])) where collection = %L',
                   name, names, pool_create_index.collection);
    execute format('comment on index %I is %L', name,
                   jsonb_build_object('collection', pool_create_index.collection, 'path', pool_create_index.path)::text);
    return name;
end
$$;
comment on function pool_create_index(text, text) is
    'Makes pool_find and its like fast where they filter by a dotted path of one pool''s payloads. Nobody can write to any pool while it is built. A session with a value '
    'of more than some 2,600 bytes there cannot be written any more. Gives its name.';

create function pool_list_indexes(collection text) returns table (name text, path text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform check_pool(pool_list_indexes.collection);
    return query
    select c.relname::text, obj_description(c.oid, 'pg_class')::jsonb ->> 'path'
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = 'pool_session'::regclass and left(c.relname, 18) = 'pool_session_path_' and i.indisvalid
      and left(obj_description(c.oid, 'pg_class'), 1) = '{'
      and obj_description(c.oid, 'pg_class')::jsonb ->> 'collection' = pool_list_indexes.collection
    order by 2;
end
$$;
comment on function pool_list_indexes(text) is 'The indexes that pool_create_index has made for a pool.';

create function pool_drop_index(collection text, path text) returns boolean
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
declare
    name text;
begin
    perform check_pool(pool_drop_index.collection);
    select i.name into name from pool_list_indexes(pool_drop_index.collection) i where i.path = pool_drop_index.path;
    if name is null then
        return false;
    end if;
    execute format('drop index %I', name);
    return true;
end
$$;
comment on function pool_drop_index(text, text) is 'Removes such an index, and says whether there was one.';

-- For monitoring --------------------------------------------------------------------------------------------------------------------

create view pool_statistics as
select collection,
       count(*) as total,
       count(*) filter (where active) as active,
       count(*) filter (where not active) as inactive,
       count(*) filter (where active and next_use <= clock_timestamp() and fencing_token is null) as ready,
       count(*) filter (where fencing_token is not null) as in_use,
       count(*) filter (where active and next_use > clock_timestamp() and not is_blocked) as locked,
       count(*) filter (where active and next_use > clock_timestamp() and is_blocked) as blocked,
       least(sum(use_count), 9223372036854775807)::bigint as uses,
       least(sum(success_count), 9223372036854775807)::bigint as successes,
       sum(success_count)::float8 / nullif(sum(use_count), 0)::float8 as success_rate
from pool_session
group by collection;

comment on view pool_statistics is 'How each pool stands. It reads all of its sessions.';
comment on column pool_statistics.ready is 'Those that could be taken now.';
comment on column pool_statistics.in_use is 'Those that are leased; a lease that is over counts until somebody has noticed.';
comment on column pool_statistics.locked is 'Those that are not to be used before some time, other than the blocked ones.';
comment on column pool_statistics.success_rate is 'Successes for each use; null as long as there was none.';

create function pool_statistics(collection text default null) returns setof pool_statistics
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select s.* from pool_statistics s
    where pool_statistics.collection is null or s.collection = pool_statistics.collection
    order by s.collection;
end
$$;
comment on function pool_statistics(text) is 'How a pool stands, or each of them.';
