-- Who waits for a mutex, in which order, and how the next one learns that its turn may have come.
--
-- Everything about a mutex's line happens behind the same advisory lock as everything about its holds. A notification is only a
-- hint that it is worth asking again: whoever waits also asks by itself now and then, so that a lost one costs time, not the lock.
--
-- Both tables are unlogged: a crash empties them, and those who wait queue again.

create sequence mutex_ticket_sequence;
comment on sequence mutex_ticket_sequence is 'Numbers the tickets of those who wait; within a line the smallest is served first.';

create unlogged table mutex_listener (
    listener    bigint      primary key,
    has_session boolean     not null,
    seen_at     timestamptz not null default clock_timestamp()
);
comment on table mutex_listener is 'The processes that wait for mutexes.';
comment on column mutex_listener.listener is 'Number of the process: chosen at random, and with has_session that of its database session.';
comment on column mutex_listener.has_session is 'Whether the process has a database session that listens on channel pgmutex_<listener>, and is gone with it.';
comment on column mutex_listener.seen_at is 'When the process last asked whether one of its turns has come.';

create unlogged table mutex_waiter (
    mutex_group   text collate "C" not null,
    mutex_mode    text collate "C" not null,
    mutex_id      text collate "C" not null,
    ticket        bigint           not null,
    access        text             not null,
    permits       integer,
    owner_session text collate "C" not null,
    owner_host    text             not null,
    owner_id      text             not null,
    owner_login   text             not null,
    owner_name    text             not null,
    while_holding bigint[],
    listener      bigint,
    queued_since  timestamptz      not null,
    seen_at       timestamptz      not null,
    lock_parents  boolean          not null default false,
    lock_children boolean          not null default false,

    constraint mutex_waiter_pkey primary key (mutex_group, mutex_mode, mutex_id, ticket)
)
-- Rows come and go: what died is cleared away by its number, however long the lines are now, and before it is many pages.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
-- Also for the place of one owner in one line, which must not be looked for all along a line of thousands. By the key of the mutex, because
-- the longest names together do not fit into an index. Who looks asks for both, and for the names with `is true`, so that the primary key,
-- which leads along the line, is of no use.
create index mutex_waiter_owner_session on mutex_waiter (owner_session, mutex_key(mutex_group, mutex_mode, mutex_id));
create index mutex_waiter_listener on mutex_waiter (listener, ticket);
create index mutex_waiter_while_holding on mutex_waiter using gin (while_holding) where while_holding is not null;

comment on table mutex_waiter is 'Those who wait: one row is one place in the line of one mutex. Read it through the view waiting.';
comment on column mutex_waiter.mutex_group is 'First part of the mutex id.';
comment on column mutex_waiter.mutex_mode is 'Second part of the mutex id.';
comment on column mutex_waiter.mutex_id is 'Third part of the mutex id.';
comment on column mutex_waiter.ticket is 'The place in line: the smallest is served first. One who waits for several mutexes at once has one ticket for all.';
comment on column mutex_waiter.access is 'exclusive or shared.';
comment on column mutex_waiter.permits is 'How many may share the mutex; null: any number.';
comment on column mutex_waiter.owner_session is 'Who waits.';
comment on column mutex_waiter.owner_host is 'Host of the owner, for people.';
comment on column mutex_waiter.owner_id is 'User id of the owner.';
comment on column mutex_waiter.owner_login is 'Login of the owner, for people.';
comment on column mutex_waiter.owner_name is 'Name of the owner, for people.';
comment on column mutex_waiter.while_holding is 'Fencing tokens of the holds that the waiter keeps until it has been served, beside those of its owner_session.';
comment on column mutex_waiter.listener is 'The process that is to be told; null: the waiter asks by itself.';
comment on column mutex_waiter.queued_since is 'When it joined the line.';
comment on column mutex_waiter.seen_at is 'When it last asked.';
comment on column mutex_waiter.lock_parents is 'For a path of a tree: whether the hold will lock the paths above it.';
comment on column mutex_waiter.lock_children is 'For a path of a tree: whether the hold will lock the paths below it.';

