-- What the functions answer with, and what they share.

create view hold as
select mutex_group, mutex_mode, mutex_id, permit, permits,
       owner_session, owner_host, owner_id, owner_login, owner_name,
       auto_release_rule, auto_release_config, captured_since, status_data,
       fencing_token, held_since, expires_at, lock_parents, lock_children
from mutex_model;

comment on view hold is
    'Every row of mutex_model, over or not, with a fixed list of columns. The functions read and write through it, so a column '
    'that another program adds to the table disturbs nothing.';

create view live_hold as
select mutex_group, mutex_mode, mutex_id, permit, permits,
       owner_session, owner_host, owner_id, owner_login, owner_name,
       auto_release_rule, auto_release_config, status_data, fencing_token,
       held_since, captured_since, expires_at, lock_parents, lock_children
from hold
where (expires_at is null or expires_at >= clock_timestamp())
  -- The question of session_is_gone, written out: whoever may read a view need not be allowed to call a function. (Advisory
  -- locks are not replicated, so a standby cannot tell.)
  and case
          when auto_release_rule <> 'connection' or auto_release_config !~ '^[0-9]{1,18}( [0-9]{1,10})?$' or pg_is_in_recovery() then true
          when split_part(auto_release_config, ' ', 1) = any (string_to_array(current_setting('pgmutex.attached', true), ',')) then true
          else not pg_try_advisory_xact_lock_shared(split_part(auto_release_config, ' ', 1)::bigint)
      end;

comment on view live_hold is
    'The holds whose rule has not ended them, with their secrets, for the views of this schema: nobody else need read it. held shows them to people.';

-- For messages and logs, which more people read than rows: an owner_session may be the key of somebody's web session.
create function owner_in_words(owner_name text, owner_login text, owner_session text) returns text
language sql stable parallel safe
as $$
    select coalesce(nullif(owner_name, ''), nullif(owner_login, ''),
                    'session sha256:' || left(encode(sha256(convert_to(owner_session, getdatabaseencoding()::name)), 'hex'), 12))
$$;
comment on function owner_in_words(text, text, text) is 'Whose hold it is, for messages: the name, the login, or else a digest of the session, as the view held shows it.';

-- An owner_session is what a release is compared with, and an application may have made it the key of a web session. So whoever may not
-- read hold is shown a digest of it, by which rows can be told apart, and no status_data. That is found out once for each query: the
-- planner makes one value of a subquery that depends on no row. As an expression, a column also gives no statistics of what is behind
-- it to operators of the reader's own.
create view held as
select mutex_group, mutex_mode, mutex_id, permit, permits,
       case when (select has_table_privilege('hold'::regclass, 'select')) then owner_session
            else 'sha256:' || left(encode(sha256(convert_to(owner_session, getdatabaseencoding()::name)), 'hex'), 12) end as owner_session,
       owner_host, owner_id, owner_login, owner_name,
       auto_release_rule, auto_release_config,
       case when (select has_table_privilege('hold'::regclass, 'select')) then status_data end as status_data,
       fencing_token,
       held_since, captured_since, expires_at, lock_parents, lock_children,
       case when isfinite(held_since) then clock_timestamp() - held_since end as held_for,
       case when isfinite(expires_at) then expires_at - clock_timestamp() end as time_left
from live_hold;

comment on view held is 'What is held now, by whom, since when and until when. Holds whose rule has ended them are left out; hold shows those too.';
comment on column held.owner_session is
    'Who holds it: for whoever may not read hold only a digest. A comparison with it reads every hold of the mutexes asked for; list() and hold find an owner by index.';
comment on column held.status_data is 'Free text of the holder; null for whoever may not read hold.';
comment on column held.held_for is 'Age of the hold.';
comment on column held.time_left is 'Time until the rule ends the hold; null if no time does.';

create type hold_outcome as (
    outcome               text,
    mutex_group           text,
    mutex_mode            text,
    mutex_id              text,
    permit                integer,
    permits               integer,
    owner_session         text,
    owner_host            text,
    owner_id              text,
    owner_login           text,
    owner_name            text,
    auto_release_rule     text,
    auto_release_config   text,
    captured_since        timestamptz,
    status_data           text,
    fencing_token         bigint,
    held_since            timestamptz,
    expires_at            timestamptz,
    lock_parents          boolean,
    lock_children         boolean,
    observed_at           timestamptz,
    evicted_owner_session text,
    evicted_owner_name    text,
    evicted_fencing_token bigint,
    ticket                bigint
);
comment on type hold_outcome is
    'One answer: the outcome, the hold it is about (the caller''s own or, if busy, the holder''s), the database time of the decision, '
    'if a hold was over and made way, whose it was, and if the caller waits in line, its ticket.';

