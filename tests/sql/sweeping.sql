-- Holds that are over: nobody has to clean them up, and nobody is stopped by them.
select plan(16);

select count(*) from pgmutex.capture_each(
    '[{"mutex_id": "live"}, {"mutex_id": "over"}, {"mutex_id": "taken"}, {"mutex_id": "asked"},
      {"mutex_id": "never", "auto_release_rule": "never"},
      {"mutex_id": "custom", "auto_release_rule": "job", "auto_release_config": "nightly"}]', '{"owner_session": "ada", "owner_name": "Ada"}') \g /dev/null
-- As if they had been captured an hour ago.
update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where mutex_id <> 'live';

select is(string_agg(mutex_id, ' ' order by mutex_id), 'custom live never', 'held shows what is held now') from pgmutex.held;
select is(count(*), 6::bigint, 'hold shows every row') from pgmutex.hold;
select ok(time_left between interval '4 minutes' and interval '5 minutes', 'held says how much time is left') from pgmutex.held where mutex_id = 'live';
select is(time_left, null, 'none, if no time ends it') from pgmutex.held where mutex_id = 'never';

select is(outcome, 'not_held', 'its owner has lost what is over') from pgmutex.refresh('', '', 'over', 'ada');
select is(outcome, 'free', 'for all others it is free') from pgmutex.request('', '', 'asked', 'bob');
select is(outcome || ' ' || evicted_owner_name, 'evicted Ada', 'whoever captures it hears whom it evicted')
from pgmutex.capture('', '', 'taken', 'bob');
select is(outcome, 'busy', 'never is never over') from pgmutex.capture('', '', 'never', 'bob');
select is(outcome, 'busy', 'the database does not judge custom rules') from pgmutex.capture('', '', 'custom', 'bob');

select is(pgmutex.sweep(), 1::bigint, 'sweep removes what is over');
select is(pgmutex.sweep(), 0::bigint, 'until nothing is left');
select is(string_agg(mutex_id || owner_session, ' ' order by mutex_id), 'customada liveada neverada takenbob', 'and nothing else') from pgmutex.hold;

select fencing_token as token from pgmutex.hold where mutex_id = 'custom' \gset
select is(outcome, 'not_held', 'evict means one hold') from pgmutex.evict('', '', 'custom', :token - 1);
select is(outcome, 'released', 'that a client has judged') from pgmutex.evict('', '', 'custom', :token);
select fencing_token as token from pgmutex.hold where mutex_id = 'never' \gset
select is(outcome, 'busy', 'not one whose rule the database knows') from pgmutex.evict('', '', 'never', :token);
select is(pgmutex.sweep(batch => 1), 0::bigint, 'a sweep can be small');

select * from finish();