-- Whether a waiter is still there -----------------------------------------------------------------------------------------

create function waiter_is_gone(listener bigint, seen_at timestamptz) returns boolean
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    process_has_session boolean;
    process_seen_at     timestamptz := waiter_is_gone.seen_at;
    patience constant   interval := interval '15 seconds';
    reconnect constant  interval := interval '3 seconds';  -- wake_line takes whoever was seen since for present
begin
    if waiter_is_gone.listener is not null then
        select l.has_session, l.seen_at into process_has_session, process_seen_at
        from mutex_listener l where l.listener = waiter_is_gone.listener;
        if not found then
            return true;
        elsif process_has_session and process_seen_at < clock_timestamp() - reconnect and session_is_gone(waiter_is_gone.listener::text) then
            return true;
        end if;
    end if;
    return process_seen_at < clock_timestamp() - patience;
end
$$;
comment on function waiter_is_gone(bigint, timestamptz) is
    'Whether a waiter need not be waited for: its process has not asked for 15 seconds (it may be stopped, or cut off), or for 3 while '
    'its database session is gone (it may be connecting again).';

-- Only behind the mutex's lock. A dead waiter must not hold up the line, so its tickets go when they are met. To find out whom to tell,
-- the shared lock of one below a path, or of a pool, will do: then some other may be removing them too, and whoever did so in several lines could wait
-- for it in a circle. So whom is_hint passes over may be going over to another session at this moment.
create function first_in_line(mutex_group text, mutex_mode text, mutex_id text, before_ticket bigint, is_hint boolean default false) returns bigint
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    passed_ticket bigint := -9223372036854775808;
    head_ticket   bigint;
    head_listener bigint;
    head_seen_at  timestamptz;
begin
    loop
        select w.ticket, w.listener, w.seen_at into head_ticket, head_listener, head_seen_at from mutex_waiter w
        where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
          and (first_in_line.before_ticket is null or w.ticket < first_in_line.before_ticket)
          and w.ticket > passed_ticket
        order by w.ticket
        limit 1;
        if not found then
            return null;
        elsif not waiter_is_gone(head_listener, head_seen_at) then
            return head_ticket;
        end if;
        if first_in_line.is_hint then
            passed_ticket := head_ticket;
            perform 1 from mutex_waiter w
            where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
              and w.ticket = head_ticket and w.listener is not distinct from head_listener
            for update skip locked;
            continue when not found;
            delete from mutex_waiter w
            where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
              and w.ticket = head_ticket;
            continue;
        end if;
        delete from mutex_waiter w
        where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
          and (w.ticket = head_ticket and w.listener is not distinct from head_listener  -- it has not gone over to another session
               or w.listener = head_listener
               or head_listener is null and w.listener is null and waiter_is_gone(null, w.seen_at));
    end loop;
end
$$;
comment on function first_in_line(text, text, text, bigint, boolean) is
    'The ticket of the first waiter of a mutex that is still there, among those before a ticket if one is given; dead ones are removed.';

-- Turns -----------------------------------------------------------------------------------------------------------------

create function could_be_captured(
    mutex_group text, mutex_mode text, mutex_id text, ticket bigint, access text, permits integer,
    owner_session text, lock_parents boolean, lock_children boolean
) returns boolean
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    now_is   timestamptz := clock_timestamp();
    holders  bigint;
    strictest integer;
    one_is_exclusive boolean;
    blocker  text;
