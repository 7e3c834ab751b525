-- Nothing is for everybody: the owner of the schema grants what a role needs, by grant_role.
do $$
declare
    routine regprocedure;
begin
    for routine in
        select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        -- By name: another program may have functions in this schema.
        where n.nspname = current_schema() and p.proname in (
            'current_timeline', 'bump_generation', 'ensure_generation', 'draw_fencing_token', 'next_fencing_token', 'rule_ends_at',
            'mutex_key', 'refuse_transaction', 'refuse_input', 'check_text', 'check_call', 'check_rule', 'is_plain_call',
            'is_plain_rule', 'hold_is_within_limits', 'capture', 'capture_contended', 'refresh', 'release', 'request', 'list', 'list_count',
            'remove_hold', 'evict', 'force_release', 'hold_ends_earlier', 'sweep_hold', 'sweep_later', 'sweep', 'fence',
            'session_is_gone', 'hold_is_over', 'check_access', 'waiter_is_gone', 'first_in_line', 'could_be_captured', 'wake_line', 'wake_lines',
            'is_path', 'paths_above', 'end_of_path', 'locks_of', 'takes_turns', 'check_path', 'check_reach', 'lock_mutex', 'try_lock_mutex',
            'evict_hold', 'hold_in_the_way', 'waiter_in_the_way', 'holder_in_the_way', 'list_waiting',
            'circle_of_waiting', 'refuse_deadlock', 'join_line', 'leave_line', 'listener_is_seen', 'attach_session', 'look_at_lines', 'keep',
            'lock_mutexes', 'lock_what_is_over_above', 'check_requests', 'capture_each', 'capture_all', 'release_each', 'release_owner',
            'pool_session_is_written', 'lease_has_ended', 'lease_has_changed', 'session_comes_back', 'check_count', 'check_pool', 'check_period', 'check_payload', 'path_of_key', 'document_with',
            'updated_document', 'projected_document', 'pool_condition', 'look_at_lease', 'lock_next_session', 'take_session', 'session_answer', 'be_durable',
            'pool_get_session', 'pool_line', 'wake_pool', 'pool_could_give', 'pool_checkout', 'pool_success', 'lock_session', 'pool_lock',
            'pool_block', 'activate_session', 'pool_inactive', 'pool_activate', 'pool_add', 'change_session', 'pool_update', 'pool_delete',
            'pool_get', 'pool_find', 'pool_count', 'pool_count_active', 'session_that_fits', 'pool_find_one_and_update', 'pool_delete_one',
            'pool_create_index', 'pool_list_indexes', 'pool_drop_index', 'pool_statistics',
            'doctor', 'statistics',
            'check_together', 'can_be_plain', 'can_be_plain_rule', 'try_lock_together', 'capture_what_is_usual', 'capture_what_is_plain',
            'capture_together', 'lock_what_is_plain', 'release_locked', 'release_together', 'refresh_together',
            'audit_only_grows', 'make_audit_partition', 'audit_partitions', 'keep_audit', 'write_audit', 'audit_is_on', 'enable_audit',
            'disable_audit',
            'role_objects', 'hand_over', 'may_become', 'check_granting', 'grant_objects', 'revoke_objects', 'grant_role', 'revoke_role',
            'complete_grants',
            'm3_mutex_config', 'm3_mutex_token_read', 'm3_mutex_write_begins', 'm3_mutex_write_ends', 'm3_mutex_insert', 'm3_mutex_update',
            'm3_mutex_delete', 'm3_mutex_relation', 'is_m3_mutex_view', 'install_m3_mutex', 'uninstall_m3_mutex', 'import_m3_mutex',
            'adopt_m3_mutex', 'owner_in_words')
    loop
        execute format('revoke all on function %s from public', routine);
        -- What no role was given is its owner's.
        insert into object_role (kind, name, role)
        select 'function', p.proname, 'owner' from pg_proc p where p.oid = routine
        on conflict do nothing;
    end loop;
end
$$;

-- What goes for every function of this schema.

-- A session keeps the plans of the functions that it calls. Those made while there are a few holds, or none, read the whole table, and
-- would still do so when there are millions: until somebody analyzes it, which autovacuum does within minutes, if it keeps up. So whoever
-- looks for rows by a key may not plan that. (Those left out read many rows, or plan anew each time.) And what has no other plan then
-- looks so dear to the planner that it would be compiled first, for a tenth of a second each time: no call here is worth that.
do $$
declare
    routine regprocedure;
    joins   boolean;
begin
    for routine, joins in
        select p.oid::regprocedure, p.proname in ('keep', 'capture_each', 'capture_all', 'release_each', 'release_owner', 'look_at_lines')
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace join object_role o on o.kind = 'function' and o.name = p.proname
        where n.nspname = current_schema() and (p.prosecdef or 'enable_seqscan=off' = any (p.proconfig))
          and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql')
          and p.proname not in ('doctor', 'statistics', 'list', 'list_waiting', 'pool_find', 'pool_count', 'pool_count_active', 'pool_statistics',
                                'pool_create_index', 'pool_list_indexes', 'pool_drop_index')
    loop
        execute format('alter function %s set enable_seqscan = off', routine);
        execute format('alter function %s set jit = off', routine);
        if joins then
            execute format('alter function %s set enable_hashjoin = off', routine);
            execute format('alter function %s set enable_mergejoin = off', routine);
        end if;
    end loop;
end
$$;

-- Nothing has been granted by hand yet: what others have, they have by default privileges of this role, and a reader would read secrets by
-- them.
do $$
declare
    object  text;
    grantee oid;
begin
    for object, grantee in
        select format('table %s', c.oid::regclass), a.grantee
        from object_role o join pg_class c on c.relname = o.name and c.relnamespace = quote_ident(current_schema())::regnamespace
        cross join aclexplode(c.relacl) a
        where o.kind = 'relation' and a.grantee not in (0, c.relowner)
        union
        select format('routine %s', p.oid::regprocedure), a.grantee
        from object_role o join pg_proc p on p.proname = o.name and p.pronamespace = quote_ident(current_schema())::regnamespace
        cross join aclexplode(p.proacl) a
        where o.kind = 'function' and a.grantee not in (0, p.proowner)
    loop
        execute format('revoke all on %s from %s', object, grantee::regrole);
    end loop;
end
$$;

select complete_grants();
