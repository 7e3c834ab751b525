-- Who is in whose way: what to look at when something has been waiting for long.

create view blocking as
select w.mutex_group, w.mutex_mode, w.mutex_id,
       w.place, w.ticket, w.access,
       case when (select has_table_privilege('hold'::regclass, 'select')) then w.owner_session
            else 'sha256:' || left(encode(sha256(convert_to(w.owner_session, getdatabaseencoding()::name)), 'hex'), 12) end as owner_session,
       w.owner_host, w.owner_id, w.owner_login, w.owner_name,
       w.queued_since,
       clock_timestamp() - w.queued_since as waiting_for,
       blocker.blocked_by,
       blocker.mutex_id as blocker_mutex_id,
       blocker.access as blocker_access,
       case when (select has_table_privilege('hold'::regclass, 'select')) then blocker.owner_session
            else 'sha256:' || left(encode(sha256(convert_to(blocker.owner_session, getdatabaseencoding()::name)), 'hex'), 12)
       end as blocker_owner_session,
       blocker.owner_host as blocker_owner_host, blocker.owner_id as blocker_owner_id,
       blocker.owner_login as blocker_owner_login, blocker.owner_name as blocker_owner_name,
       blocker.fencing_token as blocker_fencing_token,
       blocker.ticket as blocker_ticket,
       blocker.since as blocker_since,
       blocker.ends_at as blocker_expires_at,
       case when blocker.blocked_by = 'holder' and isfinite(blocker.since) then clock_timestamp() - blocker.since end as held_for,
       case when isfinite(blocker.ends_at) then blocker.ends_at - clock_timestamp() end as time_left
from (select w.*, row_number() over line as place, lag(w.ticket) over line as ticket_before
      from mutex_waiter w
      window line as (partition by w.mutex_group, w.mutex_mode, w.mutex_id order by w.ticket)) w
cross join lateral (
    -- Those who share are in the way of one who wants to share only where there is no more room.
    select 'holder' as blocked_by, h.mutex_id, case when h.permit = 0 then 'exclusive' else 'shared' end as access,
           h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
           h.fencing_token, null::bigint as ticket, h.held_since as since, h.expires_at as ends_at
    from (select h.*, count(*) over () as holders, min(h.permits) over () as strictest
          from live_hold h
          where h.mutex_group = w.mutex_group and h.mutex_mode = w.mutex_mode and h.mutex_id = w.mutex_id
            and h.owner_session <> w.owner_session) h
    where h.permit = 0 or w.access = 'exclusive' or h.holders >= least(h.strictest, w.permits)
    union all
    -- The paths above and below.
    select 'holder', h.mutex_id, case when h.permit = 0 then 'exclusive' else 'shared' end,
           h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name, h.fencing_token, null, h.held_since, h.expires_at
    from live_hold h
    where h.mutex_group = w.mutex_group and h.mutex_mode = w.mutex_mode and w.mutex_id like '/%' and w.mutex_id like '%/'
      and h.lock_children
      and h.mutex_id = any (array(select left(w.mutex_id, slash.at) from generate_series(1, length(w.mutex_id) - 1) slash (at)
                                  where substr(w.mutex_id, slash.at, 1) = '/'))
      and h.owner_session <> w.owner_session and (h.permit = 0 or w.access = 'exclusive')
    union all
    select 'holder', h.mutex_id, case when h.permit = 0 then 'exclusive' else 'shared' end,
           h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name, h.fencing_token, null, h.held_since, h.expires_at
    from live_hold h
    where h.mutex_group = w.mutex_group and h.mutex_mode = w.mutex_mode and w.mutex_id like '/%' and w.mutex_id like '%/'
      and h.lock_parents and h.mutex_id > w.mutex_id and h.mutex_id < left(w.mutex_id, -1) || '0'
      and h.owner_session <> w.owner_session and (h.permit = 0 or w.access = 'exclusive')
    union all
    select 'waiter', before.mutex_id, before.access,
           before.owner_session, before.owner_host, before.owner_id, before.owner_login, before.owner_name, null, before.ticket,
           before.queued_since, null
    from mutex_waiter before
    where before.mutex_group = w.mutex_group and before.mutex_mode = w.mutex_mode and before.mutex_id = w.mutex_id
      and before.ticket = w.ticket_before
    union all
    select 'waiter', before.mutex_id, before.access,
           before.owner_session, before.owner_host, before.owner_id, before.owner_login, before.owner_name, null, before.ticket,
           before.queued_since, null
    from mutex_waiter before
    where before.mutex_group = w.mutex_group and before.mutex_mode = w.mutex_mode and before.ticket < w.ticket
      and w.mutex_id like '/%' and w.mutex_id like '%/' and before.mutex_id like '/%' and before.mutex_id like '%/'
      and before.mutex_id <> w.mutex_id
      and (starts_with(w.mutex_id, before.mutex_id) and (before.lock_children or w.lock_parents)
           or starts_with(before.mutex_id, w.mutex_id) and (before.lock_parents or w.lock_children))
      and before.owner_session <> w.owner_session and (before.access = 'exclusive' or w.access = 'exclusive')) blocker;

comment on view blocking is
    'Who blocks whom: a row for each waiter and each one that is in its way. These are all holders that it could not hold the mutex beside, '
    'the waiter directly ahead in its line, and at a path of a tree also those above and below, holders and those who came before. Whoever '
    'waits for a session of a pool has only the waiter ahead here: which session it will be is open.';
comment on column blocking.mutex_group is 'First part of the id of the mutex that is waited for; the blocker''s is the same.';
comment on column blocking.mutex_mode is 'Second part of that id; the blocker''s is the same.';
comment on column blocking.mutex_id is 'Third part of the id of the mutex that is waited for.';
comment on column blocking.place is 'The waiter''s place in line: 1 is next.';
comment on column blocking.ticket is 'The waiter''s ticket.';
comment on column blocking.access is 'The access that it waits for: exclusive or shared.';
comment on column blocking.owner_session is 'Who waits: for whoever may not read hold only a digest, the same as in held.';
comment on column blocking.waiting_for is 'How long it has been waiting.';
comment on column blocking.blocked_by is 'holder, or waiter: one ahead in line.';
comment on column blocking.blocker_mutex_id is 'Which mutex the blocker holds or waits for: at a path of a tree perhaps one above or below.';
comment on column blocking.blocker_access is 'The access that it has, or waits for.';
comment on column blocking.blocker_owner_session is 'Who is in the way: for whoever may not read hold only a digest.';
comment on column blocking.blocker_fencing_token is 'The token of its hold, as force_release takes it; null for a waiter.';
comment on column blocking.blocker_ticket is 'Its ticket; null for a holder.';
comment on column blocking.blocker_since is 'Since when it has held, or waited.';
comment on column blocking.blocker_expires_at is 'When the rule ends its hold; null if no time does, and for a waiter.';
comment on column blocking.held_for is 'Age of its hold; null for a waiter.';
comment on column blocking.time_left is 'Time until the rule ends its hold; null if no time does, and for a waiter.';