begin
    if could_be_captured.mutex_group = 'pgmutex.pool' then
        return pool_could_give(could_be_captured.mutex_mode);
    end if;
    select count(*), min(h.permits), coalesce(bool_or(h.permit = 0), false) into holders, strictest, one_is_exclusive from hold h
    where h.mutex_group = could_be_captured.mutex_group and h.mutex_mode = could_be_captured.mutex_mode
      and h.mutex_id = could_be_captured.mutex_id
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is);
    if could_be_captured.access = 'exclusive' and holders > 0
       or one_is_exclusive or holders >= coalesce(least(strictest, could_be_captured.permits), holders + 1) then
        return false;
    elsif not is_path(could_be_captured.mutex_id) then
        return true;
    end if;
    select i.blocker_id into blocker
    from hold_in_the_way(could_be_captured.mutex_group, could_be_captured.mutex_mode, could_be_captured.mutex_id,
                         could_be_captured.owner_session, could_be_captured.access, false) i;
    if blocker is null then
        select i.waiter_id into blocker
        from waiter_in_the_way(could_be_captured.mutex_group, could_be_captured.mutex_mode, could_be_captured.mutex_id,
                               could_be_captured.ticket, could_be_captured.owner_session, could_be_captured.access,
                               could_be_captured.lock_parents, could_be_captured.lock_children) i;
    end if;
    return blocker is null;
end
$$;
comment on function could_be_captured(text, text, text, bigint, text, integer, text, boolean, boolean) is
    'Whether the first waiter of a mutex would be let in, as things look now.';

-- Only behind the mutex's lock, after every change that may let someone in.
create function wake_line(mutex_group text, mutex_mode text, mutex_id text) returns void
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    head          bigint := -9223372036854775808;
    told          bigint;
    seen_at       timestamptz;
    nobody_holds_it boolean;
    wants_access  text;
    wants_permits integer;
    wants_session text;
    wants_parents boolean;
    wants_children boolean;
begin
    -- The head as it is; if that may be gone, the first that is there.
    for look in 1..2 loop
        select w.ticket, w.access, w.permits, w.owner_session, w.lock_parents, w.lock_children, l.listener, l.seen_at,
               -- At a path something above or below it may be in the way, and a pool has sessions to give, not itself.
               not is_path(w.mutex_id) and w.mutex_group <> 'pgmutex.pool'
               and not exists (select from hold h
                               where h.mutex_group = wake_line.mutex_group and h.mutex_mode = wake_line.mutex_mode and h.mutex_id = wake_line.mutex_id)
        into head, wants_access, wants_permits, wants_session, wants_parents, wants_children, told, seen_at, nobody_holds_it
        from mutex_waiter w left join mutex_listener l on l.listener = w.listener and l.has_session
        where w.mutex_group = wake_line.mutex_group and w.mutex_mode = wake_line.mutex_mode and w.mutex_id = wake_line.mutex_id
          and w.ticket >= head
        order by w.ticket
        limit 1;
        if not found then
            return;  -- as most do
        end if;
        -- Who was seen just now is there (see waiter_is_gone). With any other it may be the turn of one behind it.
        exit when look = 2 or seen_at > clock_timestamp() - interval '3 seconds';
        -- The lines of a pool are looked at behind a shared lock, too.
        head := first_in_line(wake_line.mutex_group, wake_line.mutex_mode, wake_line.mutex_id, null,
                              is_path(wake_line.mutex_id) or wake_line.mutex_group = 'pgmutex.pool');
        if head is null then
            return;
        end if;
    end loop;
    -- Never in vain: a notification costs everyone, a lock of the whole database until the commit.
    if told is not null
       and (nobody_holds_it
            or could_be_captured(wake_line.mutex_group, wake_line.mutex_mode, wake_line.mutex_id, head, wants_access, wants_permits,
                                 wants_session, wants_parents, wants_children)) then
        perform pg_notify('pgmutex_' || told, head::text);
    end if;
end
$$;
comment on function wake_line(text, text, text) is 'Tells the first waiter of a mutex to ask again, if it could be let in.';

-- Two who release two paths at the same moment do not see each other, and may leave one above both of them untold: it asks by itself
-- within a second.
create function wake_lines(mutex_group text, mutex_mode text, mutex_id text) returns void
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    line text;
begin
    if not is_path(wake_lines.mutex_id) then
        perform wake_line(wake_lines.mutex_group, wake_lines.mutex_mode, wake_lines.mutex_id);
        return;
    end if;
    for line in
        select distinct w.mutex_id from mutex_waiter w
        where w.mutex_group = wake_lines.mutex_group and w.mutex_mode = wake_lines.mutex_mode
          and w.mutex_id = any (paths_above(wake_lines.mutex_id) || wake_lines.mutex_id)
        union
        select distinct w.mutex_id from mutex_waiter w
        where w.mutex_group = wake_lines.mutex_group and w.mutex_mode = wake_lines.mutex_mode
          and w.mutex_id > wake_lines.mutex_id and w.mutex_id < end_of_path(wake_lines.mutex_id) and is_path(w.mutex_id)
        order by 1
    loop
        perform wake_line(wake_lines.mutex_group, wake_lines.mutex_mode, line);
    end loop;
