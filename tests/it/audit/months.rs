//! The partitions: a missing one fails nothing, and keeping them stands in nobody's way.

use super::{audited, months, on_or_off, trail};
use crate::support::{Database, Session};

/// Calls `keep_audit`: how many months were made, events moved and months dropped.
async fn keep(session: &Session, arguments: &str) -> String {
    session.ask(&keeping(arguments)).await
}

fn keeping(arguments: &str) -> String {
    format!("select concat_ws(' ', made, moved, dropped) from pgmutex.keep_audit({arguments})")
}

/// The name of the partition of a month, so many after this one.
async fn month(session: &Session, from_now: i32) -> String {
    session
        .ask(&format!(
            "select to_char(date_trunc('month', now() at time zone 'UTC') + interval '{from_now} months', '\"audit_\"YYYY_MM')"
        ))
        .await
}

/// Takes a month's partition away, as if it had never been made.
async fn lose(session: &Session, from_now: i32) {
    let name = month(session, from_now).await;
    session.run(&format!("drop table pgmutex.{name}")).await;
}

#[tokio::test]
async fn this_month_and_the_next_three_are_there_from_the_start() {
    let (_database, session) = audited().await;
    let mut names = Vec::new();
    for from_now in 0..=3 {
        names.push(month(&session, from_now).await);
    }
    assert_eq!(months(&session).await, format!("{} + 0", names.join(" ")));
    assert_eq!(keep(&session, "").await, "0 0 0");
    assert_eq!(keep(&session, "ahead => '5 months'").await, "2 0 0");
}

#[tokio::test]
async fn a_month_is_the_same_whatever_the_time_zone_of_the_session() {
    let (_database, session) = audited().await;
    for zone in ["Pacific/Kiritimati", "America/New_York", "Asia/Kolkata"] {
        session.run(&format!("set timezone = '{zone}'")).await;
        assert_eq!(
            keep(&session, "ahead => '3 months'").await,
            "0 0 0",
            "{zone}"
        );
        lose(&session, 2).await;
        assert_eq!(keep(&session, "").await, "1 0 0", "{zone}");
    }
    // No gap between them: every hour of the time ahead has a place.
    session.run("set timezone = 'UTC'").await;
    let bounds = "select bool_and(bound ~ '-01 00:00:00\\+00.\\) TO \\(.*-01 00:00:00\\+00.\\)$')::text \
                  from (select pg_get_expr(c.relpartbound, c.oid) as bound from pg_class c \
                        where c.relname ~ '^audit_2' and c.relkind = 'r') b";
    assert_eq!(session.ask(bounds).await, "true");
}

#[tokio::test]
async fn an_event_without_a_month_is_kept_and_moved_later() {
    let (_database, session) = audited().await;
    lose(&session, 0).await;
    session.capture("m", "a").await;
    session
        .run(
            "insert into pgmutex.audit (at, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token, owner_session, owner_host, \
             owner_id, owner_login, owner_name, reason, database_role, client_address, application_name) \
             select at - interval '70 days', event, mutex_group, mutex_mode, mutex_id, permit, fencing_token, 'before', owner_host, \
             owner_id, owner_login, owner_name, reason, database_role, client_address, application_name from pgmutex.audit",
        )
        .await;
    assert!(months(&session).await.ends_with(" + 2"));
    assert_eq!(keep(&session, "").await, "2 2 0");
    assert!(months(&session).await.ends_with(" + 0"));
    assert_eq!(trail(&session, "m").await, "captured a, captured before");
    session.release("m", "a").await;
    assert!(months(&session).await.ends_with(" + 0"));
    let this_month = month(&session, 0).await;
    let count = format!("select count(*)::text from pgmutex.{this_month}");
    assert_eq!(session.ask(&count).await, "2");
    assert_eq!(keep(&session, "").await, "0 0 0");
}

#[tokio::test]
async fn a_default_partition_with_nothing_but_what_was_rolled_back_is_made_anew() {
    let (_database, session) = audited().await;
    lose(&session, 0).await;
    session.run("begin").await;
    session.capture("m", "a").await;
    session.run("rollback").await;
    assert_eq!(keep(&session, "").await, "1 0 0");
    assert_eq!(keep(&session, "").await, "0 0 0");
}

