//! Which events there are, for every way in which a hold begins and ends.

use super::{audited, on_or_off, trail};
use crate::support::{Database, Session, mutex_id, owner};

const TRIGGERS: &str = "select count(*)::text from pg_trigger \
     where tgrelid = 'pgmutex.mutex_model'::regclass and tgname like 'audit%'";

const COUNT: &str = "select count(*)::text from pgmutex.audit";

#[tokio::test]
async fn nothing_is_recorded_until_it_is_switched_on_and_after_it_is_switched_off() {
    let database = Database::fresh().await;
    let session = database.session().await;
    assert_eq!(session.ask(TRIGGERS).await, "0");
    session.capture("m", "a").await;
    session.release("m", "a").await;
    assert_eq!(session.ask(COUNT).await, "0");

    assert_eq!(on_or_off(&session, "enable").await, "true");
    assert_eq!(on_or_off(&session, "enable").await, "false");
    session.capture("m", "a").await;
    assert_eq!(session.ask(COUNT).await, "1");

    assert_eq!(on_or_off(&session, "disable").await, "true");
    assert_eq!(on_or_off(&session, "disable").await, "false");
    assert_eq!(session.ask(TRIGGERS).await, "0");
    session.release("m", "a").await;
    assert_eq!(trail(&session, "m").await, "captured a");

    assert_eq!(on_or_off(&session, "enable").await, "true");
    session.capture("n", "a").await;
    assert_eq!(trail(&session, "n").await, "captured a");
}

#[tokio::test]
async fn a_capture_and_a_release_are_events_and_a_refresh_or_a_refusal_is_not() {
    let (_database, session) = audited().await;
    session.capture("m", "a").await;
    assert_eq!(session.capture("m", "a").await, "refreshed");
    assert_eq!(
        session.outcome("refresh('tests', 'step', 'm', 'a')").await,
        "refreshed"
    );
    assert_eq!(session.capture("m", "b").await, "busy");
    assert_eq!(session.release("m", "b").await, "busy");
    assert_eq!(session.release("m", "a").await, "released");
    assert_eq!(session.release("m", "a").await, "not_held");
    assert_eq!(trail(&session, "m").await, "captured a, released a");
}

#[tokio::test]
async fn many_at_once_are_an_event_each_and_none_that_is_undone() {
    let (_database, session) = audited().await;
    let both = "'[{\"mutex_id\": \"m\"}, {\"mutex_id\": \"n\"}]', '{\"owner_session\": \"a\"}'";
    let call = async |function: &str| {
        let count = format!("select count(*)::text from pgmutex.{function}");
        session.ask(&count).await
    };
    call(&format!("capture_each({both})")).await;
    call(&format!("release_each({both})")).await;
    call(&format!("capture_all({both})")).await;
    call("release_owner('a')").await;
    for id in ["m", "n"] {
        assert_eq!(
            trail(&session, id).await,
            "captured a, released a, captured a, released a"
        );
    }
    // The second is busy, so the first is given up again.
    session
        .outcome("capture('', '', 'n', 'b', auto_release_rule => 'never')")
        .await;
    call(&format!("capture_all({both})")).await;
    assert_eq!(
        trail(&session, "m").await,
        "captured a, released a, captured a, released a"
    );
}

#[tokio::test]
async fn an_eviction_names_the_rule_whoever_notices_first() {
    let (database, session) = audited().await;
    for (id, noticed_by) in [
        ("capture", "capture('tests', 'step', 'capture', 'b')"),
        ("request", "request('tests', 'step', 'request', 'b')"),
        ("release", "release('tests', 'step', 'release', 'a')"),
    ] {
        session.capture(id, "a").await;
        session.age(id, "1 hour").await;
        session.outcome(noticed_by).await;
        let trail = trail(&session, id).await;
        assert!(
            trail.starts_with("captured a, evicted a (timeout 300)"),
            "{id}: {trail}"
        );
    }
    session.capture("sweep", "a").await;
    session.age("sweep", "1 hour").await;
    assert_eq!(session.ask("select pgmutex.sweep()::text").await, "1");
    assert_eq!(
        trail(&session, "sweep").await,
        "captured a, evicted a (timeout 300)"
    );

    // Above a path, and by the end of a database session.
    session
        .capture_as("/a/", "a", "lock_parents => true, lock_children => true")
        .await;
    session.age("/a/", "1 hour").await;
    session
        .capture_as("/a/b/", "b", "lock_parents => true")
        .await;
    assert_eq!(
        trail(&session, "/a/").await,
        "captured a, evicted a (timeout 300)"
    );
    let process = database.listener().await;
    let number = process.number();
    let attached = format!("auto_release_rule => 'connection', auto_release_config => '{number}'");
    session.capture_as("gone", "a", &attached).await;
    session.capture_as("freed", "a", &attached).await;
    session.release("freed", "a").await;
    process.ends(&session).await;
    session.capture("gone", "b").await;
    assert_eq!(
        trail(&session, "gone").await,
        format!("captured a, evicted a (connection {number}), captured b")
    );
    assert_eq!(trail(&session, "freed").await, "captured a, released a");
}