end
$$;
comment on function wake_lines(text, text, text) is
    'Tells everyone to ask again whom a change at a mutex may have let in: the first in its line, and for a path also those above and below.';

-- Queueing --------------------------------------------------------------------------------------------------------------

-- Rarely, and without waiting: what one thread of a process does in a long transaction must not keep the others from their tickets.
-- (An upsert locks the row even if it changes nothing, and waits for whoever else has it.)
create function listener_is_seen(listener bigint, has_session boolean) returns void
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
begin
    perform 1 from mutex_listener l
    where l.listener = listener_is_seen.listener
      and (l.seen_at < clock_timestamp() - interval '500 milliseconds' or l.has_session <> listener_is_seen.has_session)
    for update skip locked;
    if found then
        update mutex_listener l
        set seen_at = clock_timestamp(), has_session = coalesce(listener_is_seen.has_session, l.has_session)
        where l.listener = listener_is_seen.listener;
    elsif not exists (select from mutex_listener l where l.listener = listener_is_seen.listener) then
        insert into mutex_listener (listener, has_session)
        values (listener_is_seen.listener, coalesce(listener_is_seen.has_session, false))
        on conflict do nothing;
    end if;
end
$$;
comment on function listener_is_seen(bigint, boolean) is 'Writes down that a process is there.';

-- Only behind the mutex's lock. Who is in line already keeps its place, unless a ticket is given: then it goes there.
create function join_line(
    mutex_group text, mutex_mode text, mutex_id text, ticket bigint, access text, permits integer,
    owner_session text, owner_host text, owner_id text, owner_login text, owner_name text,
    while_holding bigint[], listener bigint, lock_parents boolean, lock_children boolean
) returns bigint
language plpgsql volatile parallel unsafe
as $$
#variable_conflict use_column
declare
    own_ticket bigint;
begin
    select w.ticket into own_ticket from mutex_waiter w
    where w.owner_session = join_line.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(join_line.mutex_group, join_line.mutex_mode, join_line.mutex_id)
      and (w.mutex_group = join_line.mutex_group and w.mutex_mode = join_line.mutex_mode and w.mutex_id = join_line.mutex_id) is true;
    own_ticket := coalesce(join_line.ticket, own_ticket);
    if join_line.listener is not null then
        -- A process asks only while it waits for something: until now it may have been silent for long.
        perform listener_is_seen(join_line.listener, null);
    end if;
    update mutex_waiter w
    set ticket = own_ticket, access = join_line.access, permits = join_line.permits, while_holding = nullif(join_line.while_holding, '{}'),
        listener = join_line.listener, seen_at = clock_timestamp(),
        lock_parents = join_line.lock_parents, lock_children = join_line.lock_children
    where w.owner_session = join_line.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(join_line.mutex_group, join_line.mutex_mode, join_line.mutex_id)
      and (w.mutex_group = join_line.mutex_group and w.mutex_mode = join_line.mutex_mode and w.mutex_id = join_line.mutex_id) is true;
    if not found then
        own_ticket := coalesce(own_ticket, nextval('mutex_ticket_sequence'));
        insert into mutex_waiter (mutex_group, mutex_mode, mutex_id, ticket, access, permits,
                                  owner_session, owner_host, owner_id, owner_login, owner_name,
                                  while_holding, listener, queued_since, seen_at, lock_parents, lock_children)
        values (join_line.mutex_group, join_line.mutex_mode, join_line.mutex_id, own_ticket, join_line.access, join_line.permits,
                join_line.owner_session, coalesce(join_line.owner_host, ''), coalesce(join_line.owner_id, ''),
                coalesce(join_line.owner_login, ''), coalesce(join_line.owner_name, ''),
                nullif(join_line.while_holding, '{}'), join_line.listener, clock_timestamp(), clock_timestamp(),
                join_line.lock_parents, join_line.lock_children);
    end if;
    return own_ticket;
