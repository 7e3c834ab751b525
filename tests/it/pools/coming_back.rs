//! However a lease ends, its session comes back; and what people and others do to a session that
//! somebody has.

use super::steps::{add, checkout, get};
use crate::support::Database;

const STATE: &str = "select concat_ws(' ', state, owner_session) from pgmutex.pool";
const ID: &str = "(select min(id)::text from pgmutex.pool_session)";
const AT_ONCE: &str = ", next_use_delay => '0'";
const AGED: &str = "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour';
    update pgmutex.pool_session set look_at_lease = now() - interval '1 second' where fencing_token is not null";

fn queue(owner: &str, listener: i64) -> String {
    super::steps::checkout_call(
        owner,
        &format!(", next_use_delay => '0', wait => true, listener => {listener}"),
    )
}

#[tokio::test]
async fn however_a_lease_ends_its_session_comes_back_and_the_next_one_is_told() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut process = database.listener().await;
    add(&s, 1).await;
    for (is_aged, end) in [
        (false, format!("select outcome from pgmutex.release('pgmutex.pool', 'p', {ID}, 'a')")),
        (false, "select outcome from pgmutex.release_owner('a')".to_owned()),
        (false, format!("select outcome from pgmutex.release_each(jsonb_build_array(jsonb_build_object('mutex_group', 'pgmutex.pool', 'mutex_mode', 'p', 'mutex_id', {ID}, 'owner_session', 'a')))")),
        (false, format!("select outcome from pgmutex.force_release('pgmutex.pool', 'p', {ID}, 'test')")),
        (false, "with gone as (delete from pgmutex.mutex_model returning 1) select count(*)::text from gone".to_owned()),
        (true, "select pgmutex.sweep()::text".to_owned()),
        (true, super::steps::checkout_call("other", ", filter => '[{\"path\": \"n\", \"test\": \"equal\", \"value\": 0}]'")),
    ] {
        assert_eq!(checkout(&s, "a", AT_ONCE).await, "captured 1");
        assert_eq!(s.ask(STATE).await, "in use a");
        assert_eq!(s.ask(&queue("w", process.number())).await, "queued", "{end}");
        if is_aged {
            s.run(AGED).await;
        }
        process.told().await;
        s.ask(&end).await;
        assert_eq!(s.ask(STATE).await, "ready", "{end}");
        assert_eq!(process.told().await.len(), 1, "{end}");
        assert_eq!(s.ask(&queue("w", process.number())).await, "captured 1", "{end}");
        s.run("delete from pgmutex.mutex_model").await;
    }
}

/// The one who looks in vain either sees what came back, or is told.
#[tokio::test]
async fn whoever_joins_the_line_while_a_session_is_given_back_is_told() {
    let database = Database::with_patient_lines().await;
    let (a, b) = (database.session().await, database.session().await);
    let mut process = database.listener().await;
    add(&a, 1).await;
    let release = format!("release('pgmutex.pool', 'p', {ID}, 'a')");
    // It has been given back, but not quite.
    assert_eq!(checkout(&a, "a", AT_ONCE).await, "captured 1");
    a.run("begin").await;
    assert_eq!(a.outcome(&release).await, "released");
    assert_eq!(b.ask(&queue("b", process.number())).await, "queued");
    assert_eq!(process.told().await, [""; 0]);
    a.run("commit").await;
    assert_eq!(process.told().await.len(), 1);
    assert_eq!(b.ask(&queue("b", process.number())).await, "captured 1");
    // It is given back while somebody, not quite, has joined.
    b.run("begin").await;
    assert_eq!(b.ask(&queue("c", process.number())).await, "queued");
    let releasing = a.begin_outcome(&release.replace("'a')", "'b')"));
    a.is_blocked().await;
    b.run("commit").await;
    assert_eq!(releasing.text().await, "released");
    assert_eq!(process.told().await.len(), 1);
    assert_eq!(b.ask(&queue("c", process.number())).await, "captured 1");
}

#[tokio::test]
async fn those_who_wait_are_served_in_order_also_when_a_time_passes() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let process = database.listener().await;
    add(&s, 1).await;
    s.run("update pgmutex.pool_session set next_use = clock_timestamp() + interval '10 hours'")
        .await;
    for owner in ["w1", "w2"] {
        assert_eq!(s.ask(&queue(owner, process.number())).await, "queued");
    }
    let look = process.look().await;
    assert!(
        look.contains(" f 09:") || look.contains(" f 10:00:00"),
        "{look}"
    );
    super::passing_over::all_are_due(&s).await;
    let look = process.look().await;
    assert!(look.contains(" t") && !look.contains(','), "{look}");
    // Neither newcomers nor those behind.
    assert_eq!(checkout(&s, "new", "").await, "none");
    assert_eq!(get(&s, "").await, "none");
    assert_eq!(s.ask(&queue("w2", process.number())).await, "queued");
    // Those who want something else stand in another line.
    let one = ", filter => '[{\"path\": \"n\", \"test\": \"equal\", \"value\": 2}]'";
    assert_eq!(
        checkout(&s, "other", &format!("{one}, wait => true")).await,
        "queued"
    );
    add(&s, 2).await;
    assert_eq!(
        checkout(&s, "other", &format!("{one}, wait => true")).await,
        "captured 2"
    );
    assert_eq!(s.ask(&queue("w2", process.number())).await, "queued");
    assert_eq!(s.ask(&queue("w1", process.number())).await, "captured 1");
    assert_eq!(s.ask(&queue("w2", process.number())).await, "captured 1");
}

