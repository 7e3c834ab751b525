-- What is wrong around the locks: settings, standbys, vacuum, rows that stayed behind, rights. For people in psql, and for clients.
--
-- To add a check, add an entry to the list: its subject, and one query that gives one row (verdict, found, advice). Each query
-- stands for itself: one that fails, for want of rights or because somebody has changed a table, becomes a row that says so.
-- $1 is how long something may last, $2 and $3 say how many per cent of the pages of mutex_model and mutex_waiter are looked
-- at. No query reads more of a table than that, and none takes a lock on a mutex.

create function doctor(patience interval default '5 minutes')
returns table (subject text, verdict text, found text, advice text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '1s'
as $doctor$
declare
    look        record;
    judged      text;
    seen        text;
    cure        text;
    -- Of a larger table a sample: many rows that nobody has swept, or a table that nobody has vacuumed, must not make this slow.
    most_bytes  constant numeric := 500 * current_setting('block_size')::numeric;
    holds_share real := 1;
    lines_share real := 1;
begin
    if doctor.patience is null or doctor.patience < interval '0' then
        perform refuse_input('patience must not be null or negative: what lasts longer is reported');
    end if;
    begin
        holds_share := least(100, 100 * most_bytes / greatest(pg_relation_size(to_regclass('mutex_model')), 1));
        lines_share := least(100, 100 * most_bytes / greatest(pg_relation_size(to_regclass('mutex_waiter')), 1));
    exception when lock_not_available then
        null;  -- whoever looks at the table will say so
    end;
    for look in select l.subject, l.query from (values

-- The server ----------------------------------------------------------------------------------------------------------

(10, 'version', $$
    -- https://www.postgresql.org/support/versioning/
    select case when s.version < 13 then 'problem' when e.supported_until < current_date then 'note' else 'ok' end,
           'PostgreSQL ' || current_setting('server_version') || case when e.supported_until < current_date then ', without fixes since ' || e.supported_until else '' end,
           case when s.version < 13 then 'Move to PostgreSQL 13 or later: earlier versions are not supported here.'
                when e.supported_until < current_date then 'Move to a version that the PostgreSQL project still supports.' end
    from (select current_setting('server_version_num')::integer / 10000 as version) s
    left join (values (13, date '2025-11-13'), (14, '2026-11-12'), (15, '2027-11-11'), (16, '2028-11-09'), (17, '2029-11-08'), (18, '2030-11-14'))
        e (version, supported_until) using (version) $$),

(11, 'writing', $$
    select case when pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean then 'warning' else 'ok' end,
           case when pg_is_in_recovery() then 'this is a standby: locks can be looked at, not captured'
                when current_setting('default_transaction_read_only')::boolean then 'transactions of role ' || session_user || ' are read-only by default'
                else 'this is a primary, and may be written to' end,
           case when pg_is_in_recovery() then 'Connect to the primary: target_session_attrs=read-write.'
                when current_setting('default_transaction_read_only')::boolean
                then format('alter role %I reset default_transaction_read_only; or look at the settings of the database.', session_user) end $$),

(12, 'isolation', $$
    select case when s.level not in ('read committed', 'read uncommitted') then 'warning' when others.names is not null then 'note' else 'ok' end,
           'transactions begin at ' || s.level || coalesce('; at another level for ' || others.names, ''),
           case when s.level not in ('read committed', 'read uncommitted')
                then format('alter role %I set default_transaction_isolation = ''read committed''; until then every call takes more round trips, and from psql fails with PM001 unless the transaction says its level.', session_user)
                when others.names is not null then 'What those roles call from SQL must say: begin isolation level read committed.' end
    from (select current_setting('default_transaction_isolation') as level) s
    cross join (select string_agg(format('role %I', r.rolname), ', ' order by r.rolname) as names
                from (select r.rolname from pg_db_role_setting s
                      join pg_roles r on r.oid = s.setrole and r.rolname <> session_user
                      cross join unnest(s.setconfig) c (setting)
                      where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
                        and c.setting ~ '^default_transaction_isolation=(repeatable read|serializable)$'
                      -- Those set for this very database first.
                      group by r.rolname order by max(s.setdatabase) desc, r.rolname limit 3) r) others $$),

(13, 'commits', $$
    select case when s.setting in ('on', 'remote_apply') then 'ok' else 'note' end,
           'synchronous_commit is ' || s.setting || case when s.setting in ('on', 'remote_apply') then '' else '; captures and refreshes raise it for themselves' end,
           case when s.setting not in ('on', 'remote_apply')
                then 'Nothing needs to be done for the locks. What an application commits behind a fence is only as durable as this setting.' end
    from (select current_setting('synchronous_commit') as setting) s $$),

(14, 'durability', $$
    select case when count(*) > 0 then 'problem' else 'ok' end,
           coalesce(string_agg(w.reason, ', '), 'fsync and full_page_writes are on'),
           case when count(*) > 0 then 'A crash can lose holds and tokens that were acknowledged, or the whole cluster: ' || string_agg(w.cure, ', ') || '.' end
    from (select 'fsync is off' as reason, 'set fsync = on in postgresql.conf' as cure where current_setting('fsync') = 'off'
          union all
          select 'full_page_writes is off', 'set full_page_writes = on in postgresql.conf' where current_setting('full_page_writes') = 'off'
          union all
          select c.relname || ' is unlogged', format('alter table %I.%I set logged', current_schema(), c.relname) from pg_class c
          where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relpersistence = 'u' and c.relname in ('mutex_model', 'pool_session', 'token_generation')) w $$),

(15, 'replication', $$
    select case when s.is_standby or not s.sees and (s.standbys > 0 or s.wanted <> '') then 'note'
                when s.wanted <> '' then case when s.synchronous > 0 then 'ok' else 'problem' end
                when s.standbys > 0 then 'note'
                else 'ok' end,
           case when s.is_standby then 'this is a standby: the primary knows more'
                when s.wanted <> '' and not s.sees then 'synchronous standbys are asked for; whether one is there it is not allowed to see'
                when s.wanted <> '' and s.synchronous > 0 then format('%s of %s standbys synchronous', s.synchronous, s.standbys)
                when s.wanted <> '' then 'synchronous_standby_names is set, and none of them is there: captures wait for it'
                when s.standbys > 0 then format('%s standby(s), none synchronous', s.standbys)
                else 'no standby' end,
           case when s.is_standby then 'Call it on the primary.'
                when s.wanted <> '' and not s.sees then format('grant pg_read_all_stats to %I;', current_user)
                when s.wanted <> '' and s.synchronous = 0 then 'Start the standby, or take it out of synchronous_standby_names.'
                when s.wanted = '' and s.standbys > 0
                then 'After a failover tokens still only grow, but a capture acknowledged just before it may be missing. If that must not be: set synchronous_standby_names.' end
    from (select pg_is_in_recovery() as is_standby, current_setting('synchronous_standby_names') as wanted,
                 pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees,
                 count(r.pid) filter (where r.application_name is distinct from 'pg_basebackup'
                                        and r.pid not in (select l.active_pid from pg_replication_slots l where l.slot_type = 'logical' and l.active_pid is not null)) as standbys,
                 count(r.pid) filter (where r.sync_state in ('sync', 'quorum')) as synchronous
          from pg_stat_replication r) s $$),

(16, 'lock table', $$
    select case when s.entries < 2000 then 'warning' else 'ok' end,
           format('%s entries; a batch of 1000 mutexes takes 1000, or of paths one for each level', s.entries),
           case when s.entries < 2000 then 'Raise max_locks_per_transaction and restart the server, or keep batches smaller.' end
    from (select current_setting('max_locks_per_transaction')::bigint
                 * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) as entries) s $$),

(17, 'timeouts', $$
    select case when bool_or(t.hurts) then 'warning' when count(*) > 0 then 'note' else 'ok' end,
           coalesce(string_agg(t.name || ' is ' || current_setting(t.name), ', ' order by t.name), 'none that would end a call or a session'),
           string_agg(t.why, ' ' order by t.name)
    from (select s.name, s.name <> 'idle_session_timeout' as hurts,
                 case s.name when 'idle_session_timeout' then 'idle_session_timeout ends sessions that listen, unless attach_session opened them.'
                             else s.name || ' ends calls that wait their turn, for up to 5 s, behind another decision: set it to 0 or above 6 s.' end as why
          from pg_settings s
          -- All three are kept in milliseconds. lock_timeout is not among them: functions that wait bring their own.
          where s.name = 'idle_session_timeout' and s.setting <> '0'
             or s.name in ('statement_timeout', 'transaction_timeout') and s.setting::bigint between 1 and 6000) t $$),

(18, 'attached holds', $$
    select case when exists (select from pg_settings s where s.name = 'client_connection_check_interval') then 'ok' else 'note' end,
           case when exists (select from pg_settings s where s.name = 'client_connection_check_interval')
                then 'free about 1 s after their process is killed, 10 s after it is cut off'
                else 'free only at the end of its query if their process is killed during one' end,
           case when not exists (select from pg_settings s where s.name = 'client_connection_check_interval')
                then 'PostgreSQL 14 and later notice at once.' end $$),

(19, 'notifications', $$
    select case when s.used > 0.5 then 'problem' when s.used > 0.1 then 'warning' else 'ok' end,
           format('queue %s %% full', round((100 * s.used)::numeric, 1)),
           case when s.used > 0.1 then 'A session that listens is stuck in a transaction; when the queue is full, releases fail. The server''s log names it: end it with pg_terminate_backend.' end
    from (select pg_notification_queue_usage() as used) s $$),

(20, 'encoding', $$
    select case when s.encoding = 'UTF8' then 'ok' when s.encoding = 'SQL_ASCII' then 'warning' else 'note' end,
           'the database is ' || s.encoding,
           case when s.encoding = 'SQL_ASCII' then 'It stores any bytes, which clients may not be able to read: use ASCII in names, or a database in UTF8.'
                when s.encoding <> 'UTF8' then 'Names with other characters are refused (22P05).' end
    from (select current_setting('server_encoding') as encoding) s $$),

-- Tokens --------------------------------------------------------------------------------------------------------------

(30, 'generation', $$
    select case when s.generation is null then 'problem' when s.is_standby then 'note' when s.is_same then 'ok' else 'warning' end,
           case when s.generation is null then 'token_generation is empty: no token can be given'
                when s.is_standby then format('%s; a standby gives no tokens', s.generation)
                when s.is_same then format('%s, of this server', s.generation)
                else format('%s, of another server (system %s, timeline %s)', s.generation, s.system_identifier, s.timeline) end,
           case when s.generation is null then 'Restore its row: generation above that of every token given so far.'
                when not s.is_same and not s.is_standby
                then format('select %I.ensure_generation(); clients that connect do it too. Until then tokens may run back.', current_schema()) end
    from (select g.generation, g.system_identifier, g.timeline, pg_is_in_recovery() as is_standby,
                 case when pg_is_in_recovery() then null
                      else g.timeline = current_timeline() and g.system_identifier = (select c.system_identifier from pg_control_system() c) end as is_same
          from (values (true)) one (row) left join token_generation g on true) s $$),

(31, 'token room', $$
    select case when s.used > 8000000 then 'problem' when s.used > 4000000 then 'warning' else 'ok' end,
           format('%s of 8388607 generations used', s.used),
           case when s.used > 4000000 then 'Find out who raises the generation so often (bump_generation), before none is left; then a new schema is needed.' end
    from (select g.generation + (f.last_value >> 40) as used from token_generation g cross join fencing_token_sequence f) s $$),

-- Vacuum --------------------------------------------------------------------------------------------------------------

(40, 'autovacuum', $$
    select case when s.is_off or s.names is not null then 'warning' else 'ok' end,
           case when s.is_off then 'off for the whole server' when s.names is not null then 'off for ' || s.names else 'on' end,
           case when s.is_off then 'Set autovacuum = on and track_counts = on in postgresql.conf, or vacuum the tables yourself every few minutes.'
                when s.names is not null then s.cures end
    from (select current_setting('autovacuum') = 'off' or current_setting('track_counts') = 'off' as is_off,
                 string_agg(c.relname, ', ' order by c.relname) as names,
                 string_agg(format('alter table %I.%I reset (autovacuum_enabled);', current_schema(), c.relname), ' ' order by c.relname) as cures
          from pg_class c cross join unnest(c.reloptions) o (setting)
          where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind = 'r' and o.setting ~* '^autovacuum_enabled=(f|n|of|0)') s $$),

(41, 'dead rows', $$
    select case when bool_or(t.is_much) then 'warning' else 'ok' end,
           string_agg(format('%s %s', t.relname, t.n_dead_tup) || case when t.is_much then coalesce(', vacuumed at ' || date_trunc('second', t.vacuumed), ', never vacuumed') else '' end,
                      '; ' order by t.relname),
           case when bool_or(t.is_much)
                then string_agg(format('vacuum %I.%I;', current_schema(), t.relname), ' ' order by t.relname) filter (where t.is_much)
                     || ' If that does not help, see old snapshots.' end
    from (select s.relname, s.n_dead_tup, greatest(s.last_vacuum, s.last_autovacuum) as vacuumed,
                 s.n_dead_tup > 50000 and s.n_dead_tup > s.n_live_tup as is_much
          from pg_stat_all_tables s
          where s.schemaname = current_schema() and s.relname in ('mutex_model', 'mutex_waiter', 'mutex_listener', 'pool_session')) t $$),

(42, 'old snapshots', $$
    select case when count(o.who) > 0 then 'warning' when h.hidden > 0 then 'note' else 'ok' end,
           case when count(o.who) > 0 then format('%s keep(s) vacuum from removing rows: ', count(o.who)) || (array_agg(o.who order by o.lasts desc))[1]
                when h.hidden > 0 then format('it is not allowed to see those of %s session(s) of other roles', h.hidden)
                else format('none older than %s', $1) end,
           case when count(o.who) > 0 then (array_agg(o.cure order by o.lasts desc))[1] || ' Keep transactions short; idle_in_transaction_session_timeout ends forgotten ones.'
                when h.hidden > 0 then format('grant pg_read_all_stats to %I;', current_user) end
    from (select count(*) as hidden from pg_stat_activity a where a.datname = current_database() and a.query = '<insufficient privilege>') h
    left join (
        select format('process %s of role %I, %s for %s', a.pid, a.usename, coalesce(a.state, a.backend_type), date_trunc('second', clock_timestamp() - a.xact_start)) as who,
               format('select pg_terminate_backend(%s);', a.pid) as cure, clock_timestamp() - a.xact_start as lasts
        from pg_stat_activity a
        where coalesce(a.backend_xmin, a.backend_xid) is not null and a.xact_start <= clock_timestamp() - $1 and a.pid <> pg_backend_pid()
          and (a.datname = current_database() or a.backend_type = 'walsender')
          and a.backend_type <> 'autovacuum worker'
        union all
        select format('transaction %L, prepared %s ago', p.gid, date_trunc('second', clock_timestamp() - p.prepared)),
               format('rollback prepared %L;', p.gid), clock_timestamp() - p.prepared
        from pg_prepared_xacts p where p.database = current_database() and p.prepared <= clock_timestamp() - $1
        union all
        select format('replication slot %I, %s transactions behind', s.slot_name, age(s.xmin)),
               format('Bring its standby back, or select pg_drop_replication_slot(%L);', s.slot_name), interval '0'
        from pg_replication_slots s where age(s.xmin) > 1000000) o on true
    group by h.hidden $$),

-- Locks and lines -----------------------------------------------------------------------------------------------------

(50, 'open transactions', $$
    select case when count(*) filter (where t.lasts >= least($1, interval '30 seconds')) > 0 then 'warning'
                when count(*) filter (where t.lasts is null) > 0 then 'note' else 'ok' end,
           case when count(*) filter (where t.lasts >= least($1, interval '30 seconds')) > 0
                then format('%s keep(s) others from deciding about mutexes: ', count(*) filter (where t.lasts >= least($1, interval '30 seconds')))
                     || (array_agg(format('process %s of role %I, %s for %s', t.pid, t.usename, t.state, date_trunc('second', t.lasts)) order by t.lasts desc nulls last))[1]
                when count(*) filter (where t.lasts is null) > 0
                then format('%s of other roles have locks here; for how long it is not allowed to see', count(*) filter (where t.lasts is null))
                else 'none that keeps mutexes locked for long' end,
           case when count(*) filter (where t.lasts >= least($1, interval '30 seconds')) > 0
                then (array_agg(format('select pg_terminate_backend(%s);', t.pid) order by t.lasts desc nulls last))[1]
                     || ' Capture and release outside of transactions, or in ones that end within a second.'
                when count(*) filter (where t.lasts is null) > 0 then format('grant pg_read_all_stats to %I;', current_user) end
    from (select a.pid, a.usename, a.state, clock_timestamp() - a.xact_start as lasts
          from pg_stat_activity a
          where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type is distinct from 'autovacuum worker'
            -- Whoever has decided in a transaction that is still open has one of these beside the advisory lock, whose number tells nothing.
            and a.pid in (select l.pid from pg_locks l
                          where l.locktype = 'relation' and l.granted and l.mode in ('RowShareLock', 'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                            and l.database = (select d.oid from pg_database d where d.datname = current_database())
                            and l.relation in ('mutex_model'::regclass, 'mutex_waiter'::regclass, 'pool_session'::regclass))) t $$),

(51, 'holds over', $$
    select case when s.count >= 50000 then 'warning' when s.count >= 1000 then 'note' else 'ok' end,
           format('%s%s over and not swept', case when $2 < 100 then 'about ' else '' end, s.count),
           case when s.count >= 1000 then format('select %I.sweep(); until it answers 0, and from now on regularly, for example from cron.', current_schema()) end
    from (select round((count(*) * 100 / $2)::numeric)::bigint as count
          from (select m.expires_at,
                       case when m.auto_release_rule = 'connection' and m.auto_release_config ~ '^[0-9]{1,18}( [0-9]{1,10})?$' and not pg_is_in_recovery()
                            then split_part(m.auto_release_config, ' ', 1)::bigint end as session
                from mutex_model m tablesample system ($2)) m
          -- Not by asking for the session's lock, as a sweep does: that many locks would fill the lock table.
          where m.expires_at < clock_timestamp()
             or m.session is not null and m.session not in (select l.classid::bigint << 32 | l.objid::bigint from pg_locks l
                                  where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                                    and l.database = (select d.oid from pg_database d where d.datname = current_database()))) s $$),

(52, 'holds for ever', $$
    select case when s.count > 0 then 'note' else 'ok' end,
           format('%s%s under the rule never, for more than a day', case when $2 < 100 then 'about ' else '' end, s.count),
           case when s.count > 0
                then format('Nothing ends them but release or force_release. See: select * from %I.held where auto_release_rule in ('''', ''never'') order by held_since;', current_schema()) end
    from (select round((count(*) * 100 / $2)::numeric)::bigint as count from mutex_model m tablesample system ($2)
          where m.auto_release_rule in ('', 'never') and m.held_since < clock_timestamp() - interval '1 day') s $$),

(53, 'custom rules', $$
    select case when s.count > 0 then 'note' else 'ok' end,
           case when s.count > 0 then format('%s%s under rules that the database does not know, such as %L', case when $2 < 100 then 'about ' else '' end, s.count, s.example)
                else 'no hold under a rule that the database does not know' end,
           case when s.count > 0 then 'Only clients that know the rule end these holds: make sure that one runs, or release them.' end
    from (select round((count(*) * 100 / $2)::numeric)::bigint as count, left(regexp_replace(min(m.auto_release_rule), '[[:cntrl:]]', ' ', 'g'), 40) as example
          from mutex_model m tablesample system ($2)
          where m.auto_release_rule not in ('', 'never', 'timeout', 'deadline', 'connection')) s $$),

(54, 'waiters', $$
    select case when s.gone > 0 then 'note' else 'ok' end,
           format('%s%s in line, %s of them gone', case when $3 < 100 then 'about ' else '' end, s.count, s.gone),
           case when s.gone > 0 then 'Their processes have not asked for 15 s. They are passed and removed when their turn comes: nothing needs to be done.' end
    from (select round((count(*) * 100 / $3)::numeric)::bigint as count,
                 round((count(*) filter (where case when w.listener is null then w.seen_at else coalesce(l.seen_at, '-infinity') end
                                               < clock_timestamp() - interval '15 seconds') * 100 / $3)::numeric)::bigint as gone
          from mutex_waiter w tablesample system ($3)
          left join mutex_listener l on l.listener = w.listener) s $$),

-- The schema ----------------------------------------------------------------------------------------------------------

(60, 'triggers', $$
    select case when bool_or(t.is_ours) then 'problem' when count(*) > 0 then 'warning' else 'ok' end,
           coalesce(string_agg(t.name || case when t.is_ours then ' is missing or disabled' else ' of another program' end, ', ' order by not t.is_ours, t.name),
                    'none of another program'),
           case when bool_or(t.is_ours) then 'alter table ... enable trigger, or make it again as the migrations do: sessions of pools do not come back without.'
                when count(*) > 0 then 'Make sure that it neither changes nor refuses rows of these tables, and is quick: it runs while others wait.' end
    from (select format('%I on %s', o.name, o.relation) as name, true as is_ours
          from (values ('pool_session_is_written', 'pool_session'), ('session_comes_back', 'pool_session'),
                       ('lease_has_ended', 'mutex_model'), ('lease_has_changed', 'mutex_model'), ('hold_ends_earlier', 'mutex_model')) o (name, relation)
          where not exists (select from pg_trigger g where g.tgrelid = to_regclass(o.relation) and g.tgname = o.name and g.tgenabled in ('O', 'A'))
          union all
          select format('%I on %s', g.tgname, c.relname), false
          from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_proc p on p.oid = g.tgfoid
          where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relname in ('mutex_model', 'mutex_waiter', 'mutex_listener', 'pool_session', 'token_generation')
            and not g.tgisinternal and p.pronamespace <> quote_ident(current_schema())::regnamespace) t $$),

(61, 'indexes', $$
    select case when bool_or(i.is_missing) then 'problem' when count(*) > 0 then 'warning' else 'ok' end,
           coalesce(string_agg(i.name || i.what, ', ' order by not i.is_missing, i.name), 'all there and valid'),
           string_agg(i.cure, ' ' order by not i.is_missing, i.name)
    from (select o.name, ' is missing' as what, true as is_missing, 'Make ' || o.name || ' again as the migrations do.' as cure
          from unnest('{token_generation_pkey,mutex_model_pkey,mutex_model_owner_session,mutex_model_lock_parents,
                        mutex_model_sweep_at,mutex_model_connection,
                        mutex_listener_pkey,mutex_waiter_pkey,mutex_waiter_owner_session,mutex_waiter_listener,mutex_waiter_while_holding,
                        pool_session_pkey,pool_session_ready,pool_session_due,pool_session_leased,pool_session_request}'::text[]) o (name)
          where not exists (select from pg_class c where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relname = o.name and c.relkind = 'i')
          union all
          select c.relname, ' is invalid', false, format('reindex index %I.%I;', current_schema(), c.relname)
          from pg_index x join pg_class c on c.oid = x.indexrelid
          where c.relnamespace = quote_ident(current_schema())::regnamespace and not (x.indisvalid and x.indisready)
          union all
          select c.relname, ' makes every heartbeat write it', false, format('drop index %I.%I; or leave out the columns captured_since, expires_at and status_data.', current_schema(), c.relname)
          from pg_index x join pg_class c on c.oid = x.indexrelid
          where x.indrelid = to_regclass('mutex_model') and pg_get_indexdef(x.indexrelid) ~ '\m(captured_since|expires_at|status_data)\M') i $$),

(62, 'views', $$
    select case when count(*) > 0 then 'problem' else 'ok' end,
           coalesce('missing: ' || string_agg(m.name, ', ' order by m.name), 'complete'),
           case when count(*) > 0 then 'Make them again as the migrations do: the functions read through them.' end
    from (select v.name || '.' || c.name as name
          from (values ('hold', '{mutex_group,mutex_mode,mutex_id,permit,permits,owner_session,owner_host,owner_id,owner_login,owner_name,auto_release_rule,auto_release_config,captured_since,status_data,fencing_token,held_since,expires_at,lock_parents,lock_children}'::text[]),
                       ('held', '{mutex_group,mutex_mode,mutex_id,permit,permits,owner_session,owner_host,owner_id,owner_login,owner_name,auto_release_rule,auto_release_config,status_data,fencing_token,held_since,captured_since,expires_at,lock_parents,lock_children,held_for,time_left}'),
                       ('waiting', '{mutex_group,mutex_mode,mutex_id,place,access,permits,owner_session,owner_host,owner_id,owner_login,owner_name,behind_owner_session,behind_owner_name,queued_since,waiting_for,ticket,while_holding,listener,seen_at,lock_parents,lock_children}')) v (name, columns)
          cross join unnest(v.columns) c (name)
          where not exists (select from pg_attribute a where a.attrelid = to_regclass(v.name) and a.attname = c.name and not a.attisdropped)) m $$),

(63, 'public rights', $$
    select case when count(*) > 0 then 'warning' else 'ok' end,
           case when count(*) > 0 then format('everybody may use %s', (array_agg(p.name order by p.name))[1]) || case when count(*) > 1 then format(' and %s more', count(*) - 1) else '' end
                else 'none' end,
           case when count(*) > 0
                then replace('revoke all on schema S from public; revoke all on all functions in schema S from public; revoke all on all tables in schema S from public;',
                             'S', quote_ident(current_schema())) end
    from (select 'schema ' || n.nspname as name, n.nspacl as acl from pg_namespace n where n.nspname = current_schema()
          union all
          -- Those of another program are its own business.
          select 'function ' || p.proname, coalesce(p.proacl, acldefault('f', p.proowner)) from pg_proc p join pg_namespace n on n.oid = p.pronamespace and n.nspowner = p.proowner
          where n.nspname = current_schema()
          union all
          select c.relname, c.relacl from pg_class c where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind in ('r', 'v', 'p', 'S')) p
    where exists (select from aclexplode(p.acl) a where a.grantee = 0) $$),

(64, 'schema rights', $$
    select case when count(*) > 0 then 'problem' else 'ok' end,
           case when count(*) > 0 then 'objects can be made in the schema by ' || string_agg(g.name, ', ' order by g.name) else 'only its owner makes objects in it' end,
           case when count(*) > 0 then 'A function made there could run with the rights of its owner: '
                                       || string_agg(format('revoke create on schema %I from %s;', current_schema(), g.name), ' ' order by g.name) end
    from (select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as name
          from pg_namespace n cross join aclexplode(n.nspacl) a
          where n.nspname = current_schema() and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner) g $$),

(65, 'owner', $$
    select case when r.rolsuper or s.strangers > 0 then 'note' else 'ok' end,
           format('role %I', r.rolname) || case when r.rolsuper then ', a superuser' else '' end
               || case when s.strangers > 0 then format('; %s function(s) belong to another', s.strangers) else '' end,
           case when r.rolsuper then format('The functions run with its rights. Safer: make a plain role, alter schema %I owner to it, and so with all in it.', current_schema())
                when s.strangers > 0 then format('alter function ... owner to %I; or drop what does not belong here.', r.rolname) end
    from pg_namespace n join pg_roles r on r.oid = n.nspowner
    cross join lateral (select count(*) as strangers from pg_proc p where p.pronamespace = n.oid and p.proowner <> n.nspowner) s
    where n.nspname = current_schema() $$)

    ) l (place, subject, query) order by l.place
    loop
        begin
            execute look.query into strict judged, seen, cure using doctor.patience, holds_share, lines_share;
            return query select look.subject, judged, seen, cure;
        exception
            when insufficient_privilege then
                return query select look.subject, 'note', 'not allowed to see: ' || sqlerrm, format('Let its owner, role %I, see it.', current_user);
            -- Before the class that it is of.
            when lock_not_available then
                return query select look.subject, 'warning', 'another transaction keeps a whole table locked', 'Find it in pg_locks, and wait for its end or end it.'::text;
            when feature_not_supported or object_not_in_prerequisite_state then
                return query select look.subject, 'note', 'cannot be seen here: ' || sqlerrm, 'Call it on the primary.'::text;
            when others then
                return query select look.subject, 'problem', 'cannot be looked at: ' || sqlerrm, 'Something of the schema is not as the migrations left it.'::text;
        end;
    end loop;
end
$doctor$;
comment on function doctor(interval) is
    'Looks at what has to be right around the locks, and says for each subject a verdict (ok, note, warning, problem), what was found, and '
    'what to do about it. Changes nothing, and reads only a part of large tables. What lasts longer than patience is reported as old. It shows '
    'numbers of processes and names of roles that its owner may see, never their queries.';