end
$$;
comment on function join_line(text, text, text, bigint, text, integer, text, text, text, text, text, bigint[], bigint, boolean, boolean) is
    'Puts an owner into the line of a mutex, or leaves it where it is, and gives its ticket. Whether it may wait at all is for refuse_deadlock to say.';

create function leave_line(mutex_group text, mutex_mode text, mutex_id text, owner_session text) returns boolean
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    left_it boolean;
begin
    perform check_call(leave_line.mutex_group, leave_line.mutex_mode, leave_line.mutex_id, leave_line.owner_session);
    perform lock_mutex(leave_line.mutex_group, leave_line.mutex_mode,
                       case when leave_line.mutex_group = 'pgmutex.pool' then '' else leave_line.mutex_id end);  -- one for all lines of a pool
    delete from mutex_waiter w
    where w.owner_session = leave_line.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(leave_line.mutex_group, leave_line.mutex_mode, leave_line.mutex_id)
      and (w.mutex_group = leave_line.mutex_group and w.mutex_mode = leave_line.mutex_mode and w.mutex_id = leave_line.mutex_id) is true;
    left_it := found;
    if left_it then
        perform wake_lines(leave_line.mutex_group, leave_line.mutex_mode, leave_line.mutex_id);
    end if;
    return left_it;
end
$$;
comment on function leave_line(text, text, text, text) is 'Gives up waiting for a mutex; says whether there was a ticket to give up. A hold stays.';

-- The processes that wait -------------------------------------------------------------------------------------------------

create function attach_session(listen boolean default false, instead_of bigint default null) returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    -- 59 bits at random: whatever else takes advisory locks in this database will not meet it, nor will another session ever.
    number bigint := ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)
                          || substr(replace(gen_random_uuid()::text, '-', ''), 1, 4))::bit(64)::bigint & 576460752303423487;
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    perform pg_advisory_lock(number);
    perform set_config('pgmutex.attached', concat_ws(',', nullif(current_setting('pgmutex.attached', true), ''), number), false);
    if attach_session.listen then
        execute format('listen %I', 'pgmutex_' || number);
    end if;
    -- A process that is cut off is given up after 10 seconds (keepalives alone would not end a connection that is cut off in the
    -- middle of a reply), one that dies in the middle of a query after 1.
    perform set_config(s.name, wanted.setting, false)
    from (values ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
                 ('tcp_user_timeout', '10000'), ('idle_session_timeout', '0'),
                 ('default_transaction_isolation', 'read committed')) wanted (name, setting)
    join pg_settings s on s.name = wanted.name;
    begin
        perform set_config(s.name, '1000', false) from pg_settings s where s.name = 'client_connection_check_interval';
    exception when others then
        null;  -- a platform without the means; the keepalives remain
    end;
    -- The places in line of a session that was lost. Whoever has met them there and is removing them keeps them.
    insert into mutex_listener (listener, has_session) values (number, coalesce(attach_session.listen, false));
    update mutex_waiter w set listener = number
    where (w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket) in (
        select lost.mutex_group, lost.mutex_mode, lost.mutex_id, lost.ticket from mutex_waiter lost
        where lost.listener = attach_session.instead_of
        for update skip locked);
    return number;
end
$$;
comment on function attach_session(boolean, bigint) is
    'Gives this database session a number that holds under the rule connection can name: they are over when the session ends. '
    'With listen => true it also listens on channel pgmutex_<number>. instead_of names a session that was lost, whose places in line '
    'go over to this one; its holds do not. For a connection of one''s own, not one that a pooler lends.';

