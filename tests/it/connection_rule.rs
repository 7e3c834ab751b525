//! I5 for the rule `connection`: a hold is over exactly when the database session that it names has
//! ended, for everyone who asks.

use crate::support::{Database, Listener, Session, session_at};

fn rule(config: impl std::fmt::Display) -> String {
    format!("auto_release_rule => 'connection', auto_release_config => '{config}'")
}

fn of(process: &Listener) -> String {
    rule(process.number())
}

/// Makes every hold look as if it were from long ago.
async fn let_years_pass(session: &Session) {
    session
        .run("update pgmutex.mutex_model set captured_since = captured_since - interval '10 years'")
        .await;
}

#[tokio::test]
async fn a_hold_lasts_as_long_as_the_session_and_ends_with_it() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    let call = format!(
        "select concat_ws(' ', outcome, auto_release_rule, expires_at is null) from pgmutex.capture('tests', 'step', 'm', 'a', {})",
        of(&process)
    );
    assert_eq!(a.ask(&call).await, "captured connection t");
    let_years_pass(&a).await;
    assert_eq!(a.capture("m", "b").await, "busy");
    process.ends(&a).await;
    assert_eq!(a.capture("m", "b").await, "evicted");
}

#[tokio::test]
async fn a_session_that_is_terminated_is_gone_for_all_its_holds() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let number = a.ask("select pgmutex.attach_session()::text").await;
    for id in ["m", "n"] {
        assert_eq!(b.capture_as(id, "a", &rule(&number)).await, "captured");
    }
    assert_eq!(b.capture("m", "b").await, "busy");
    let end = format!("select pg_terminate_backend({})::text", a.process_id());
    b.ask(&end).await;
    let gone = format!(
        "select count(*)::text from pg_stat_activity where pid = {}",
        a.process_id()
    );
    b.ask_until(&gone, |count| count == "0").await;
    for id in ["m", "n"] {
        assert_eq!(b.capture(id, "b").await, "evicted");
    }
}

#[tokio::test]
async fn two_who_ask_at_once_do_not_take_each_other_for_the_holder() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let process = database.listener().await;
    for id in ["m", "n"] {
        a.capture_as(id, "holder", &of(&process)).await;
    }
    process.ends(&a).await;
    // The first one's question is still open, in its transaction.
    a.run("begin").await;
    assert_eq!(a.capture("m", "a").await, "evicted");
    assert_eq!(b.capture("n", "b").await, "evicted");
    a.run("commit").await;
}

#[tokio::test]
async fn a_session_is_there_for_itself_as_for_others() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let number = a.ask("select pgmutex.attach_session()::text").await;
    a.capture_as("m", "a", &rule(&number)).await;
    for session in [&a, &b] {
        assert_eq!(session.capture("m", "b").await, "busy");
        let request = session.outcome("request('tests', 'step', 'm', 'b')").await;
        assert_eq!(request, "captured_by_other");
        assert_eq!(session.ask("select pgmutex.sweep()::text").await, "0");
        for shown in ["held", "list()"] {
            let count = format!("select count(*)::text from pgmutex.{shown}");
            assert_eq!(session.ask(&count).await, "1");
        }
    }
    // The question has taken nothing away.
    assert_eq!(b.capture("m", "b").await, "busy");
}

#[tokio::test]
async fn other_locks_of_the_one_who_asks_are_not_the_session() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    let number = process.number();
    a.capture_as("m", "holder", &of(&process)).await;
    process.ends(&a).await;
    // The same number in two halves, and shared.
    a.ask(&format!("select pg_advisory_lock(({number}::bigint >> 32)::integer, ({number}::bigint::bit(32))::integer)::text")).await;
    a.ask(&format!("select pg_advisory_lock_shared({number})::text"))
        .await;
    assert_eq!(a.ask("select count(*)::text from pgmutex.held").await, "0");
    assert_eq!(a.capture("m", "a").await, "evicted");
}

#[tokio::test]
async fn with_a_time_it_is_over_at_whichever_comes_first() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    let both = rule(format!("{} 80000", process.number()));
    let ends = format!(
        "select (expires_at - captured_since)::text from pgmutex.capture('tests', 'step', 'time', 'a', {both})"
    );
    assert_eq!(a.ask(&ends).await, "22:13:20");
    a.capture_as("session", "a", &both).await;
    assert_eq!(a.capture("time", "b").await, "busy");
    a.age("time", "40000 seconds").await;
    assert_eq!(
        a.outcome("refresh('tests', 'step', 'time', 'a')").await,
        "refreshed"
    );
    a.age("time", "60000 seconds").await;
    assert_eq!(a.capture("time", "b").await, "busy");
    a.age("time", "40000 seconds").await;
    assert_eq!(a.capture("time", "b").await, "evicted");
    process.ends(&a).await;
    assert_eq!(a.capture("session", "b").await, "evicted");
}

