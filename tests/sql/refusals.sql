-- What cannot be accepted: an SQLSTATE of its own, a sentence, and a hint that says what to do.
select plan(20);

select throws_ok($$ select pgmutex.capture('', '', '', 'me') $$, 'PM003',
                 'mutex_id is empty, and so are mutex_group and mutex_mode: name the mutex', 'a mutex has a name');
select throws_hint($$ select pgmutex.capture('', '', '', 'me') $$, '^Nothing was changed', 'and nothing was changed');
select throws_ok($$ select pgmutex.capture('g', 'm', null, 'me') $$, 'PM003',
                 'mutex_group, mutex_mode and mutex_id must not be null', 'all of it');
select throws_ok($$ select pgmutex.capture('g', 'm', '1', '') $$, 'PM003',
                 'owner_session is empty: it says who holds the mutex', 'an owner has a name');
select throws_ok($$ select pgmutex.capture(repeat('g', 401), 'm', '1', 'me') $$, 'PM003',
                 'mutex_group is 401 bytes long, at most 400 are allowed', 'names have an end');
select throws_ok($$ select pgmutex.force_release('g', 'm', '1', repeat('r', 1601)) $$, 'PM003',
                 'reason is 1601 bytes long, at most 1600 are allowed', 'reasons too');
select throws_ok($$ select pgmutex.capture('g', 'm', '1', 'me', auto_release_rule => 'timeout', auto_release_config => '0') $$, 'PM003',
                 'auto_release_config of a timeout must be whole seconds from 1 to 3153600000 (100 years)', 'a timeout takes time');
select throws_ok($$ select pgmutex.capture('g', 'm', '1', 'me', auto_release_rule => 'deadline', auto_release_config => '2001-01-01T00:00:00Z') $$,
                 'PM003', 'auto_release_config: this deadline has already passed', 'a deadline is still to come');
select throws_ok($$ select pgmutex.capture('g', 'm', '1', 'me', auto_release_rule => 'never', auto_release_config => '300') $$, 'PM003',
                 'auto_release_config must be empty for the rule never', 'never is never');
select throws_ok($$ select pgmutex.capture('g', 'm', '1', 'me', access => 'mine') $$, 'PM003',
                 'access must be exclusive or shared', 'there are two kinds of access');
select throws_ok($$ select pgmutex.capture('g', 'm', '1', 'me', access => 'shared', permits => 0) $$, 'PM003',
                 'permits must be 1 or more, or null for any number', 'nobody can have one of no permits');
select throws_ok($$ select pgmutex.capture_each('{}') $$, 'PM003',
                 'requests must be an array of objects, and defaults an object', 'requests are a list');
select throws_ok($$ select pgmutex.sweep(1001) $$, 'PM003', 'batch must be from 1 to 1000', 'a sweep is bounded');
select throws_ok($$ select pgmutex.evict('g', 'm', '1', null) $$, 'PM003',
                 'fencing_token must not be null: it says which hold was judged', 'an eviction names a hold');
select is_empty('select from pgmutex.hold', 'none of these captured anything');

-- A fence that does not hold.
select throws_ok($$ select pgmutex.fence('g', 'm', '1', 7) $$, 'PM005',
                 'mutex g/m/1 is no longer held under token 7', 'a stale token stops the transaction');
select throws_hint($$ select pgmutex.fence('g', 'm', '1', 7) $$, '^Roll back', 'which is to be rolled back');

-- A snapshot that may be older than the lock.
begin isolation level repeatable read;
select throws_ok($$ select pgmutex.capture('g', 'm', '1', 'me') $$, 'PM001',
                 'pgmutex cannot decide in a repeatable read transaction: its snapshot may be older than the lock', 'decisions need read committed');
select throws_hint($$ select pgmutex.capture('g', 'm', '1', 'me') $$, 'begin isolation level read committed', 'and the hint says so');
commit;

-- Two who wait for each other.
select count(*) from pgmutex.capture_each('[{"mutex_id": "1", "owner_session": "a"}, {"mutex_id": "2", "owner_session": "b"}]') \g /dev/null
select count(*) from pgmutex.capture('', '', '2', 'a', wait => true) \g /dev/null
select throws_ok($$ select pgmutex.capture('', '', '1', 'b', wait => true) $$, 'PM006', null, 'a circle of waiting is refused');

select * from finish();