create function look_at_lines(listener bigint, has_session boolean, tickets bigint[] default null)
returns table (ticket bigint, is_my_turn boolean, look_again_in interval)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
    now_is timestamptz := clock_timestamp();
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if look_at_lines.listener is null or look_at_lines.has_session is null then
        perform refuse_input('listener and has_session must not be null: they say who asks');
    end if;
    perform listener_is_seen(look_at_lines.listener, look_at_lines.has_session);

    return query
    select head.ticket,
           could_be_captured(line.mutex_group, line.mutex_mode, line.mutex_id, head.ticket, head.access, head.permits,
                             head.owner_session, head.lock_parents, head.lock_children),
           -- Nobody says when the session of a holder ends: it must be looked at.
           (select min(case when h.expires_at < now_is then interval '0'
                            when h.auto_release_rule = 'connection' then least(h.expires_at - now_is, interval '1 second')
                            when isfinite(h.expires_at) then h.expires_at - now_is end)
            from (select h.expires_at, h.auto_release_rule from hold h
                  where h.mutex_group = line.mutex_group and h.mutex_mode = line.mutex_mode and h.mutex_id = line.mutex_id
                  union all
                  select i.blocker_ends_at, i.blocker_rule
                  from hold_in_the_way(line.mutex_group, line.mutex_mode, line.mutex_id, head.owner_session, head.access, false) i
                  where is_path(line.mutex_id)
                  union all
                  -- A session of a pool, when its time has come; or the lease of one, whose holder may be gone.
                  (select p.due_at, case when p.fencing_token is not null then 'connection' end
                   from pool_session p
                   where line.mutex_group = 'pgmutex.pool' and p.collection = line.mutex_mode and p.active and not p.is_ready
                     and p.due_at > now_is  -- what is due already makes it this waiter's turn
                   order by p.due_at
                   limit 1)) h)
    from (select distinct w.mutex_group, w.mutex_mode, w.mutex_id from mutex_waiter w where w.listener = look_at_lines.listener) line
    cross join lateral (select w.ticket, w.listener, w.access, w.permits, w.owner_session, w.lock_parents, w.lock_children
                        from mutex_waiter w
                        where w.mutex_group = line.mutex_group and w.mutex_mode = line.mutex_mode and w.mutex_id = line.mutex_id
                          and (w.listener = look_at_lines.listener or not waiter_is_gone(w.listener, w.seen_at))
                        order by w.ticket
                        limit 1) head
    where head.listener = look_at_lines.listener;

    -- Tickets that are no more: the server has crashed meanwhile, or they were taken for dead.
    return query
    select asked.ticket, true, null::interval
    from unnest(look_at_lines.tickets) asked (ticket)
    where not exists (select from mutex_waiter w where w.listener = look_at_lines.listener and w.ticket = asked.ticket);

    -- Tickets that the process knows nothing of: their answers were lost, and nobody will ask for them.
    delete from mutex_waiter w
    where look_at_lines.tickets is not null
      and (w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket) in (
          select lost.mutex_group, lost.mutex_mode, lost.mutex_id, lost.ticket from mutex_waiter lost
          where lost.listener = look_at_lines.listener and lost.ticket <> all (look_at_lines.tickets)
            and lost.seen_at < clock_timestamp() - interval '15 seconds'
          for update skip locked);

    delete from mutex_listener l
    where l.listener in (select old.listener from mutex_listener old
                         where old.seen_at < clock_timestamp() - interval '10 minutes'
                           and not exists (select from mutex_waiter w where w.listener = old.listener)
                         for update skip locked);
end
$$;
comment on function look_at_lines(bigint, boolean, bigint[]) is
    'Asked by a process that waits, about once a second: which of its tickets are first in line, whether their turn has come as far '
    'as can be seen, and when to look again at the latest. tickets is the list of all that it knows: those that are no more are named, too, '
    'and places that it does not know are given up after 15 seconds.';

-- For people --------------------------------------------------------------------------------------------------------------