#[tokio::test]
async fn a_number_that_nobody_has_is_refused() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    let (number, of_process) = (process.number(), of(&process));
    a.capture_as("mine", "a", &of_process).await;
    process.ends(&a).await;
    for config in [
        "1".to_owned(),
        "999999999999999999".to_owned(),
        number.to_string(),
        format!("{number} 300"),
    ] {
        for id in ["new", "mine"] {
            let call = format!("capture('tests', 'step', '{id}', 'a', {})", rule(&config));
            let (code, message) = a.refusal(&call).await;
            assert_eq!(code, "PM003", "{config}");
            assert_eq!(
                message,
                "auto_release_config names a database session that is gone: attach another"
            );
        }
    }
    assert_eq!(a.ask("select count(*)::text from pgmutex.hold").await, "1");
}

#[tokio::test]
async fn every_function_finds_it_over() {
    let database = Database::fresh().await;
    let a = database.session().await;
    for (call, answer) in [
        (
            "(select outcome from pgmutex.request('tests', 'step', 'm', 'b'))",
            "free",
        ),
        (
            "(select outcome from pgmutex.request('tests', 'step', 'm', 'a'))",
            "free",
        ),
        ("pgmutex.sweep()::text", "1"),
        ("(select count(*)::text from pgmutex.held)", "0"),
        ("(select count(*)::text from pgmutex.hold)", "1"),
        ("(select count(*)::text from pgmutex.list())", "0"),
        (
            "(select count(*)::text from pgmutex.list(include_over => true))",
            "1",
        ),
        ("pgmutex.list_count()::text", "0"),
        (
            "(select outcome from pgmutex.refresh('tests', 'step', 'm', 'a'))",
            "not_held",
        ),
        (
            "(select outcome from pgmutex.refresh('tests', 'step', 'm', 'b'))",
            "not_held",
        ),
        (
            "(select outcome from pgmutex.keep('{tests}', '{step}', '{m}', array(select fencing_token from pgmutex.hold)))",
            "not_held",
        ),
        (
            "(select outcome from pgmutex.release('tests', 'step', 'm', 'b'))",
            "not_held",
        ),
        (
            "(select outcome from pgmutex.release('tests', 'step', 'm', 'a'))",
            "not_held",
        ),
        (
            "(select outcome from pgmutex.capture('tests', 'step', 'm', 'a'))",
            "evicted",
        ),
        (
            "(select outcome from pgmutex.capture('tests', 'step', 'm', 'b', access => 'shared'))",
            "evicted",
        ),
        (
            "(select outcome from pgmutex.capture_each('[{\"mutex_group\": \"tests\", \"mutex_mode\": \"step\", \"mutex_id\": \"m\", \"owner_session\": \"b\"}]'))",
            "evicted",
        ),
    ] {
        let process = database.listener().await;
        assert_eq!(a.capture_as("m", "a", &of(&process)).await, "captured");
        process.ends(&a).await;
        assert_eq!(a.ask(&format!("select {call}")).await, answer, "{call}");
        a.run("delete from pgmutex.mutex_model").await;
    }
    let process = database.listener().await;
    let fence = "select pgmutex.fence('tests', 'step', 'm', (select fencing_token from pgmutex.hold))::text";
    a.capture_as("m", "a", &of(&process)).await;
    a.ask(fence).await;
    process.ends(&a).await;
    let error = a.try_ask(fence).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM005");
}

#[tokio::test]
async fn every_function_finds_it_held_while_the_session_is_there() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    a.capture_as("m", "a", &of(&process)).await;
    let_years_pass(&a).await;
    for (call, answer) in [
        (
            "(select outcome from pgmutex.request('tests', 'step', 'm', 'b'))",
            "captured_by_other",
        ),
        ("pgmutex.sweep()::text", "0"),
        ("(select count(*)::text from pgmutex.held)", "1"),
        ("(select count(*)::text from pgmutex.list())", "1"),
        (
            "(select outcome from pgmutex.release('tests', 'step', 'm', 'b'))",
            "busy",
        ),
        (
            "coalesce((select outcome from pgmutex.keep('{tests}', '{step}', '{m}', array(select fencing_token from pgmutex.hold))), 'kept')",
            "kept",
        ),
        (
            "(select outcome from pgmutex.refresh('tests', 'step', 'm', 'a'))",
            "refreshed",
        ),
        (
            "(select outcome from pgmutex.capture('tests', 'step', 'm', 'a'))",
            "refreshed",
        ),
        ("(select auto_release_rule from pgmutex.hold)", "connection"),
        (
            "(select outcome from pgmutex.release('tests', 'step', 'm', 'a'))",
            "released",
        ),
    ] {
        assert_eq!(a.ask(&format!("select {call}")).await, answer, "{call}");
    }
}