-- The parts are set apart by their lengths: ('a', 'b:c') and ('a:b', 'c') must not share a key. Every program that decides
-- about mutexes must use the same key: this function never changes its results.
create function mutex_key(mutex_group text, mutex_mode text, mutex_id text) returns bigint
language sql immutable parallel safe
as $$
    select hashtextextended(
        octet_length(mutex_group)::text || ':' || octet_length(mutex_mode)::text || ':' || mutex_group || mutex_mode || mutex_id,
        31638917211252088)  -- the bytes of 'pgmutex': keys that an application makes for itself do not meet ours by accident
$$;
comment on function mutex_key(text, text, text) is
    'The key of the advisory transaction lock behind which decisions about a mutex are made. Two mutexes with one key only take turns.';

-- Whether a hold is over ------------------------------------------------------------------------------------------------

-- A database session that holds are attached to keeps an exclusive advisory lock on its number for as long as it lives. The
-- lock is asked for as a shared one: two who ask at once must not take each other for that session. A session that asks about
-- itself would be given the lock once more; it knows its own numbers (attach_session notes them) and need not ask.
create function session_is_gone(config text) returns boolean
language plpgsql volatile parallel unsafe
as $$
declare
    number text := split_part(config, ' ', 1);
begin
    if config !~ '^[0-9]{1,18}( [0-9]{1,10})?$' or number = any (string_to_array(current_setting('pgmutex.attached', true), ',')) then
        return false;
    end if;
    -- Advisory locks are not replicated: a standby cannot tell.
    return not pg_is_in_recovery() and pg_try_advisory_xact_lock_shared(number::bigint);
end
$$;
comment on function session_is_gone(text) is 'Whether the database session that a rule connection names has ended.';

-- One expression, so that it becomes part of the query that asks (as long as at_time is no volatile expression named twice).
create function hold_is_over(rule text, config text, expires_at timestamptz, at_time timestamptz) returns boolean
language sql volatile parallel unsafe
as $$ select coalesce(expires_at < at_time, false) or coalesce(rule = 'connection' and session_is_gone(config), false) $$;
comment on function hold_is_over(text, text, timestamptz, timestamptz) is 'Whether the rule of a hold has ended it.';

-- Refusals --------------------------------------------------------------------------------------------------------------

-- Called once the cheap test has failed: says which of the two it is.
create function refuse_transaction() returns void
language plpgsql volatile parallel unsafe
as $$
begin
    if pg_is_in_recovery() then
        raise exception using errcode = 'PM002',
            message = 'pgmutex cannot decide on a standby',
            hint = 'Connect to the primary, for example with target_session_attrs=read-write.';
    end if;
    raise exception using errcode = 'PM001',
        message = format('pgmutex cannot decide in a %s transaction: its snapshot may be older than the lock', current_setting('transaction_isolation')),
        hint = 'Call it on its own, or begin the transaction with: begin isolation level read committed';
end
$$;
comment on function refuse_transaction() is 'Raises PM001 (isolation level) or PM002 (standby).';

create function refuse_input(problem text) returns void
language plpgsql volatile parallel unsafe
as $$
begin
    raise exception using errcode = 'PM003', message = problem,
        hint = 'Nothing was changed. The limits are in function hold_is_within_limits, and what the columns mean in the comments of table mutex_model.';
end
$$;
comment on function refuse_input(text) is 'Raises PM003 (an argument that cannot be accepted).';

create function check_text(field text, value text, most_bytes integer) returns void
language plpgsql immutable parallel safe
as $$
begin
    if octet_length(value) > most_bytes then
        raise exception using errcode = 'PM003',
            message = format('%s is %s bytes long, at most %s are allowed', field, octet_length(value), most_bytes);
    end if;
end
$$;
comment on function check_text(text, text, integer) is 'Raises PM003 if a text is longer than its column takes.';

create function check_call(mutex_group text, mutex_mode text, mutex_id text, owner_session text) returns void
language plpgsql volatile parallel unsafe
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if mutex_group is null or mutex_mode is null or mutex_id is null then
        perform refuse_input('mutex_group, mutex_mode and mutex_id must not be null');
    end if;
    if mutex_group = '' and mutex_mode = '' and mutex_id = '' then
        perform refuse_input('mutex_id is empty, and so are mutex_group and mutex_mode: name the mutex');
    end if;
    if coalesce(owner_session, '') = '' then
        perform refuse_input('owner_session is empty: it says who holds the mutex');
    end if;
    perform check_text('mutex_group', mutex_group, 400);
    perform check_text('mutex_mode', mutex_mode, 400);
    perform check_text('mutex_id', mutex_id, 1600);
    perform check_text('owner_session', owner_session, 400);
    perform check_path(mutex_id);
