-- Nothing is for everybody: the owner of the schema grants what a role needs.
do $$
declare
    routine regprocedure;
begin
    for routine in
        select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        -- By name: another program may have functions in this schema.
        where n.nspname = current_schema() and p.proname in (
            'current_timeline', 'bump_generation', 'ensure_generation', 'draw_fencing_token', 'next_fencing_token', 'rule_ends_at',
            'mutex_key', 'refuse_transaction', 'refuse_input', 'check_text', 'check_call', 'check_rule',
            'capture', 'refresh', 'release', 'request', 'list', 'list_count',
            'remove_hold', 'evict', 'force_release', 'sweep', 'fence',
            'session_is_gone', 'hold_is_over', 'check_access', 'waiter_is_gone', 'first_in_line', 'could_be_captured', 'wake_line', 'wake_lines',
            'is_path', 'paths_above', 'end_of_path', 'locks_of', 'takes_turns', 'check_path', 'check_reach', 'lock_mutex', 'try_lock_mutex',
            'evict_hold', 'hold_in_the_way', 'waiter_in_the_way', 'holder_in_the_way', 'list_waiting',
            'circle_of_waiting', 'refuse_deadlock', 'join_line', 'leave_line', 'listener_is_seen', 'attach_session', 'look_at_lines', 'keep',
            'lock_mutexes', 'lock_what_is_over_above', 'check_requests', 'capture_each', 'capture_all', 'release_each', 'release_owner')
    loop
        execute format('revoke all on function %s from public', routine);
    end loop;
end
$$;
