-- More than one at a time: readers, permits, paths, several at once, and the line of those who wait.
select plan(23);

-- Readers and a writer.
select is(outcome || permit, 'captured1', 'a reader shares') from pgmutex.capture('docs', 'page', '1', 'r1', access => 'shared');
select is(outcome || permit, 'captured2', 'with another') from pgmutex.capture('docs', 'page', '1', 'r2', access => 'shared');
select is(outcome, 'busy', 'not with a writer') from pgmutex.capture('docs', 'page', '1', 'w');
select is(outcome, 'busy', 'a reader among others cannot have it alone') from pgmutex.capture('docs', 'page', '1', 'r1');

-- A semaphore of two permits.
select is(string_agg(outcome, ' '), 'captured captured busy', 'two permits serve two')
from pgmutex.capture_each('[{"owner_session": "a"}, {"owner_session": "b"}, {"owner_session": "c"}]',
                          '{"mutex_group": "mail", "mutex_id": "server", "access": "shared", "permits": 2}');

-- Paths: rack1 is not free while somebody works on board3 and keeps others from what is above.
select is(outcome, 'captured', 'a path keeps others from those above it')
from pgmutex.capture('lab', '', '/rack1/board3/', 'a', lock_parents => true, lock_children => true);
select is(outcome || ' ' || mutex_id, 'busy /rack1/board3/', 'who is told which path is in the way')
from pgmutex.capture('lab', '', '/rack1/', 'b', lock_parents => true, lock_children => true);
select is(outcome || ' ' || mutex_id, 'busy /rack1/board3/', 'as holder_in_the_way says beforehand')
from pgmutex.holder_in_the_way('lab', '', '/rack1/', 'b', lock_parents => true, lock_children => true);
select is(outcome, 'captured', 'a path beside it is free')
from pgmutex.capture('lab', '', '/rack1/board4/', 'b', lock_parents => true, lock_children => true);

-- All or nothing.
select is(string_agg(outcome || ' ' || mutex_id, ', '), 'captured x, captured y', 'capture_all captures all')
from pgmutex.capture_all('[{"mutex_id": "x"}, {"mutex_id": "y"}]', '{"owner_session": "d", "mutex_group": "g"}');
select is(string_agg(outcome || ' ' || mutex_id, ', '), 'busy y', 'or says what is in the way')
from pgmutex.capture_all('[{"mutex_id": "w"}, {"mutex_id": "y"}]', '{"owner_session": "e", "mutex_group": "g"}');
select is_empty($$ select from pgmutex.held where mutex_group = 'g' and mutex_id = 'w' $$, 'and captures nothing');

-- Waiting: in line, first come, first served.
select is(outcome, 'captured', 'somebody has it') from pgmutex.capture('batch', 'job', '7', 'a');
select is(outcome || ' ' || owner_session, 'queued a', 'who waits is queued, and told behind whom')
from pgmutex.capture('batch', 'job', '7', 'b', wait => true);
select is(outcome, 'queued', 'a second one, too') from pgmutex.capture('batch', 'job', '7', 'c', wait => true);
-- They stay in line, however long the checks take.
update pgmutex.mutex_waiter set seen_at = clock_timestamp() + interval '1 hour';
select is(string_agg(place || owner_session || behind_owner_session, ' ' order by place), '1ba 2cb', 'the view waiting shows the line')
from pgmutex.waiting;
select is(string_agg(owner_session, ' '), 'b c', 'so does list_waiting') from pgmutex.list_waiting(mutex_group => 'batch');
select is(outcome, 'released', 'it becomes free') from pgmutex.release('batch', 'job', '7', 'a');
select is(outcome, 'busy', 'a newcomer does not pass those in line') from pgmutex.capture('batch', 'job', '7', 'd');
select is(outcome, 'queued', 'nor does the second') from pgmutex.capture('batch', 'job', '7', 'c', wait => true);
select is(outcome, 'captured', 'the first in line has its turn') from pgmutex.capture('batch', 'job', '7', 'b', wait => true);
select is(pgmutex.leave_line('batch', 'job', '7', 'c'), true, 'whoever gives up leaves the line');
select is_empty('select from pgmutex.waiting', 'which is empty then');

select * from finish();