#[tokio::test]
async fn a_custom_rule_is_the_reason_only_where_a_client_says_that_it_is_over() {
    let (_database, session) = audited().await;
    let job = "auto_release_rule => 'job', auto_release_config => 'nightly'";
    for id in ["evicted", "released"] {
        session.capture_as(id, "a", job).await;
    }
    let evict = "evict('tests', 'step', 'evicted', (select fencing_token from pgmutex.held where mutex_id = 'evicted'))";
    assert_eq!(session.outcome(evict).await, "released");
    session.release("released", "a").await;
    assert_eq!(
        trail(&session, "evicted").await,
        "captured a, evicted a (job nightly)"
    );
    assert_eq!(trail(&session, "released").await, "captured a, released a");
}

#[tokio::test]
async fn a_forced_release_has_its_reason_for_each_who_shared() {
    let (_database, session) = audited().await;
    for reader in ["a", "b"] {
        session.capture_as("m", reader, "access => 'shared'").await;
    }
    let force = "force_release('tests', 'step', 'm', E'the disk\\nis ''full''')";
    assert_eq!(session.outcome(force).await, "released");
    assert_eq!(
        trail(&session, "m").await,
        "captured a, captured b, forced a (the disk\nis 'full'), forced b (the disk\nis 'full')"
    );
    // Without a reason, and where it was over anyway.
    session.capture("n", "a").await;
    session.age("n", "1 hour").await;
    session.outcome("force_release('tests', 'step', 'n')").await;
    assert_eq!(trail(&session, "n").await, "captured a, forced a");

    let too_long = "force_release('tests', 'step', 'm', repeat('é', 801))";
    assert_eq!(session.refusal(too_long).await.0, "PM003");
}

/// What a forced release says of itself must not be said of what comes after it.
#[tokio::test]
async fn a_larger_transaction_keeps_its_deeds_apart() {
    let (_database, session) = audited().await;
    session.capture("m", "a").await;
    session.run("begin").await;
    session
        .outcome("force_release('tests', 'step', 'm', 'why')")
        .await;
    session.capture("m", "b").await;
    session.release("m", "b").await;
    session.capture("m", "c").await;
    session.run("savepoint before").await;
    session
        .outcome("force_release('tests', 'step', 'm', 'undone')")
        .await;
    session.run("rollback to before").await;
    session.release("m", "c").await;
    session.run("commit").await;
    assert_eq!(
        trail(&session, "m").await,
        "captured a, forced a (why), captured b, released b, captured c, released c"
    );
}

#[tokio::test]
async fn a_forced_release_that_another_program_prevents_leaves_nothing_behind() {
    let (_database, session) = audited().await;
    session.capture("m", "a").await;
    session
        .run(
            "create function public.keep_it() returns trigger language plpgsql as $$ begin return null; end $$; \
             create trigger keep_it before delete on pgmutex.mutex_model for each row execute function public.keep_it()",
        )
        .await;
    let force = "force_release('tests', 'step', 'm', 'why')";
    assert_eq!(session.outcome(force).await, "busy");
    session
        .run("drop trigger keep_it on pgmutex.mutex_model")
        .await;
    session.release("m", "a").await;
    assert_eq!(trail(&session, "m").await, "captured a, released a");
}

#[tokio::test]
async fn what_is_rolled_back_did_not_happen() {
    let (_database, session) = audited().await;
    session.run("begin").await;
    session.capture("m", "a").await;
    assert_eq!(trail(&session, "m").await, "captured a");
    session.run("rollback").await;
    assert_eq!(trail(&session, "m").await, "");
}

