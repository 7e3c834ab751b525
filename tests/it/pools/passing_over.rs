//! Nobody waits for what others do with other sessions.

use super::steps::{add, checkout, get};
use crate::support::{Database, Session};

/// Not to be used again while a test lasts.
const FOR_LONG: &str = ", next_use_delay => '1 hour'";

/// As they are when their time has passed and nobody has looked since.
pub(super) async fn all_are_due(s: &Session) {
    s.run(
        "set session_replication_role = replica;
         update pgmutex.pool_session set is_ready = false, next_use = clock_timestamp() - interval '1 second';
         reset session_replication_role",
    )
    .await;
}

#[tokio::test]
async fn a_row_that_somebody_has_locked_is_passed_over_at_once() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for is_due in [false, true] {
        a.run("delete from pgmutex.mutex_model; delete from pgmutex.pool_session")
            .await;
        add(&a, 4).await;
        if is_due {
            all_are_due(&a).await;
        }
        a.run("begin; select from pgmutex.pool_session where payload = '{\"n\": 1}' for update")
            .await;
        assert_eq!(get(&b, FOR_LONG).await, "captured 2");
        assert_eq!(checkout(&b, "b", FOR_LONG).await, "captured 3");
        a.run("commit").await;
        assert_eq!(get(&b, FOR_LONG).await, "captured 1");
        assert_eq!(get(&b, FOR_LONG).await, "captured 4");
        assert_eq!(get(&b, FOR_LONG).await, "none");
    }
}

#[tokio::test]
async fn who_takes_one_in_an_open_transaction_leaves_the_others_to_others() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    for is_due in [false, true] {
        a.run("delete from pgmutex.mutex_model; delete from pgmutex.pool_session")
            .await;
        add(&a, 4).await;
        if is_due {
            all_are_due(&a).await;
        }
        a.run("begin").await;
        assert_eq!(get(&a, FOR_LONG).await, "captured 1");
        assert_eq!(checkout(&a, "a", FOR_LONG).await, "captured 2");
        assert_eq!(get(&b, FOR_LONG).await, "captured 3");
        assert_eq!(checkout(&b, "b", FOR_LONG).await, "captured 4");
        assert_eq!(checkout(&b, "c", FOR_LONG).await, "none");
        a.run("rollback").await;
        assert_eq!(checkout(&b, "c", FOR_LONG).await, "captured 1");
        assert_eq!(get(&b, FOR_LONG).await, "captured 2");
    }
}

#[tokio::test]
async fn who_looks_in_vain_in_an_open_transaction_is_in_nobodys_way() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let process = database.listener().await;
    add(&a, 1).await;
    let attached = format!(
        ", auto_release_rule => 'connection', auto_release_config => '{}', next_use_delay => '0'",
        process.number()
    );
    assert_eq!(checkout(&b, "b", &attached).await, "captured 1");
    a.run("begin").await;
    assert_eq!(checkout(&a, "a", "").await, "none");
    let release = "release('pgmutex.pool', 'p', (select id::text from pgmutex.pool_session), 'b')";
    assert_eq!(b.outcome(release).await, "released");
    assert_eq!(checkout(&b, "c", "").await, "captured 1");
    a.run("commit").await;
}

/// Both have ended a lease of which they cannot use the session, and then get in line.
#[tokio::test]
async fn two_who_end_leases_and_wait_do_not_wait_for_each_other() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    add(&a, 2).await;
    for (owner, place) in [("x", "1"), ("y", "2")] {
        let taken = checkout(&a, owner, ", next_use_delay => '0'").await;
        assert_eq!(taken, format!("captured {place}"));
    }
    let nothing = "filter => '[{\"path\": \"n\", \"test\": \"equal\", \"value\": 0}]'";
    for (session, owner) in [(&a, "x"), (&b, "y")] {
        session.run("begin").await;
        session
            .run(&format!(
                "update pgmutex.mutex_model set captured_since = now() - interval '1 hour' where owner_session = '{owner}';
                 update pgmutex.pool_session set look_at_lease = now() - interval '1 second'
                 where request_id = '{owner}'"
            ))
            .await;
        assert_eq!(
            checkout(session, owner, &format!(", {nothing}")).await,
            "none"
        );
    }
    let wait = format!(", {nothing}, wait => true");
    assert_eq!(checkout(&a, "x", &wait).await, "queued");
    let second = b.begin(&super::steps::checkout_call("y", &wait));
    b.is_blocked().await;
    a.run("commit").await;
    assert_eq!(second.text().await, "queued");
    b.run("commit").await;
    let ready = "select string_agg(state, ' ') from pgmutex.pool";
    assert_eq!(a.ask(ready).await, "ready ready");
}

#[tokio::test]
async fn a_sweep_passes_over_a_lease_whose_session_somebody_has_locked() {
    let database = Database::fresh().await;
    let (s, other) = (database.session().await, database.session().await);
    add(&s, 1).await;
    checkout(&s, "a", "").await;
    s.run("select pgmutex.capture('x', 'y', 'z', 'a')").await;
    s.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
        .await;
    other.run("begin").await;
    other
        .run("update pgmutex.pool_session set payload = '{\"n\": 2}'")
        .await;
    assert_eq!(s.ask("select pgmutex.sweep()::text").await, "1");
    other.run("commit").await;
    assert_eq!(s.ask("select pgmutex.sweep()::text").await, "1");
}

#[tokio::test]
async fn a_filter_finds_what_has_come_due_behind_a_thousand_others() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 3000).await;
    all_are_due(&s).await;
    assert_eq!(
        super::steps::get(
            &s,
            ", filter => '[{\"path\": \"n\", \"test\": \"equal\", \"value\": 2999}]'"
        )
        .await,
        "captured 2999"
    );
}

#[tokio::test]
async fn a_count_that_cannot_grow_stops_nobody() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 1).await;
    s.run("update pgmutex.pool_session set use_count = 9223372036854775807, success_count = 9223372036854775807")
        .await;
    assert_eq!(super::steps::get(&s, "").await, "captured 1");
    s.run("select pgmutex.pool_success('p', id) from pgmutex.pool_session")
        .await;
    add(&s, 1).await;
    s.run("update pgmutex.pool_session set use_count = 9223372036854775807")
        .await;
    assert_eq!(
        s.ask("select uses::text from pgmutex.pool_statistics")
            .await,
        "9223372036854775807"
    );
}
