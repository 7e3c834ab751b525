-- The one thing that only a lock inside the data's own database can do: make a stale holder's transaction fail.

-- It locks the hold's row for key share, to the end of the caller's transaction. The holder's refreshes go on (they change no
-- key column); whoever wants to evict the hold or force its release finds the row locked and answers busy. It takes no
-- advisory lock: a long transaction would keep everyone else waiting for theirs. It serves every isolation level, because it
-- fails closed: where the row is gone since the snapshot was taken, PostgreSQL raises 40001, and where it was only refreshed,
-- the older time counts.
create function fence(
    mutex_group   text,
    mutex_mode    text,
    mutex_id      text,
    fencing_token bigint
) returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    rule    text;
    config  text;
    ends_at timestamptz;
begin
    if fence.mutex_group is null or fence.mutex_mode is null or fence.mutex_id is null or fence.fencing_token is null then
        perform refuse_input('mutex_group, mutex_mode, mutex_id and fencing_token must not be null');
    end if;
    select h.auto_release_rule, h.auto_release_config, h.expires_at into rule, config, ends_at from hold h
    where h.mutex_group = fence.mutex_group and h.mutex_mode = fence.mutex_mode and h.mutex_id = fence.mutex_id
      and h.fencing_token = fence.fencing_token
    for key share;
    -- The clock is read when the row is locked: the wait for it counts.
    if not found or hold_is_over(rule, config, ends_at, clock_timestamp()) then
        raise exception using errcode = 'PM005',
            message = format('mutex %s/%s/%s is no longer held under token %s',
                             fence.mutex_group, fence.mutex_mode, fence.mutex_id, fence.fencing_token),
            hint = 'Roll back: another may hold it by now. Nothing of this transaction must be kept.';
    end if;
end
$$;
comment on function fence(text, text, text, bigint) is
    'Called inside the transaction that writes what the mutex protects: raises PM005 if the hold with this token is over or gone; '
    'else nobody can capture the mutex until this transaction ends.';
