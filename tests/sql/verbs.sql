-- The five verbs, as somebody at psql uses them.
select plan(26);

-- capture: the first one has it; the same owner again keeps it alive; another is told who has it.
select is(outcome || ' ' || owner_name, 'captured Ada', 'a free mutex is captured')
from pgmutex.capture('orders', 'edit', '42', owner_session => 'ada', owner_name => 'Ada');
select is(outcome, 'refreshed', 'its owner refreshes it by capturing again')
from pgmutex.capture('orders', 'edit', '42', owner_session => 'ada');
select is(outcome || ' ' || owner_session || ' ' || owner_name, 'busy ada Ada', 'anyone else is told who holds it')
from pgmutex.capture('orders', 'edit', '42', owner_session => 'bob');
select is(expires_at - captured_since, interval '300 seconds', 'without a rule it is over after 300 seconds')
from pgmutex.held where mutex_id = '42';

select fencing_token as first_token from pgmutex.held where mutex_id = '42' \gset
select is(fencing_token, :first_token, 'a refresh keeps the fencing token')
from pgmutex.capture('orders', 'edit', '42', owner_session => 'ada');

-- refresh: never captures.
select is(outcome, 'refreshed', 'refresh keeps a hold alive') from pgmutex.refresh('orders', 'edit', '42', owner_session => 'ada');
select is(outcome, 'busy', 'refresh says if another has it') from pgmutex.refresh('orders', 'edit', '42', owner_session => 'bob');
select is(outcome, 'not_held', 'refresh does not capture what is free') from pgmutex.refresh('orders', 'edit', '43', owner_session => 'bob');
select is(outcome, 'not_held', 'refresh with a token means that very hold')
from pgmutex.refresh('orders', 'edit', '42', owner_session => 'ada', fencing_token => :first_token - 1);
select is_empty($$ select from pgmutex.held where mutex_id = '43' $$, 'and nothing came of it');
select is(status_data, 'half way', 'refresh may say how it goes')
from pgmutex.refresh('orders', 'edit', '42', owner_session => 'ada', status_data => 'half way');

-- request: how it stands towards me.
select is(outcome, 'captured_by_me', 'request knows mine') from pgmutex.request('orders', 'edit', '42', owner_session => 'ada');
select is(outcome || ' ' || status_data, 'captured_by_other half way', 'and another''s')
from pgmutex.request('orders', 'edit', '42', owner_session => 'bob');
select is(outcome, 'free', 'and what is free') from pgmutex.request('orders', 'edit', '43', owner_session => 'bob');

-- list: page by page.
select count(*) from pgmutex.capture_each('[{"mutex_id": "1"}, {"mutex_id": "2"}, {"mutex_id": "3"}]',
                                          '{"mutex_group": "pages", "owner_session": "ada"}') \g /dev/null
select is(string_agg(mutex_id, ' '), '1 2', 'list gives a page') from pgmutex.list(mutex_group => 'pages', page_size => 2);
select is(string_agg(mutex_id, ' '), '3', 'and the next one')
from pgmutex.list(mutex_group => 'pages', page_size => 2, after_group => 'pages', after_mode => '', after_id => '2', after_permit => 0);
select is(pgmutex.list_count(owner_session => 'ada'), 4::bigint, 'list_count counts');

-- release: only the owner's.
select is(outcome, 'busy', 'nobody releases what another holds') from pgmutex.release('orders', 'edit', '42', owner_session => 'bob');
select is(outcome, 'released', 'its owner gives it back') from pgmutex.release('orders', 'edit', '42', owner_session => 'ada');
select is(outcome, 'not_held', 'once') from pgmutex.release('orders', 'edit', '42', owner_session => 'ada');
select ok(fencing_token > :first_token, 'the next hold has a larger token') from pgmutex.capture('orders', 'edit', '42', owner_session => 'bob');

-- force_release: from anyone, with a reason for the log.
select is(outcome || ' ' || owner_session, 'released bob', 'force_release takes it away and says from whom')
from pgmutex.force_release('orders', 'edit', '42', reason => 'Bob is on holiday');
select is(outcome, 'not_held', 'if there is anything to take') from pgmutex.force_release('orders', 'edit', '42', reason => 'again');
select is(outcome, 'not_held', 'and the holder learns it from refresh') from pgmutex.refresh('orders', 'edit', '42', owner_session => 'bob');

-- release_owner: everything.
select is(string_agg(outcome || mutex_id, ' ' order by mutex_id), 'released1 released2 released3', 'release_owner gives everything back')
from pgmutex.release_owner('ada');
select is_empty('select from pgmutex.hold', 'and nothing is left');

select * from finish();