/// Whoever has gone must not hold up the others of its line, or another one.
#[tokio::test]
async fn a_waiter_that_leaves_makes_way() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut process = database.listener().await;
    for filter in ["[]", "[{\"path\": \"n\", \"test\": \"exists\"}]"] {
        let queue = |owner: &str| {
            super::steps::checkout_call(
                owner,
                &format!(
                    ", filter => '{filter}', wait => true, listener => {}",
                    process.number()
                ),
            )
        };
        let (first, second) = (queue("w1"), queue("w2"));
        assert_eq!(s.ask(&first).await, "queued");
        assert_eq!(s.ask(&second).await, "queued");
        add(&s, 1).await;
        process.told().await;
        let leave = format!(
            "select pgmutex.leave_line('pgmutex.pool', 'p', pgmutex.pool_line('{filter}'), 'w1')::text"
        );
        assert_eq!(s.ask(&leave).await, "true");
        assert_eq!(process.told().await.len(), 1);
        assert_eq!(s.ask(&second).await, "captured 1");
        s.run("delete from pgmutex.mutex_model; delete from pgmutex.pool_session")
            .await;
    }
}

#[tokio::test]
async fn what_is_done_to_a_session_that_somebody_has_counts_when_it_comes_back() {
    let database = Database::fresh().await;
    let s = database.session().await;
    for (call, state) in [
        ("pool_lock('p', {}, '1 hour')", "locked"),
        ("pool_block('p', {})", "blocked"),
        ("pool_inactive('p', {})", "inactive"),
        ("pool_activate('p', {})", "ready"),
        ("pool_success('p', {}, 1, '1 hour')", "locked"),
        ("pool_update('p', {}, '{\"m\": 1}')", "ready"),
        ("pool_delete('p', {})", ""),
    ] {
        add(&s, 1).await;
        let id = s.ask(&format!("select {ID}")).await;
        assert_eq!(checkout(&s, "a", AT_ONCE).await, "captured 1");
        let outcome = s.outcome(&call.replace("{}", &id)).await;
        assert!(["updated", "deleted"].contains(&outcome.as_str()), "{call}");
        assert_eq!(
            s.outcome(&format!("refresh('pgmutex.pool', 'p', '{id}', 'a')"))
                .await,
            "refreshed"
        );
        assert_eq!(
            s.outcome(&format!("release('pgmutex.pool', 'p', '{id}', 'a')"))
                .await,
            "released"
        );
        let shown = format!(
            "select coalesce((select concat_ws(' ', state, owner_session) from pgmutex.pool where id = {id}), '')"
        );
        assert_eq!(s.ask(&shown).await, state, "{call}");
        s.run("delete from pgmutex.pool_session").await;
    }
}

/// What a worker says of a session counts only as long as it has it.
#[tokio::test]
async fn who_has_lost_a_lease_locks_nothing_and_counts_nothing() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 1).await;
    assert_eq!(checkout(&s, "a", AT_ONCE).await, "captured 1");
    let token = s.ask("select fencing_token::text from pgmutex.pool").await;
    s.ask(&format!(
        "select outcome from pgmutex.force_release('pgmutex.pool', 'p', {ID}, 'test')"
    ))
    .await;
    assert_eq!(checkout(&s, "b", AT_ONCE).await, "captured 1");
    let row = "select (p.*)::text from pgmutex.pool_session p";
    let before = s.ask(row).await;
    for call in [
        "pool_success('p', {}, 1, '1 hour', {})",
        "pool_lock('p', {}, '1 hour', {})",
        "pool_block('p', {}, '1 hour', {})",
    ] {
        let call = call
            .replacen("{}", &format!("{ID}::bigint"), 1)
            .replacen("{}", &token, 1);
        assert_eq!(s.outcome(&call).await, "not_found");
        assert_eq!(s.ask(row).await, before, "{call}");
    }
}