#[tokio::test]
async fn a_hold_that_becomes_another_ends_and_begins() {
    let (_database, session) = audited().await;
    let kinds = async |id: &str| {
        let query = format!(
            "select string_agg(concat_ws(' ', event, owner_session, permit, fencing_token - first), ', ' order by number) \
             from (select *, min(fencing_token) over () as first from pgmutex.audit where mutex_id = '{id}') e"
        );
        session.ask(&query).await
    };
    session.capture("m", "a").await;
    // Shared now, under the same token; then alone again, under a new one.
    session.capture_as("m", "a", "access => 'shared'").await;
    session.capture("m", "a").await;
    assert_eq!(
        kinds("m").await,
        "captured a 0 0, released a 0 0, captured a 1 0, released a 1 0, captured a 0 1"
    );
    // Another program that hands a hold over in its own way.
    session
        .run("update pgmutex.mutex_model set owner_session = 'b' where mutex_id = 'm'")
        .await;
    assert_eq!(
        trail(&session, "m").await,
        "captured a, released a, captured a, released a, captured a, released a, captured b"
    );
}

#[tokio::test]
async fn a_row_that_another_program_writes_or_empties_is_recorded_too() {
    let (_database, session) = audited().await;
    session
        .run(
            "insert into pgmutex.mutex_model (mutex_id, owner_session) values ('m', 'a'), ('n', 'a'); \
             delete from pgmutex.mutex_model where mutex_id = 'm'; \
             truncate pgmutex.mutex_model",
        )
        .await;
    assert_eq!(trail(&session, "m").await, "captured a, released a");
    assert_eq!(
        trail(&session, "n").await,
        "captured a, forced a (truncate)"
    );
}

#[tokio::test]
async fn leases_of_sessions_are_holds() {
    let (_database, session) = audited().await;
    session
        .ask("select outcome from pgmutex.pool_add('accounts', '{}')")
        .await;
    let pool = async |call: &str| {
        let ask = format!("select ({call}).lease.outcome");
        session.ask(&ask).await
    };
    let checkout = "pgmutex.pool_checkout('accounts', 'a', next_use_delay => '0', auto_release_rule => 'timeout', auto_release_config => '60')";
    assert_eq!(pool(checkout).await, "captured");
    session
        .run("select pgmutex.release('pgmutex.pool', 'accounts', mutex_id, 'a') from pgmutex.held")
        .await;
    assert_eq!(pool(checkout).await, "captured");
    session
        .run(
            "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'; \
             update pgmutex.pool_session set look_at_lease = now() - interval '1 hour'",
        )
        .await;
    assert_eq!(pool(&checkout.replace("'a'", "'b'")).await, "captured");
    let events = "select string_agg(concat_ws(' ', event, owner_session, reason), ', ' order by number) \
                  from pgmutex.audit where mutex_group = 'pgmutex.pool' and mutex_mode = 'accounts'";
    assert_eq!(
        session.ask(events).await,
        "captured a, released a, captured a, evicted a timeout 60, captured b"
    );
}

#[tokio::test]
async fn guards_are_recorded_like_any_hold() {
    let (database, session) = audited().await;
    let mutexes = database.mutexes().await;
    let guard = mutexes
        .lock(mutex_id("released"))
        .owner(owner("a"))
        .await
        .unwrap();
    guard.release().await.unwrap();
    let guard = mutexes.lock(mutex_id("dropped")).await.unwrap();
    drop(guard);
    ends_in(&session, "dropped", "released").await;
    let guards = mutexes
        .lock_all([
            (&mutex_id("one"), pgmutex::Access::Exclusive),
            (&mutex_id("two"), pgmutex::Access::shared()),
        ])
        .await
        .unwrap();
    drop(guards);
    for id in ["released", "one", "two"] {
        ends_in(&session, id, "released").await;
    }
    mutexes
        .capture(mutex_id("forced"))
        .owner(owner("a"))
        .await
        .unwrap();
    mutexes
        .force_release(&mutex_id("forced"), "why")
        .await
        .unwrap();
    assert_eq!(
        trail(&session, "forced").await,
        "captured a, forced a (why)"
    );
}

/// Returns when a hold of this mutex has begun and ended so.
async fn ends_in(session: &Session, id: &str, event: &str) {
    let events = format!(
        "select coalesce(string_agg(event, ' ' order by number), '') from pgmutex.audit where mutex_id = '{id}'"
    );
    let wanted = format!("captured {event}");
    session.ask_until(&events, |answer| answer == wanted).await;
}