end
$$;
comment on function check_call(text, text, text, text) is
    'The start of every decision: refuses a transaction whose snapshot may be stale (PM001), a standby (PM002) and bad names (PM003).';

-- What nearly every call is, in one expression: it becomes part of the expression that asks, and costs a tenth of check_call, which says
-- what is wrong. All names together are within the smallest of the limits, so each is; a null makes it null.
create function is_plain_call(mutex_group text, mutex_mode text, mutex_id text, owner_session text) returns boolean
language sql volatile parallel unsafe
as $$
    select octet_length(mutex_group || mutex_mode || mutex_id || owner_session) <= 400
           and mutex_group || mutex_mode || mutex_id <> '' and owner_session <> '' and left(mutex_id, 1) <> '/'
           and current_setting('transaction_isolation') in ('read committed', 'read uncommitted') and not pg_is_in_recovery()
$$;
comment on function is_plain_call(text, text, text, text) is
    'True if check_call would find nothing, for short names of what is no path; else false or null, which says nothing.';

-- The same for the rules of nearly every call.
create function is_plain_rule(rule text, config text) returns boolean
language sql volatile parallel unsafe
as $$
    select case rule
               when 'timeout' then ltrim(config, '0123456789') = '' and octet_length(config) between 1 and 9 and ltrim(config, '0') <> ''
               when 'connection' then ltrim(config, '0123456789') = '' and octet_length(config) between 1 and 18 and ltrim(config, '0') <> ''
                                      and not session_is_gone(config)
               when 'never' then config = ''
               when '' then config = ''
           end
$$;
comment on function is_plain_rule(text, text) is 'True if check_rule would find nothing, for the simplest rules; else false or null, which says nothing.';

create function check_rule(rule text, config text) returns void
language plpgsql volatile parallel unsafe
as $$
begin
    if rule in ('', 'never') then
        if coalesce(config, '') <> '' then
            perform refuse_input('auto_release_config must be empty for the rule never');
        end if;
    elsif rule = 'timeout' then
        if coalesce(config !~ '^[0-9]{1,10}$', true) or config::bigint not between 1 and 3153600000 then
            perform refuse_input('auto_release_config of a timeout must be whole seconds from 1 to 3153600000 (100 years)');
        end if;
    elsif rule = 'deadline' then
        -- Two different starting points give two answers exactly when the text is no time and the fallback answers.
        if rule_ends_at(rule, config, timestamptz 'epoch') <> rule_ends_at(rule, config, timestamptz '2000-01-01 00:00:00Z') then
            perform refuse_input('auto_release_config of a deadline must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z');
        elsif rule_ends_at(rule, config, timestamptz 'epoch') <= clock_timestamp() then
            perform refuse_input('auto_release_config: this deadline has already passed');
        end if;
    elsif rule = 'connection' then
        if coalesce(config !~ '^[0-9]{1,18}( [0-9]{1,10})?$', true) or split_part(config, ' ', 1)::bigint = 0
           or coalesce(nullif(split_part(config, ' ', 2), ''), '1')::bigint not between 1 and 3153600000 then
            perform refuse_input('auto_release_config of a connection must be the number of a database session, as attach_session gives it, '
                                 'and perhaps a space and whole seconds from 1 to 3153600000');
        elsif session_is_gone(config) then
            perform refuse_input('auto_release_config names a database session that is gone: attach another');
        end if;
    end if;
    perform check_text('auto_release_rule', rule, 400);
    perform check_text('auto_release_config', config, 1600);
end
$$;
comment on function check_rule(text, text) is 'Raises PM003 if a rule could not end a hold as its caller means it to.';

create function check_access(access text, permits integer) returns void
language plpgsql volatile parallel unsafe
as $$
begin
    if access is null or access not in ('exclusive', 'shared') then
        perform refuse_input('access must be exclusive or shared');
    elsif permits is not null and access = 'exclusive' then
        perform refuse_input('permits says how many may share the mutex: it goes with access shared');
    elsif permits < 1 then
        perform refuse_input('permits must be 1 or more, or null for any number');
    end if;
end
$$;
comment on function check_access(text, integer) is 'Raises PM003 if nobody could have this access.';