#[tokio::test]
async fn a_lease_that_is_being_written_behind_or_refreshed_is_not_taken_away() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    add(&a, 1).await;
    assert_eq!(checkout(&a, "a", AT_ONCE).await, "captured 1");
    a.run("begin").await;
    a.ask(&format!("select pgmutex.fence('pgmutex.pool', 'p', {ID}, (select fencing_token from pgmutex.mutex_model))::text")).await;
    b.run(AGED).await;
    assert_eq!(checkout(&b, "b", AT_ONCE).await, "none");
    a.run("commit").await;
    b.run(AGED).await;
    assert_eq!(checkout(&b, "b", AT_ONCE).await, "captured 1");
    // A refresh that comes first keeps it, although its time seemed to be up.
    b.run("update pgmutex.pool_session set look_at_lease = now() - interval '1 second'")
        .await;
    a.run("begin").await;
    assert_eq!(
        a.outcome(&format!("refresh('pgmutex.pool', 'p', {ID}, 'b')"))
            .await,
        "refreshed"
    );
    assert_eq!(checkout(&b, "c", AT_ONCE).await, "none");
    a.run("commit").await;
    assert_eq!(checkout(&b, "c", AT_ONCE).await, "none");
    // One that comes later learns that it is lost.
    b.run(AGED).await;
    b.run("begin").await;
    assert_eq!(checkout(&b, "c", AT_ONCE).await, "captured 1");
    let late = a
        .outcome(&format!("refresh('pgmutex.pool', 'p', {ID}, 'b')"))
        .await;
    assert_eq!(late, "not_held");
    b.run("commit").await;
    let late = a
        .outcome(&format!("refresh('pgmutex.pool', 'p', {ID}, 'b')"))
        .await;
    assert_eq!(late, "busy");
}

#[tokio::test]
async fn what_people_write_into_the_table_has_effect_at_once() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut process = database.listener().await;
    add(&s, 1).await;
    let set = async |what: &str| {
        s.run(&format!("update pgmutex.pool_session set {what}"))
            .await
    };
    for (off, on) in [
        ("active = false", "active = true"),
        ("next_use = 'infinity'", "next_use = now()"),
    ] {
        set(off).await;
        assert_eq!(get(&s, AT_ONCE).await, "none");
        assert_eq!(s.ask(&queue("w", process.number())).await, "queued");
        process.told().await;
        set(on).await;
        assert_eq!(process.told().await.len(), 1);
        assert_eq!(s.ask(&queue("w", process.number())).await, "captured 1");
        s.run("delete from pgmutex.mutex_model").await;
    }
    s.run("insert into pgmutex.pool_session (collection) values ('people')")
        .await;
    assert_eq!(s.outcome("pool_get_session('people')").await, "captured");
}

#[tokio::test]
async fn a_session_that_was_made_to_forget_its_lease_stays_with_its_holder() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 250).await;
    s.run("select pgmutex.pool_checkout('p', n::text, next_use_delay => '0') from generate_series(1, 250) n")
        .await;
    for who in ["b", "c"] {
        s.run("update pgmutex.pool_session set fencing_token = null")
            .await;
        let taken = match who {
            "b" => get(&s, AT_ONCE).await,
            _ => checkout(&s, "c", AT_ONCE).await,
        };
        assert_eq!(taken, "none");
        let used = "select concat_ws(' ', count(*), count(distinct owner_session)) from pgmutex.pool where state = 'in use'";
        assert_eq!(s.ask(used).await, "250 250");
    }
    s.run("update pgmutex.pool_session set fencing_token = null; delete from pgmutex.mutex_model where owner_session = '7'").await;
    assert_eq!(checkout(&s, "c", AT_ONCE).await, "captured 7");
}

/// Rows of other programs in the group of the pools are no leases, and in nobody's way.
#[tokio::test]
async fn holds_that_are_no_leases_disturb_nothing() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 1).await;
    for id in [
        "",
        "x",
        "-1",
        "1.5",
        "99999999999999999999999",
        "0",
        "gate 7",
    ] {
        s.run(&format!(
            "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name,
                auto_release_rule, auto_release_config, captured_since, fencing_token)
             values ('pgmutex.pool', 'p', '{id}', 'x', '', '', '', '', 'timeout', '300', now(), 5)"
        ))
        .await;
        assert_eq!(get(&s, AT_ONCE).await, "captured 1", "{id}");
        assert_eq!(s.ask(STATE).await, "ready", "{id}");
    }
    assert_eq!(
        s.ask("select count(*)::text from pgmutex.release_owner('x')")
            .await,
        "7"
    );
    for id in ["1", "x", ""] {
        let (code, _) = s
            .refusal(&format!("capture('pgmutex.pool', 'p', '{id}', 'y')"))
            .await;
        assert_eq!(code, "PM003");
    }
}

/// A capture by the holder may give a lease another rule, and truncating fires no trigger.
#[tokio::test]
async fn a_lease_for_ever_that_is_changed_or_removed_past_the_triggers_ends() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 1).await;
    let forever =
        ", next_use_delay => '0', auto_release_rule => 'never', auto_release_config => ''";
    assert_eq!(checkout(&s, "a", forever).await, "captured 1");
    s.run(&format!(
        "select pgmutex.capture('pgmutex.pool', 'p', {ID}, 'a', auto_release_rule => 'timeout', auto_release_config => '60')"
    ))
    .await;
    assert_eq!(
        s.ask(
            "select (look_at_lease < now() + interval '2 minutes')::text from pgmutex.pool_session"
        )
        .await,
        "true"
    );
    s.run(AGED).await;
    assert_eq!(checkout(&s, "b", forever).await, "captured 1");
    s.run("truncate pgmutex.mutex_model").await;
    assert_eq!(checkout(&s, "c", AT_ONCE).await, "captured 1");
}