#[tokio::test]
async fn whole_months_older_than_the_retention_are_dropped() {
    let (_database, session) = audited().await;
    session
        .run(
            "select pgmutex.make_audit_partition('audit_2019_12', $$for values from ('2019-12-01 00:00+00') to ('2020-01-01 00:00+00')$$, null); \
             select pgmutex.make_audit_partition('audit_2020_01', $$for values from ('2020-01-01 00:00+00') to ('2020-02-01 00:00+00')$$, null)",
        )
        .await;
    session.capture("m", "a").await;
    // So that 31 January 2020 is still within it.
    let since = "clock_timestamp() - '2020-01-31 12:00+00'";
    assert_eq!(keep(&session, since).await, "0 0 1");
    assert!(months(&session).await.starts_with("audit_2020_01 "));
    assert_eq!(keep(&session, "").await, "0 0 1");
    assert_eq!(keep(&session, "'0'").await, "0 0 0");
    assert_eq!(trail(&session, "m").await, "captured a");
    // Switching it off and on drops nothing.
    on_or_off(&session, "disable").await;
    on_or_off(&session, "enable").await;
    assert_eq!(trail(&session, "m").await, "captured a");
}

#[tokio::test]
async fn times_that_make_no_sense_are_refused() {
    let (_database, session) = audited().await;
    for arguments in [
        "null",
        "'-1 day'",
        "'1001 years'",
        "ahead => null",
        "ahead => '-1 month'",
        "ahead => '11 years'",
    ] {
        let error = session.try_ask(&keeping(arguments)).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "PM003", "{arguments}");
    }
    session.run("begin isolation level repeatable read").await;
    let error = session.try_ask(&keeping("")).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "PM001");
    session.run("rollback").await;
}

#[tokio::test]
async fn keeping_waits_for_open_captures_and_those_behind_it_go_on() {
    let (database, a) = audited().await;
    let (b, c) = (database.session().await, database.session().await);
    let (keeper, another) = (database.session().await, database.session().await);

    // With nothing to do it waits for nobody.
    a.run("begin").await;
    a.capture("m", "a").await;
    assert_eq!(keep(&keeper, "").await, "0 0 0");
    a.run("commit").await;

    lose(&a, 3).await;
    a.run("begin").await;
    a.capture("n", "a").await;
    let kept = keeper.begin(&keeping(""));
    keeper.is_blocked().await;
    let kept_too = another.begin(&keeping(""));
    another.is_blocked().await;
    // One that waits for the first's mutex, and one that waits behind those who keep.
    let same = b.begin_capture("n", "b");
    b.is_blocked().await;
    let other = c.begin_capture("o", "c");
    c.is_blocked().await;
    // The first is not held up by anyone who waits for it.
    assert_eq!(a.capture("p", "a").await, "captured");
    a.release("n", "a").await;
    a.run("commit").await;
    assert_eq!(kept.text().await, "1 0 0");
    assert_eq!(kept_too.text().await, "0 0 0");
    assert_eq!(same.text().await, "captured");
    assert_eq!(other.text().await, "captured");
    for (id, expected) in [
        ("n", "captured a, released a, captured b"),
        ("o", "captured c"),
        ("p", "captured a"),
    ] {
        assert_eq!(trail(&a, id).await, expected);
    }
}

#[tokio::test]
async fn keeping_gives_up_before_those_who_wait_behind_it_do() {
    let database = Database::as_installed().await;
    let a = database.session().await;
    let (b, keeper) = (database.session().await, database.session().await);
    assert_eq!(on_or_off(&a, "enable").await, "true");
    let gives_up_first = "select (max(w.patience) filter (where w.name = 'keep_audit') < min(w.patience) filter (where w.name <> 'keep_audit'))::text \
                          from (select p.proname as name, split_part(c.setting, '=', 2)::interval as patience \
                                from pg_proc p cross join unnest(p.proconfig) c (setting) \
                                where p.pronamespace = 'pgmutex'::regnamespace and c.setting like 'lock%' \
                                  and p.proname in ('keep_audit', 'capture', 'capture_each', 'capture_all', 'release', 'release_each', 'release_owner')) w";
    assert_eq!(a.ask(gives_up_first).await, "true");
    // Long enough however long the steps take: it is let in because the keeper gives up.
    a.run("alter function pgmutex.capture set lock_timeout = '10min'")
        .await;
    lose(&a, 3).await;
    a.run("begin").await;
    a.capture("m", "a").await;
    let kept = keeper.begin(&keeping(""));
    keeper.is_blocked_or_over(&kept).await;
    let behind = b.begin_capture("n", "b");
    let error = kept.result().await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03");
    assert_eq!(behind.text().await, "captured");
    a.run("commit").await;
    assert_eq!(keep(&keeper, "").await, "1 0 0");
}

