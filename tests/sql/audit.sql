-- Who had which mutex when: off until somebody wants to know.
select plan(17);

select count(*) from pgmutex.capture('orders', 'edit', '1', 'ada') \g /dev/null
select is_empty('select from pgmutex.audit', 'nothing is recorded unasked');

select is(pgmutex.enable_audit(), true, 'enable_audit switches it on');
select is(pgmutex.enable_audit(), false, 'once');

set application_name = 'the night shift';
select count(*) from pgmutex.capture('orders', 'edit', '42', 'ada', owner_name => 'Ada') \g /dev/null
select count(*) from pgmutex.refresh('orders', 'edit', '42', 'ada') \g /dev/null
select count(*) from pgmutex.force_release('orders', 'edit', '42', reason => 'Ada is on holiday') \g /dev/null
select count(*) from pgmutex.capture('orders', 'edit', '42', 'bob') \g /dev/null
update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where mutex_id = '42';
select count(*) from pgmutex.capture('orders', 'edit', '42', 'eve') \g /dev/null
select count(*) from pgmutex.release('orders', 'edit', '42', 'eve') \g /dev/null

select is(string_agg(concat_ws(' ', event, owner_session, '(' || reason || ')'), ', ' order by at, number),
          'captured ada, forced ada (Ada is on holiday), captured bob, evicted bob (timeout 300), captured eve, released eve',
          'every beginning and end, and why')
from pgmutex.audit where mutex_group = 'orders' and mutex_mode = 'edit' and mutex_id = '42';
select is(array_agg(distinct application_name || ' ' || database_role), array['the night shift ' || session_user], 'and who did it') from pgmutex.audit;
select is(count(distinct fencing_token), 3::bigint, 'a hold''s beginning and end have its token') from pgmutex.audit;
select is(owner_name, 'Ada', 'an event has the owner''s columns') from pgmutex.audit where event = 'forced';

-- In the same transaction, or not at all.
begin;
select count(*) from pgmutex.capture('orders', 'edit', '43', 'ada') \g /dev/null
rollback;
select is_empty($$ select from pgmutex.audit where mutex_id = '43' $$, 'what was rolled back is not there');

-- It only grows.
select throws_ok('delete from pgmutex.audit', '42501', null, 'no event is removed');
select throws_ok($$ update pgmutex.audit set owner_name = 'Eve' $$, '42501', null, 'or changed');
select throws_ok('truncate pgmutex.audit', '42501', 'events of the audit are not changed or removed (truncate of table audit)', 'or emptied away');
select throws_hint('truncate pgmutex.audit', '^keep_audit drops whole months', 'but for whole months');

-- Months.
select is(made, 0, 'keep_audit finds this month and the next three there') from pgmutex.keep_audit();
select is(made, 2, 'and makes more if asked to') from pgmutex.keep_audit(ahead => '5 months');

select is(pgmutex.disable_audit(), true, 'disable_audit switches it off');
select is(pgmutex.disable_audit(), false, 'once');
select count(*) from pgmutex.capture('orders', 'edit', '44', 'ada') \g /dev/null
select is_empty($$ select from pgmutex.audit where mutex_id = '44' $$, 'and nothing more is recorded');

select * from finish();
