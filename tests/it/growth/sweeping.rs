//! A sweep reads what is over, and of the rest only what it has not looked at since it would have ended.

use super::{EXPLAIN, buffers, load};
use crate::support::{Database, Session};

async fn sweep(session: &Session) -> String {
    session.ask("select pgmutex.sweep()::text").await
}

/// The mutexes that the next sweep looks at, in order.
async fn due(session: &Session) -> String {
    session
        .ask(
            "select coalesce(string_agg(mutex_id, ' ' order by mutex_id), '') from pgmutex.mutex_model where sweep_at < clock_timestamp()",
        )
        .await
}

#[tokio::test]
async fn a_sweep_of_100_000_holds_reads_those_that_are_over() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.run(EXPLAIN).await;
    // Nobody comes meanwhile and has the plans made anew.
    session
        .run("alter table pgmutex.mutex_model set (autovacuum_enabled = off)")
        .await;
    load(&session, 100_000).await;
    // Attached to two sessions that are there.
    let number = session.ask("select pgmutex.attach_session()::text").await;
    let other = database.session().await;
    let other_number = other.ask("select pgmutex.attach_session()::text").await;
    session
        .run(&format!(
            "update pgmutex.mutex_model set auto_release_rule = 'connection', \
                    auto_release_config = case when fencing_token % 2 = 0 then '{number}' else '{other_number}' end, sweep_at = null \
             where fencing_token <= 20000"
        ))
        .await;
    session.run("vacuum pgmutex.mutex_model").await;
    buffers(&session, "sweep()").await;
    // Whatever else makes the server read, it does not do so each time.
    let mut idle = u64::MAX;
    for _ in 0..5 {
        idle = idle.min(buffers(&session, "sweep()").await);
    }
    assert!(idle < 50, "{idle} buffers for nothing");
    session
        .run("update pgmutex.mutex_model set captured_since = captured_since - interval '2 days' where fencing_token > 99990")
        .await;
    let ten = buffers(&session, "sweep()").await;
    assert!(ten < 1_500, "{ten} buffers for ten holds");
    let left = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(session.ask(left).await, "99990");
}

#[tokio::test]
async fn whoever_writes_a_hold_it_is_swept_when_it_is_over() {
    let database = Database::fresh().await;
    let session = database.session().await;
    for (rule, config, since) in [
        ("timeout", "60", "1 hour"),
        ("timeout", "no number", "1 hour"),
        ("timeout", "60", "0"),
        ("timeout", "-99999999999999999999", "0"),
        ("timeout", "99999999999999999999", "0"),
        ("deadline", "2001-01-01T00:00:00Z", "0"),
        ("never", "", "1 hour"),
        ("job", "nightly", "1 hour"),
    ] {
        session
            .run(&format!(
                "insert into pgmutex.mutex_model (mutex_group, mutex_id, owner_session, auto_release_rule, auto_release_config, captured_since) \
                 values ('g', '{rule} {config} ' || count(*), 's', '{rule}', '{config}', clock_timestamp() - interval '{since}')"
            ).replace("count(*)", "(select count(*) from pgmutex.mutex_model)"))
            .await;
    }
    assert_eq!(sweep(&session).await, "4");
    // The others have been looked at.
    assert_eq!(due(&session).await, "");
    let places = "select string_agg((sweep_at is not distinct from expires_at)::text, ' ') from pgmutex.mutex_model";
    assert_eq!(session.ask(places).await, "true true true true");
    assert_eq!(sweep(&session).await, "0");
}

#[tokio::test]
async fn a_refreshed_hold_is_looked_at_once_for_each_time_it_would_have_ended() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.capture("m", "me").await;
    assert_eq!(sweep(&session).await, "0");
    assert_eq!(due(&session).await, "");
    // Its time comes, and it has been refreshed meanwhile.
    session
        .run("update pgmutex.mutex_model set sweep_at = clock_timestamp() - interval '1 second'")
        .await;
    session.outcome("refresh('tests', 'step', 'm', 'me')").await;
    assert_eq!(due(&session).await, "m");
    assert_eq!(sweep(&session).await, "0");
    let is_moved = "select (sweep_at = expires_at)::text from pgmutex.mutex_model";
    assert_eq!(session.ask(is_moved).await, "true");
}

#[tokio::test]
async fn a_hold_that_is_given_an_earlier_end_is_swept_in_time() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .capture_as("never", "me", "auto_release_rule => 'never'")
        .await;
    session
        .capture_as("long", "me", "auto_release_config => '86400'")
        .await;
    assert_eq!(sweep(&session).await, "0");
    assert_eq!(due(&session).await, "");
    for id in ["never", "long"] {
        let again = session
            .capture_as(id, "me", "auto_release_config => '60'")
            .await;
        assert_eq!(again, "refreshed");
    }
    let early = "select count(*)::text from pgmutex.mutex_model where sweep_at < clock_timestamp() + interval '61 seconds'";
    assert_eq!(session.ask(early).await, "2");
    session
        .run("update pgmutex.mutex_model set auto_release_config = '-1'")
        .await;
    assert_eq!(sweep(&session).await, "2");
}

