//! What would hold up the others, or fail, is left alone; the others are answered meanwhile.

use std::time::Duration;

use pgmutex::{
    Access, AutoRelease, CaptureAllRequest, CapturedAll, Error, MutexBackend, MutexId,
    PostgresBackend, PostgresSettings, Released, SchemaName, pool_for_url,
};

use super::{captured, giving_back, refreshing, wish, wish_with};
use crate::support::{Database, mutex_id, owner};

/// Asks for these together, each for `me`, and says who was answered how.
async fn asked(backend: &PostgresBackend, requests: &[CaptureAllRequest]) -> String {
    let answers = backend.capture_together(requests).await.unwrap();
    let words = answers.into_iter().map(|answer| match answer {
        None => "alone",
        Some(Ok(CapturedAll::Captured(_))) => "captured",
        Some(Ok(CapturedAll::Queued(_))) => "queued",
        Some(Err(Error::Busy { .. })) => "busy",
        other => panic!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Refreshes these together for `me`.
async fn refreshed(backend: &PostgresBackend, ids: &[&str]) -> String {
    let requests: Vec<_> = ids.iter().map(|id| refreshing(id, "me")).collect();
    let answers = backend.refresh_together(&requests).await.unwrap();
    let words = answers.into_iter().map(|answer| match answer {
        None => "alone",
        Some(Ok(_)) => "refreshed",
        other => panic!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Gives these back together for `me`.
async fn released(backend: &PostgresBackend, ids: &[&str]) -> String {
    let requests: Vec<_> = ids.iter().map(|id| giving_back(id, "me")).collect();
    let answers = backend.release_together(&requests).await.unwrap();
    let words = answers.into_iter().map(|answer| match answer {
        None => "alone",
        Some(Ok(Released::Released(_))) => "released",
        Some(Ok(Released::NotHeld)) => "not held",
        Some(Err(Error::Busy { .. })) => "busy",
        other => panic!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Nobody need come back to an answer that takes long: a step of this file never waits for another
/// transaction, or it fails when its lock timeout has passed.
#[tokio::test]
async fn a_mutex_that_another_transaction_decides_about() {
    let database = Database::fresh().await;
    let (backend, other) = (database.backend(), database.session().await);
    other.run("begin").await;
    other.capture("1", "other").await;
    let requests = ["1", "2", "1", "3"].map(|id| wish(id, "me"));
    assert_eq!(
        asked(&backend, &requests).await,
        "alone captured alone captured"
    );
    assert_eq!(
        released(&backend, &["1", "2", "3"]).await,
        "alone released released"
    );
    other.run("rollback").await;
    assert_eq!(
        asked(&backend, &requests).await,
        "captured captured captured captured"
    );
}

#[tokio::test]
async fn a_hold_that_another_transaction_refreshes() {
    let database = Database::fresh().await;
    let (backend, other) = (database.backend(), database.session().await);
    let requests = ["1", "2", "3"].map(|id| wish(id, "me"));
    assert_eq!(
        asked(&backend, &requests).await,
        "captured captured captured"
    );
    other.run("begin").await;
    other.outcome("refresh('tests', 'step', '2', 'me')").await;
    let all = ["1", "2", "3"];
    assert_eq!(
        asked(&backend, &requests).await,
        "captured alone captured",
        "captured once more, which is a refresh"
    );
    assert_eq!(refreshed(&backend, &all).await, "refreshed alone refreshed");
    assert_eq!(released(&backend, &all).await, "released alone released");
    // To share what one has alone waits for it, too.
    let share = wish_with(&mutex_id("2"), "me", Access::shared());
    let free = wish("1", "me");
    assert_eq!(asked(&backend, &[share, free]).await, "alone captured");
    other.run("commit").await;
    assert_eq!(
        refreshed(&backend, &["2", "1"]).await,
        "refreshed refreshed"
    );
}

/// Rows that no function of pgmutex writes: an owner with two permits. It is left alone as soon as one
/// of them would have to be waited for.
#[tokio::test]
async fn one_of_two_holds_that_another_transaction_has() {
    let database = Database::fresh().await;
    let (backend, other) = (database.backend(), database.session().await);
    other
        .run(
            "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, permit, permits, auto_release_rule, auto_release_config) \
             select 'tests', 'step', '1', 'me', permit, 3, 'timeout', '60' from generate_series(1, 2) permit",
        )
        .await;
    let share = wish_with(&mutex_id("1"), "me", Access::permit_of(3));
    let free = wish("2", "me");
    for locked in [1, 2] {
        other.run("begin").await;
        other
            .run(&format!(
                "select from pgmutex.mutex_model where permit = {locked} for update"
            ))
            .await;
        let requests = [share.clone(), free.clone()];
        assert_eq!(asked(&backend, &requests).await, "alone captured");
        assert_eq!(refreshed(&backend, &["1", "2"]).await, "alone refreshed");
        other.run("rollback").await;
    }
}

#[tokio::test]
async fn a_hold_behind_its_fence() {
    let database = Database::fresh().await;
    let (backend, writer) = (database.backend(), database.session().await);
    let requests = ["1", "2"].map(|id| wish(id, "me"));
    assert_eq!(asked(&backend, &requests).await, "captured captured");
    writer.run("begin").await;
    writer
        .run("select pgmutex.fence('tests', 'step', '1', fencing_token) from pgmutex.hold where mutex_id = '1'")
        .await;
    assert_eq!(released(&backend, &["1", "2"]).await, "alone released");
    // A refresh is not in the way of a fence.
    assert_eq!(asked(&backend, &requests).await, "captured captured");
    assert_eq!(
        refreshed(&backend, &["1", "2"]).await,
        "refreshed refreshed"
    );
    // It is over, and yet it stays until the writer is done.
    let aged = "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'";
    database.session().await.run(aged).await;
    let requests = ["1", "2"].map(|id| wish(id, "you"));
    assert_eq!(asked(&backend, &requests).await, "busy captured");
    writer.run("rollback").await;
    assert_eq!(asked(&backend, &requests).await, "captured captured");
}

#[tokio::test]
async fn what_would_be_refused() {
    let database = Database::fresh().await;
    let backend = database.backend();
    let mut requests: Vec<CaptureAllRequest> =
        ["1", "2", "3", "4", "5"].map(|id| wish(id, "me")).into();
    requests[0].captures[0].auto_release = Some(AutoRelease::Connection {
        session: 5,
        timeout: None,
    });
    requests[1].captures[0].auto_release = Some(AutoRelease::Deadline(
        "2001-01-01T00:00:00Z".parse().unwrap(),
    ));
    requests[2].captures[0].id = MutexId::new("pgmutex.pool", "step", "3").unwrap();
    requests[3].captures[0].auto_release = Some(AutoRelease::Timeout(Duration::ZERO));
    requests.push(wish_with(&mutex_id("/a/"), "me", Access::Exclusive));
    let mut several = wish("7", "me");
    several.captures.push(wish("8", "me").captures.remove(0));
    requests.push(several);
    assert_eq!(
        asked(&backend, &requests).await,
        "alone alone alone alone captured alone alone"
    );
    for refused in &requests[..4] {
        let error = backend.capture_all(refused).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }
    let releases = [
        giving_back("/a/", "me"),
        giving_back("5", "me"),
        giving_back("4", "me"),
    ];
    let answers = backend.release_together(&releases).await.unwrap();
    assert!(answers[0].is_none());
    assert!(matches!(answers[1], Some(Ok(Released::Released(_)))));
    assert!(matches!(answers[2], Some(Ok(Released::NotHeld))));
}

#[tokio::test]
async fn who_may_close_a_circle_by_waiting() {
    let database = Database::fresh().await;
    let backend = database.backend();
    // By whose number those wait who may.
    backend.attach().await.unwrap();
    captured(Some(backend.capture_all(&wish("1", "a")).await));
    let tokens = captured(Some(backend.capture_all(&wish("2", "b")).await));
    let waiting = |id, session| CaptureAllRequest {
        wait: true,
        ..wish(id, session)
    };
    let ticket = backend.capture_all(&waiting("2", "a")).await.unwrap();
    assert!(matches!(ticket, CapturedAll::Queued(_)));
    let with_a_guard = CaptureAllRequest {
        while_holding: vec![tokens.mutex.fencing_token],
        ..waiting("1", "c")
    };
    let requests = [
        waiting("1", "b"),
        waiting("3", "e"),
        with_a_guard,
        // Behind those who could not be put in line.
        waiting("1", "d"),
        waiting("2", "d"),
    ];
    assert_eq!(
        asked(&backend, &requests).await,
        "alone captured alone alone queued"
    );
    let circle = backend.capture_all(&requests[0]).await.unwrap_err();
    assert!(matches!(circle, Error::WaitCircle { .. }), "{circle:?}");
    let lines = "select string_agg(concat_ws(' ', mutex_id, owner_session), ', ' order by mutex_id, ticket) from pgmutex.mutex_waiter";
    assert_eq!(database.session().await.ask(lines).await, "2 a, 2 d");
}

/// Alone it may be refused, which takes back what it did: together it has done nothing either.
#[tokio::test]
async fn what_is_over_where_one_may_close_a_circle_stays() {
    let database = Database::fresh().await;
    let (backend, s) = (database.backend(), database.session().await);
    let share = |session, rule| {
        let mut wish = wish_with(&mutex_id("1"), session, Access::shared());
        wish.captures[0].auto_release = Some(rule);
        wish
    };
    let minute = AutoRelease::Timeout(Duration::from_secs(60));
    for wish in [
        share("a", AutoRelease::Never),
        share("b", minute.clone()),
        wish("2", "b"),
    ] {
        captured(Some(backend.capture_all(&wish).await));
    }
    s.age("1", "1 hour").await;
    let waiting = |id, session| CaptureAllRequest {
        wait: true,
        ..wish(id, session)
    };
    let ticket = backend.capture_all(&waiting("2", "a")).await.unwrap();
    assert!(matches!(ticket, CapturedAll::Queued(_)));
    // Nobody passes it: whoever comes next would have room beside `a`.
    let requests = [
        waiting("1", "b"),
        share("c", minute.clone()),
        wish("3", "c"),
    ];
    assert_eq!(asked(&backend, &requests).await, "alone alone captured");
    let circle = backend.capture_all(&requests[0]).await.unwrap_err();
    assert!(matches!(circle, Error::WaitCircle { .. }), "{circle:?}");
    let holders = "select string_agg(owner_session, ', ' order by permit) from pgmutex.hold where mutex_id = '1'";
    assert_eq!(s.ask(holders).await, "a, b");
    assert_eq!(asked(&backend, &requests[1..2]).await, "captured");
    assert_eq!(s.ask(holders).await, "a, c");
}

#[tokio::test]
async fn nobody_passes_one_who_is_in_line() {
    let database = Database::fresh().await;
    let (backend, s) = (database.backend(), database.session().await);
    let mut listener = database.listener().await;
    s.capture("1", "me").await;
    let joined = s
        .capture_as(
            "1",
            "first",
            &format!("wait => true, listener => {}", listener.number()),
        )
        .await;
    assert_eq!(joined, "queued");
    let ticket = s.ask("select ticket::text from pgmutex.mutex_waiter").await;
    assert_eq!(
        released(&backend, &["1", "2"]).await,
        "released not held",
        "nobody is in the way of that"
    );
    assert_eq!(listener.told().await, [ticket]);
    let requests = [wish("1", "newcomer"), wish("2", "newcomer")];
    assert_eq!(asked(&backend, &requests).await, "busy captured");
    let requests = [
        wish("1", "newcomer"),
        wish("1", "first"),
        wish("1", "newcomer"),
    ];
    assert_eq!(asked(&backend, &requests).await, "busy captured busy");
    let holder = "select owner_session from pgmutex.hold where mutex_id = '1'";
    assert_eq!(s.ask(holder).await, "first");
}

/// One that is left alone has no place in line yet, and is passed by nobody all the same.
#[tokio::test]
async fn nobody_passes_one_who_is_left_alone() {
    let database = Database::fresh().await;
    let (backend, s) = (database.backend(), database.session().await);
    // By whose number those wait who may.
    backend.attach().await.unwrap();
    let shared = "access => 'shared'";
    assert_eq!(s.capture_as("1", "holder", shared).await, "captured");
    let share = |session| wish_with(&mutex_id("1"), session, Access::shared());
    // Who holds something else may close a circle by waiting.
    s.capture("2", "me").await;
    let waits = CaptureAllRequest {
        wait: true,
        ..wish("1", "me")
    };
    let requests = [
        share("before"),
        waits,
        share("after"),
        // Who has its hold already passes nobody.
        share("holder"),
        share("before"),
    ];
    assert_eq!(
        asked(&backend, &requests).await,
        "captured alone alone captured captured"
    );
}

#[tokio::test]
async fn those_who_share_and_those_who_do_not() {
    let database = Database::fresh().await;
    let backend = database.backend();
    let permit =
        |id: &str, session, permits| wish_with(&mutex_id(id), session, Access::permit_of(permits));
    let requests = [
        wish("1", "a"),
        permit("1", "b", 2),
        permit("2", "a", 2),
        wish("2", "b"),
        permit("2", "c", 2),
        permit("2", "d", 2),
    ];
    // One alone, or two at most.
    assert_eq!(
        asked(&backend, &requests).await,
        "captured busy captured busy captured busy"
    );
    let releases = [
        giving_back("2", "b"),
        giving_back("2", "c"),
        giving_back("2", "a"),
        giving_back("1", "a"),
    ];
    let answers = backend.release_together(&releases).await.unwrap();
    let Some(Err(Error::Busy { holder, .. })) = &answers[0] else {
        panic!("{answers:?}");
    };
    assert_eq!(holder.owner, owner("a"));
    for answer in &answers[1..] {
        assert!(matches!(answer, Some(Ok(Released::Released(_)))));
    }
}

/// Who does not wait for a mutex does not wait either until the process can listen.
#[tokio::test]
async fn one_who_waits_where_no_session_opens() {
    let database = Database::fresh().await;
    database.session().await.capture("1", "other").await;
    // It takes connections, and says nothing.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    let direct = format!("host=127.0.0.1 port={port} user=nobody dbname=nothing");
    let backend = PostgresBackend::with_direct_url(
        pool_for_url(database.url()).unwrap(),
        SchemaName::default(),
        PostgresSettings::default(),
        &direct,
    );
    let backend = backend.unwrap();
    // It holds nothing, or it would be left alone for that.
    let waiting = CaptureAllRequest {
        wait: true,
        ..wish("1", "waiter")
    };
    let requests = [wish("2", "me"), waiting.clone(), wish("3", "me")];
    // Both while the session is being opened, which is given up after a while.
    let (among_others, by_itself) = tokio::join!(
        asked(&backend, &requests),
        asked(&backend, std::slice::from_ref(&waiting)),
    );
    assert_eq!(among_others, "captured alone captured");
    assert_eq!(by_itself, "alone");
    // On its own it does not wait for that for ever.
    let answer = backend.capture_all(&waiting).await;
    assert!(matches!(answer, Ok(CapturedAll::Queued(_))), "{answer:?}");
}

#[tokio::test]
async fn a_hold_that_another_program_renames_while_it_is_written() {
    let database = Database::fresh().await;
    let (backend, s) = (database.backend(), database.session().await);
    s.run(
        "create function lowered() returns trigger language plpgsql as \
         $$ begin new.mutex_id := lower(new.mutex_id); return new; end $$; \
         create trigger lowered before insert on pgmutex.mutex_model for each row execute function lowered()",
    )
    .await;
    // Whose it is cannot be told where one of them was asked for twice: then nothing is decided.
    let requests = ["A", "b", "b"].map(|id| wish(id, "me"));
    let refused = backend.capture_together(&requests).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    let held = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(s.ask(held).await, "0");
    assert_eq!(asked(&backend, &requests[..2]).await, "captured captured");
}