#[tokio::test]
async fn a_hold_can_move_to_another_session_of_its_owner() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let (one, two) = (database.listener().await, database.listener().await);
    a.capture_as("m", "a", &of(&one)).await;
    assert_eq!(a.capture_as("m", "a", &of(&two)).await, "refreshed");
    one.ends(&a).await;
    assert_eq!(a.capture("m", "b").await, "busy");
    two.ends(&a).await;
    assert_eq!(a.capture("m", "b").await, "evicted");
}

#[tokio::test]
async fn a_write_behind_its_fence_outlasts_the_session() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let process = database.listener().await;
    a.capture_as("m", "a", &of(&process)).await;
    a.run("begin").await;
    a.ask("select pgmutex.fence('tests', 'step', 'm', (select fencing_token from pgmutex.hold))::text").await;
    process.ends(&b).await;
    assert_eq!(b.capture("m", "b").await, "busy");
    assert_eq!(b.ask("select pgmutex.sweep()::text").await, "0");
    a.run("commit").await;
    assert_eq!(b.capture("m", "b").await, "evicted");
}

#[tokio::test]
async fn one_who_may_only_read_the_views_sees_what_is_held() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let (role, url) = database.role("").await;
    session
        .run(&format!("grant usage on schema pgmutex to {role}; grant select on pgmutex.held, pgmutex.waiting to {role}"))
        .await;
    let (one, two) = (database.listener().await, database.listener().await);
    session
        .capture_as("m", "a", &format!("{}, owner_name => 'Ada'", of(&one)))
        .await;
    session.capture_as("n", "a", &of(&two)).await;
    session.capture_as("m", "w", "wait => true").await;
    two.ends(&session).await;
    let reader = session_at(&url).await;
    for transaction in ["begin", "begin read only"] {
        reader.run(transaction).await;
        assert_eq!(
            reader
                .ask("select string_agg(mutex_id, ' ') from pgmutex.held")
                .await,
            "m"
        );
        assert_eq!(
            reader
                .ask("select string_agg(behind_owner_name, ' ') from pgmutex.waiting")
                .await,
            "Ada"
        );
        reader.run("commit").await;
    }
    drop(reader);
    session
        .run(&format!("drop owned by {role} cascade; drop role {role}"))
        .await;
}

#[tokio::test]
async fn attaching_gives_numbers_that_last_as_long_as_the_session() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    let attach = "select pgmutex.attach_session()::text";
    a.run("begin").await;
    let first = a.ask(attach).await;
    a.run("rollback").await;
    let second = a.ask(attach).await;
    assert_ne!(first, second);
    for number in [&first, &second] {
        assert!((1..10_i64.pow(18)).contains(&number.parse().unwrap()));
        assert_eq!(b.capture_as(number, "a", &rule(number)).await, "captured");
    }
    // It listens only if asked to.
    let channels =
        "select coalesce(string_agg(channel, ' '), '') from pg_listening_channels() channel";
    assert_eq!(a.ask(channels).await, "");
    let third = a.ask("select pgmutex.attach_session(true)::text").await;
    assert_eq!(a.ask(channels).await, format!("pgmutex_{third}"));
    // A server that can notices at once when the process dies in the middle of a query.
    let noticed =
        "select coalesce(current_setting('client_connection_check_interval', true), '1s')";
    assert_eq!(a.ask(noticed).await, "1s");
}

#[tokio::test]
async fn a_release_need_not_wait_for_the_disk() {
    let database = Database::fresh().await;
    let a = database.session().await;
    let process = database.listener().await;
    for (more, setting) in [
        (of(&process), "off"),
        ("auto_release_rule => 'never'".to_owned(), "on"),
    ] {
        a.capture_as("m", "a", &more).await;
        a.run("begin").await;
        a.outcome("release('tests', 'step', 'm', 'a', durable => false)")
            .await;
        assert_eq!(a.ask("show synchronous_commit").await, setting);
        a.run("commit").await;
    }
}