#[tokio::test]
async fn whatever_is_to_be_looked_at_a_sweep_answers_0_only_when_nothing_is_over() {
    let database = Database::fresh().await;
    let session = database.session().await;
    // Many that were never looked at, before some that are over.
    session
        .run(
            "insert into pgmutex.mutex_model (mutex_group, mutex_id, owner_session, auto_release_rule, auto_release_config) \
             select 'g', n::text, 's', 'timeout', case when n <= 1000 then '86400' else '-1' end from generate_series(1, 1007) n",
        )
        .await;
    let mut answers = Vec::new();
    loop {
        let swept = session.ask("select pgmutex.sweep(5)::text").await;
        answers.push(swept.clone());
        if swept == "0" {
            break;
        }
    }
    assert_eq!(answers, ["5", "2", "0"]);
    // Those that were before them have been put where they belong.
    assert_eq!(due(&session).await, "");
}

#[tokio::test]
async fn a_sweep_that_has_found_something_does_not_read_on_for_ever() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run(
            "insert into pgmutex.mutex_model (mutex_group, mutex_id, owner_session, auto_release_rule, auto_release_config) \
             select 'g', n::text, 's', 'timeout', case when n <= 3 then '-1' else '86400' end from generate_series(1, 1000) n",
        )
        .await;
    let due = "select count(*)::text from pgmutex.mutex_model where sweep_at < clock_timestamp()";
    assert_eq!(session.ask("select pgmutex.sweep(5)::text").await, "3");
    assert_eq!(session.ask(due).await, "950");
    assert_eq!(session.ask("select pgmutex.sweep(5)::text").await, "0");
    assert_eq!(session.ask(due).await, "0");
}

#[tokio::test]
async fn what_one_sweep_has_read_the_next_does_not_read_again() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.run(EXPLAIN).await;
    // As another program writes them, which knows nothing of sweeps.
    session
        .run(
            "insert into pgmutex.mutex_model (mutex_group, mutex_id, owner_session, auto_release_rule, auto_release_config) \
             select 'g', n::text, 's', 'timeout', '86400' from generate_series(1, 30000) n",
        )
        .await;
    session.run("vacuum analyze pgmutex.mutex_model").await;
    let first = buffers(&session, "sweep()").await;
    let second = buffers(&session, "sweep()").await;
    assert!(first > 30_000, "{first} buffers for all of them");
    assert!(second < 3_000, "{second} buffers for nothing");
}

#[tokio::test]
async fn what_travels_together_is_due_when_it_ends() {
    let database = Database::fresh().await;
    let session = database.session().await;
    for (ids, rules, configs) in [
        ("1,2", "timeout", "60"),
        ("3,4", "null", "null"),
        (
            "5,6,7,8",
            "timeout,never,deadline,null",
            "60,\"\",2100-01-01T00:00:00Z,null",
        ),
    ] {
        let captured = format!(
            "select count(*)::text from pgmutex.capture_together('{{g}}', '{{m}}', '{{{ids}}}', '{{me}}', '{{h}}', '{{i}}', '{{l}}', \
                 '{{n}}', '{{{rules}}}', '{{{configs}}}', '{{null}}', '{{exclusive}}', '{{null}}', '{{false}}', '{{false}}')"
        );
        let count = ids.split(',').count().to_string();
        assert_eq!(session.ask(&captured).await, count);
    }
    let places = "select string_agg(mutex_id, ' ' order by mutex_id) from pgmutex.mutex_model where sweep_at is not distinct from expires_at";
    assert_eq!(session.ask(places).await, "1 2 3 4 5 6 7 8");
}

#[tokio::test]
async fn holds_that_stay_do_not_keep_others_from_being_swept() {
    let database = Database::fresh().await;
    let (session, writer) = (database.session().await, database.session().await);
    session
        .run(
            "insert into pgmutex.mutex_model (mutex_group, mutex_id, owner_session, auto_release_rule, auto_release_config) \
             select 'g', n::text, 's', 'timeout', '-1' from generate_series(1, 2000) n",
        )
        .await;
    // Each is written behind, as by a fence.
    writer.run("begin").await;
    writer
        .run("select from pgmutex.mutex_model where mutex_id::integer <= 1000 for key share")
        .await;
    let mut left = Vec::new();
    while sweep(&session).await != "0" {
        left.push(
            session
                .ask("select count(*)::text from pgmutex.mutex_model")
                .await,
        );
    }
    assert_eq!(left.last().unwrap(), "1000");
    writer.run("commit").await;
    assert_eq!(sweep(&session).await, "1000");
}

#[tokio::test]
async fn the_many_holds_of_a_session_that_is_gone_are_swept_batch_by_batch() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let process = database.listener().await;
    let number = session.ask("select pgmutex.attach_session()::text").await;
    session
        .run(&format!(
            "insert into pgmutex.mutex_model (mutex_group, mutex_id, owner_session, auto_release_rule, auto_release_config) \
             select 'g', n::text, 's', 'connection', case n % 3 when 0 then '{number}' when 1 then '{gone}' else '{gone} 86400' end \
             from generate_series(1, 150) n",
            gone = process.number()
        ))
        .await;
    assert_eq!(sweep(&session).await, "0");
    process.ends(&session).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(session.ask("select pgmutex.sweep(40)::text").await);
    }
    assert_eq!(answers, ["40", "40", "20", "0"]);
}
