//! Pools of sessions: who gets which, when, and what makes one come back.

use crate::support::{Database, Session};

pub(super) async fn add(s: &Session, count: i32) {
    s.run(&format!(
        "select pgmutex.pool_add('p', jsonb_build_object('n', n)) from generate_series(1, {count}) n"
    ))
    .await;
}

pub(super) async fn checkout(s: &Session, owner: &str, more: &str) -> String {
    s.ask(&checkout_call(owner, more)).await
}

pub(super) fn checkout_call(owner: &str, more: &str) -> String {
    format!(
        "select concat_ws(' ', (c.lease).outcome, (c.session).payload ->> 'n') from pgmutex.pool_checkout('p', '{owner}'{more}) c"
    )
}

pub(super) async fn get(s: &Session, more: &str) -> String {
    s.ask(&format!(
        "select concat_ws(' ', outcome, payload ->> 'n') from pgmutex.pool_get_session('p'{more})"
    ))
    .await
}

#[tokio::test]
async fn the_one_unused_for_longest_comes_next() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 3).await;
    let for_long = ", next_use_delay => '1 hour'";
    assert_eq!(get(&s, for_long).await, "captured 1");
    assert_eq!(get(&s, ", next_use_delay => '0'").await, "captured 2");
    assert_eq!(get(&s, ", next_use_delay => '0'").await, "captured 3");
    assert_eq!(get(&s, ", next_use_delay => '0'").await, "captured 2");
    s.run("update pgmutex.pool_session set next_use = now()")
        .await;
    assert_eq!(get(&s, for_long).await, "captured 1");
    assert_eq!(get(&s, for_long).await, "captured 3");
    assert_eq!(get(&s, for_long).await, "captured 2");
    assert_eq!(get(&s, for_long).await, "none");
}

#[tokio::test]
async fn a_lease_keeps_a_session_until_it_ends() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 1).await;
    let now = ", next_use_delay => '0'";
    assert_eq!(checkout(&s, "a", now).await, "captured 1");
    assert_eq!(checkout(&s, "a", now).await, "refreshed 1");
    assert_eq!(checkout(&s, "b", now).await, "none");
    assert_eq!(
        checkout(&s, "b", ", next_use_delay => '0', wait => true").await,
        "queued"
    );
    let waiting =
        "select concat_ws(' ', mutex_group, mutex_mode, place, owner_session) from pgmutex.waiting";
    assert_eq!(s.ask(waiting).await, "pgmutex.pool p 1 b");
    assert_eq!(
        s.outcome("release('pgmutex.pool', 'p', (select id::text from pgmutex.pool), 'a')")
            .await,
        "released"
    );
    assert_eq!(checkout(&s, "c", now).await, "none");
    assert_eq!(
        checkout(&s, "b", ", next_use_delay => '0', wait => true").await,
        "captured 1"
    );
    s.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
        .await;
    s.run("update pgmutex.pool_session set look_at_lease = now()")
        .await;
    assert_eq!(checkout(&s, "c", now).await, "captured 1");
    let state = "select concat_ws(' ', state, owner_session) from pgmutex.pool";
    assert_eq!(s.ask(state).await, "in use c");
    s.ask("select pgmutex.sweep()::text").await;
    let (code, message) = s.refusal("capture('pgmutex.pool', 'p', '99', 'x')").await;
    assert_eq!(code, "PM003", "{message}");
}

#[tokio::test]
async fn documents_are_changed_by_dotted_paths() {
    let database = Database::fresh().await;
    let s = database.session().await;
    s.run("select pgmutex.pool_add('p', '{\"session\": {\"phone\": 1, \"mail\": {\"a\": 2}}, \"x\": []}')").await;
    let update = |changes: &str| {
        format!(
            "select concat_ws(' ', outcome, payload) from pgmutex.pool_update('p', (select min(id) from pgmutex.pool), {changes})"
        )
    };
    assert_eq!(
        s.ask(&update(
            "'{\"session.phone\": 7, \"session.new.deep\": null}', '{session.mail.a}'"
        ))
        .await,
        "updated {\"x\": [], \"session\": {\"new\": {\"deep\": null}, \"mail\": {}, \"phone\": 7}}"
    );
    for (wrong, message) in [
        (
            "'{\"x.a\": 1}'",
            "a path leads through a value that is no object, before the name 'a'",
        ),
        (
            "'{\"session\": 1, \"session.phone\": 2}'",
            "'session' is changed, and so is the whole or a part of it: say it once",
        ),
        (
            "'{\"a..b\": 1}'",
            "'a..b' is no path: it is made of names with dots between them",
        ),
        (
            "'{}', '{\"\"}'",
            "'' is no path: it is made of names with dots between them",
        ),
    ] {
        let error = s.try_ask(&update(wrong)).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().message(), message);
    }
}

#[tokio::test]
async fn filters_say_which_are_meant() {
    let database = Database::fresh().await;
    let s = database.session().await;
    add(&s, 5).await;
    s.run("select pgmutex.pool_create_index('p', 'n')").await;
    let found = |filter: &str| {
        format!(
            "select coalesce(string_agg(payload ->> 'n', ' ' order by id), '') from pgmutex.pool_find('p', '{filter}')"
        )
    };
    for (filter, wanted) in [
        ("[]", "1 2 3 4 5"),
        (
            "[{\"path\": \"n\", \"test\": \"equal\", \"value\": 3}]",
            "3",
        ),
        (
            "[{\"path\": \"n\", \"test\": \"greater\", \"value\": 3}]",
            "4 5",
        ),
        (
            "[{\"path\": \"n\", \"test\": \"greater\", \"value\": \"3\"}]",
            "",
        ),
        ("[{\"path\": \"m\", \"test\": \"missing\"}]", "1 2 3 4 5"),
        (
            "[{\"field\": \"active\", \"test\": \"equal\", \"value\": false}]",
            "",
        ),
        ("[{\"test\": \"contains\", \"value\": {\"n\": 2}}]", "2"),
        (
            "[{\"path\": \"n\", \"test\": \"not_equal\", \"value\": \"; drop table x; --''\"}]",
            "1 2 3 4 5",
        ),
    ] {
        assert_eq!(s.ask(&found(filter)).await, wanted, "{filter}");
    }
    assert_eq!(
        s.ask("select string_agg(path, ' ') from pgmutex.pool_list_indexes('p')")
            .await,
        "n"
    );
    assert_eq!(
        s.ask("select pgmutex.pool_drop_index('p', 'n')::text")
            .await,
        "true"
    );
    assert_eq!(
        s.ask("select concat_ws(' ', total, active, ready, in_use, locked, blocked, uses) from pgmutex.pool_statistics('p')").await,
        "5 5 5 0 0 0 0"
    );
}