create view waiting as
select w.mutex_group, w.mutex_mode, w.mutex_id,
       w.place,
       w.access, w.permits,
       case when (select has_table_privilege('hold'::regclass, 'select')) then w.owner_session
            else 'sha256:' || left(encode(sha256(convert_to(w.owner_session, getdatabaseencoding()::name)), 'hex'), 12) end as owner_session,
       w.owner_host, w.owner_id, w.owner_login, w.owner_name,
       case when (select has_table_privilege('hold'::regclass, 'select')) then coalesce(w.session_before, ahead.owner_session)
            else 'sha256:' || left(encode(sha256(convert_to(coalesce(w.session_before, ahead.owner_session),
                                                            getdatabaseencoding()::name)), 'hex'), 12) end as behind_owner_session,
       coalesce(w.name_before, ahead.owner_name) as behind_owner_name,
       w.queued_since,
       clock_timestamp() - w.queued_since as waiting_for,
       w.ticket, w.while_holding, w.listener,
       greatest(w.seen_at, l.seen_at) as seen_at,
       w.lock_parents, w.lock_children
from (select w.*, row_number() over line as place, lag(w.owner_session) over line as session_before, lag(w.owner_name) over line as name_before
      from mutex_waiter w
      window line as (partition by w.mutex_group, w.mutex_mode, w.mutex_id order by w.ticket)) w
left join mutex_listener l on l.listener = w.listener
-- Only the first in line is behind somebody else: a holder; at a path, perhaps behind one of a path above or below, or behind one who
-- waits there.
left join lateral (select other.owner_session, other.owner_name
                   from (select 1 as comes, h.permit::bigint as rank, h.owner_session, h.owner_name from live_hold h
                         where h.mutex_group = w.mutex_group and h.mutex_mode = w.mutex_mode and h.mutex_id = w.mutex_id
                         union all
                         -- Two questions, so that each finds its index.
                         select 2, h.permit, h.owner_session, h.owner_name from live_hold h
                         where h.mutex_group = w.mutex_group and h.mutex_mode = w.mutex_mode and w.mutex_id like '/%' and w.mutex_id like '%/'
                           and h.lock_children
                           and h.mutex_id = any (array(select left(w.mutex_id, slash.at) from generate_series(1, length(w.mutex_id) - 1) slash (at)
                                                       where substr(w.mutex_id, slash.at, 1) = '/'))
                           and h.owner_session <> w.owner_session and (h.permit = 0 or w.access = 'exclusive')
                         union all
                         select 2, h.permit, h.owner_session, h.owner_name from live_hold h
                         where h.mutex_group = w.mutex_group and h.mutex_mode = w.mutex_mode and w.mutex_id like '/%' and w.mutex_id like '%/'
                           and h.lock_parents and h.mutex_id > w.mutex_id and h.mutex_id < left(w.mutex_id, -1) || '0'
                           and h.owner_session <> w.owner_session and (h.permit = 0 or w.access = 'exclusive')
                         union all
                         select 3, before.ticket, before.owner_session, before.owner_name from mutex_waiter before
                         where before.mutex_group = w.mutex_group and before.mutex_mode = w.mutex_mode and before.ticket < w.ticket
                           and w.mutex_id like '/%' and w.mutex_id like '%/' and before.mutex_id like '/%' and before.mutex_id like '%/'
                           and before.mutex_id <> w.mutex_id
                           and (starts_with(w.mutex_id, before.mutex_id) and (before.lock_children or w.lock_parents)
                                or starts_with(before.mutex_id, w.mutex_id) and (before.lock_parents or w.lock_children))
                           and before.owner_session <> w.owner_session and (before.access = 'exclusive' or w.access = 'exclusive')) other
                   where w.place = 1
                   order by other.comes, other.rank
                   limit 1) ahead on true;

comment on view waiting is 'Who waits for which mutex behind whom, and since when. A waiter that died without a word is shown until its turn comes.';
comment on column waiting.owner_session is 'Who waits: for whoever may not read hold only a digest, the same as in held.';
comment on column waiting.place is 'Place in line: 1 is next.';
comment on column waiting.behind_owner_session is 'Who is directly before it: the waiter ahead, or for the first one the holder (one of them, if they are several), at a path perhaps one above or below.';
comment on column waiting.waiting_for is 'How long it has been waiting.';
comment on column waiting.seen_at is 'When the waiter, or its process, last asked.';