/// Whoever switches it on or off takes what a capture takes, in the same order.
#[tokio::test]
async fn switching_waits_for_open_captures() {
    let (database, a) = audited().await;
    let (b, c) = (database.session().await, database.session().await);
    for how in ["disable", "enable"] {
        a.run("begin").await;
        a.capture("m", "a").await;
        let first = b.begin(&format!("select pgmutex.{how}_audit()::text"));
        b.is_blocked().await;
        let second = c.begin(&format!("select pgmutex.{how}_audit()::text"));
        c.is_blocked().await;
        a.run("commit").await;
        let mut answers = [first.text().await, second.text().await];
        answers.sort();
        assert_eq!(answers, ["false", "true"]);
        a.release("m", "a").await;
        assert_eq!(on_or_off(&a, how).await, "false");
    }
    // Captured while it was on, released while it was off, and the other way round.
    assert_eq!(trail(&a, "m").await, "captured a, released a");
}

#[tokio::test]
async fn events_are_not_changed_by_accident_not_even_by_the_owner() {
    let (_database, session) = audited().await;
    session.capture("m", "a").await;
    let this_month = month(&session, 0).await;
    for table in ["audit", this_month.as_str()] {
        for change in [
            format!("update pgmutex.{table} set event = 'released'"),
            format!("delete from pgmutex.{table}"),
            format!("truncate pgmutex.{table}"),
        ] {
            let error = session
                .try_ask(&format!("do $$ begin {change}; end $$"))
                .await
                .unwrap_err();
            assert_eq!(error.code().unwrap().code(), "42501", "{change}");
        }
    }
    assert_eq!(trail(&session, "m").await, "captured a");
}

/// Those who capture and those who keep the months, all at once: no capture fails, and no event is lost.
#[tokio::test]
async fn captures_go_on_while_months_are_made_and_moved() {
    let (database, session) = audited().await;
    let mut captures = tokio::task::JoinSet::new();
    for owner in 0..4 {
        let session = database.session().await;
        captures.spawn(async move {
            for number in 0..50 {
                let id = format!("{}", number % 2);
                // Some in a larger transaction, in which two are held at once.
                let larger = number % 5 == 0;
                if larger {
                    session.run("begin").await;
                    let own = format!("own {owner}");
                    assert_eq!(session.capture(&own, &own).await, "captured");
                    session.release(&own, &own).await;
                }
                let outcome = session.capture(&id, &owner.to_string()).await;
                assert!(
                    ["captured", "busy"].contains(&outcome.as_str()),
                    "{outcome}"
                );
                if outcome == "captured" {
                    assert_eq!(session.release(&id, &owner.to_string()).await, "released");
                }
                if larger {
                    session.run("commit").await;
                }
            }
        });
    }
    let mut keepers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let session = database.session().await;
        keepers.spawn(async move {
            let mut moved = 0;
            loop {
                // This month's partition becomes a part of the default one, as if it had never been made.
                let lost = "do $$ declare name text := (select p.name from pgmutex.audit_partitions() p order by 1 limit 1); begin \
                            lock table pgmutex.audit in access exclusive mode; \
                            if name = (select p.name from pgmutex.audit_partitions() p order by 1 limit 1) then \
                                execute format('alter table pgmutex.audit detach partition pgmutex.%I', name); \
                                execute format('insert into pgmutex.audit select * from pgmutex.%I', name); \
                                execute format('drop table pgmutex.%I', name); \
                            end if; end $$";
                session.run(lost).await;
                let kept = keep(&session, "").await;
                moved += kept.split(' ').nth(1).unwrap().parse::<i64>().unwrap();
                if moved > 100 {
                    break;
                }
            }
        });
    }
    while let Some(done) = captures.join_next().await {
        done.unwrap();
    }
    while let Some(done) = keepers.join_next().await {
        done.unwrap();
    }
    let uneven = "select coalesce(string_agg(fencing_token::text, ' '), '') from ( \
                  select fencing_token from pgmutex.audit group by fencing_token having string_agg(event, ' ' order by number) <> 'captured released') u";
    assert_eq!(session.ask(uneven).await, "");
    // Each draws a token, and each token is that of a capture: none is missing.
    let missing = "select (max(fencing_token) - min(fencing_token) + 1 - count(distinct fencing_token))::text from pgmutex.audit";
    assert_eq!(session.ask(missing).await, "0");
}
