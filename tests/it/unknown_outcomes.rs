//! The connection breaks when the server has done what was asked and the answer is on its way (I7),
//! or a call is given up.

use std::{pin::pin, task::Poll, time::Duration};

use pgmutex::{
    CaptureOutcome, Error, ForceReleased, MutexQuery, Mutexes, Released,
    private_server::PrivatePostgres,
};

use crate::support::{Cut, Database, Proxy, mutex_id, owner, run_in_private_server, session_at};

/// Mutexes that reach the server through a proxy, with one connection open. An outcome that is unknown
/// is settled, however long the machine takes.
async fn through_a_proxy(database: &Database) -> (Mutexes, Proxy) {
    settling_for(Duration::from_secs(60), database).await
}

async fn settling_for(settle_timeout: Duration, database: &Database) -> (Mutexes, Proxy) {
    let proxy = Proxy::in_front_of(database.url()).await;
    let mutexes = Mutexes::builder()
        .settle_timeout(settle_timeout)
        .connect(proxy.url())
        .await
        .unwrap();
    mutexes.count(&MutexQuery::all()).await.unwrap();
    (mutexes, proxy)
}

#[tokio::test]
async fn a_capture_whose_answer_is_cut_off_gives_the_hold_that_was_made() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = through_a_proxy(&database).await;
    let direct = database.mutexes().await;
    let id = mutex_id("m");
    proxy.set(Cut::AnswerOfNextRequest);
    let captured = mutexes.capture(&id).owner(owner("a")).await.unwrap();
    proxy.has_cut().await;
    // It had been carried out before the connection broke: the repetition found it.
    assert_eq!(captured.outcome, CaptureOutcome::Refreshed);
    let held = direct.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(held.mutexes, std::slice::from_ref(&captured.mutex));
    // And the same again, by a caller who repeats it.
    let again = mutexes.capture(&id).owner(owner("a")).await.unwrap();
    assert_eq!(again.fencing_token, captured.fencing_token);
    assert_eq!(again.held_since, captured.held_since);
}

#[tokio::test]
async fn a_release_whose_answer_is_cut_off_has_released() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = through_a_proxy(&database).await;
    let id = mutex_id("m");
    mutexes.capture(&id).owner(owner("a")).await.unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    let released = mutexes.release(&id).owner(owner("a")).await.unwrap();
    proxy.has_cut().await;
    assert_eq!(released, Released::NotHeld);
    assert!(mutexes.request(&id).await.unwrap().is_free());
}

#[tokio::test]
async fn a_refresh_whose_answer_is_cut_off_has_refreshed() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = through_a_proxy(&database).await;
    let id = mutex_id("m");
    let captured = mutexes.capture(&id).owner(owner("a")).await.unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    let refreshed = mutexes
        .refresh(&id)
        .owner(owner("a"))
        .token(captured.fencing_token)
        .await
        .unwrap();
    proxy.has_cut().await;
    assert_eq!(refreshed.fencing_token, captured.fencing_token);
    assert!(refreshed.captured_since > captured.captured_since);
}

#[tokio::test]
async fn a_forced_release_is_repeated_only_against_the_hold_that_was_meant() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = through_a_proxy(&database).await;
    let id = mutex_id("m");
    mutexes.capture(&id).owner(owner("a")).await.unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    // Repeated, it might take the mutex from whoever has captured it since.
    let error = mutexes.force_release(&id, "test").await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    assert!(mutexes.request(&id).await.unwrap().is_free());

    let captured = mutexes.capture(&id).owner(owner("a")).await.unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    let forced = mutexes
        .force_release(&id, "test")
        .token(captured.fencing_token)
        .await
        .unwrap();
    assert_eq!(forced, ForceReleased::NotHeld);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_learnt_is_said_to_be_unknown() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let mutexes = Mutexes::builder()
        .settle_timeout(Duration::ZERO)
        .connect(proxy.url())
        .await
        .unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    let id = mutex_id("m");
    let error = mutexes.capture(&id).owner(owner("a")).await.unwrap_err();
    assert!(
        error.is_outcome_unknown() && error.is_transient(),
        "{error:?}"
    );
    // Repeating it tells.
    let captured = mutexes.capture(&id).owner(owner("a")).await.unwrap();
    assert_eq!(captured.outcome, CaptureOutcome::Refreshed);
}

#[tokio::test]
async fn what_was_sent_stays_unknown_when_the_server_is_gone_afterwards() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let mutexes = Mutexes::builder()
        .settle_timeout(Duration::from_millis(200))
        .connect(proxy.url())
        .await
        .unwrap();
    let id = mutex_id("m");
    let session = database.session().await;
    session.run("begin").await;
    session.capture("m", "other").await;
    // The call waits for the open transaction; then everything between it and the server goes.
    let mut call = pin!(async { mutexes.capture(&id).owner(owner("a")).await });
    let waiters = "select count(*)::text from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    loop {
        assert!(futures_poll(&mut call).await.is_none());
        if database.session().await.ask(waiters).await == "1" {
            break;
        }
    }
    proxy.set(Cut::Everything);
    let error = call.await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
}

/// Polls once and lets the runtime do what has become ready.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut polled = false;
    let output = std::future::poll_fn(|context| {
        if polled {
            return Poll::Ready(None);
        }
        match pin!(&mut *future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                polled = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await;
    tokio::task::yield_now().await;
    output
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_and_not_unknown() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = settling_for(Duration::ZERO, &database).await;
    proxy.set(Cut::Everything);
    proxy.has_cut().await;
    let error = mutexes.capture(mutex_id("m")).await.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { .. }) || error.is_outcome_unknown(),
        "{error:?}"
    );
    // By now the pool knows that its connection is gone: nothing can be sent.
    let error = mutexes.capture(mutex_id("m")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_silent_network_ends_a_call_at_its_own_limit() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let pool = pgmutex::pool_for_url(proxy.url()).unwrap();
    // To connect may take longer, on a busy machine.
    let patient = Mutexes::builder()
        .call_timeout(Duration::from_secs(60))
        .settle_timeout(Duration::ZERO)
        .pool(pool.clone());
    patient.count(&MutexQuery::all()).await.unwrap();
    let hurried = Mutexes::builder()
        .call_timeout(Duration::from_secs(1))
        .settle_timeout(Duration::ZERO)
        .pool(pool);
    proxy.set(Cut::AnswersFromNowOn);
    let error = hurried.capture(mutex_id("m")).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    proxy.set(Cut::Nowhere);
    // The connection that went silent was not put back: the next call has one that works.
    patient.count(&MutexQuery::all()).await.unwrap();
}

#[tokio::test]
async fn a_backend_that_is_terminated_in_the_middle_is_made_good() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes.count(&MutexQuery::all()).await.unwrap();
    let session = database.session().await;
    session.run("begin").await;
    session.capture("m", "other").await;
    let id = mutex_id("m");
    let call = tokio::spawn({
        let (mutexes, id) = (mutexes.clone(), id.clone());
        async move { mutexes.capture(&id).owner(owner("a")).await }
    });
    let waiting = "select pid::text from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    let observer = database.session().await;
    let pid = observer.ask_until(waiting, |_| true).await;
    observer
        .ask(&format!("select pg_terminate_backend({pid})::text"))
        .await;
    session.run("rollback").await;
    let captured = call.await.unwrap().unwrap();
    assert_eq!(captured.outcome, CaptureOutcome::Captured);
}

#[tokio::test]
async fn every_verb_is_one_request() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = through_a_proxy(&database).await;
    let id = mutex_id("m");
    let mut before = proxy.requests();
    let mut requests = || {
        let now = proxy.requests();
        std::mem::replace(&mut before, now).abs_diff(now)
    };
    mutexes.capture(&id).owner(owner("a")).await.unwrap();
    assert_eq!(requests(), 1, "capture");
    mutexes.capture(&id).owner(owner("b")).await.unwrap_err();
    assert_eq!(requests(), 1, "capture that is refused");
    mutexes.refresh(&id).owner(owner("a")).await.unwrap();
    assert_eq!(requests(), 1, "refresh");
    mutexes.request(&id).await.unwrap();
    assert_eq!(requests(), 1, "request");
    mutexes.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(requests(), 1, "list");
    mutexes.release(&id).owner(owner("a")).await.unwrap();
    assert_eq!(requests(), 1, "release");
}

#[tokio::test]
async fn a_capture_is_one_transaction() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let before: i64 = session
        .ask("select txid_current()::text")
        .await
        .parse()
        .unwrap();
    assert_eq!(session.capture("m", "a").await, "captured");
    let after: i64 = session
        .ask("select txid_current()::text")
        .await
        .parse()
        .unwrap();
    let of_hold: i64 = session
        .ask("select xmin::text from pgmutex.mutex_model where mutex_id = 'm'")
        .await
        .parse()
        .unwrap();
    assert!(before < of_hold && of_hold < after);
}

#[tokio::test]
async fn a_call_that_is_dropped_anywhere_leaves_no_transaction_and_no_broken_connection() {
    let database = Database::fresh().await;
    let pool = pgmutex::pool_for_url(database.url()).unwrap();
    let mutexes = Mutexes::new(pool.clone());
    let id = mutex_id("m");
    for polls in 0.. {
        let mut call = Box::pin(async { mutexes.capture(&id).owner(owner("a")).await });
        let mut finished = false;
        for _ in 0..polls {
            if futures_poll(&mut call).await.is_some() {
                finished = true;
                break;
            }
        }
        drop(call);
        // Whatever was under way, the next call works, and it sees either no hold or its own.
        let state = mutexes.request_by(&id, &owner("a")).await.unwrap();
        assert!(!matches!(state, pgmutex::MutexState::CapturedByOther(_)));
        if finished {
            break;
        }
        assert!(polls < 10_000, "the call never finishes");
    }
    let session = database.session().await;
    let open = "select count(*)::text from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'";
    assert_eq!(session.ask(open).await, "0");
}

/// Returns when commits that ask for it wait for their standby, which is not there. All go by what the
/// server's checkpointer has read of the settings, and nobody else knows when it has.
pub(crate) async fn commits_wait_for_the_standby(url: &str) {
    let (probe, observer) = (session_at(url).await, session_at(url).await);
    probe.run("create table probe ()").await;
    let process = probe.process_id();
    let commits = tokio::spawn(async move {
        let commit = "set synchronous_commit = on; insert into probe default values";
        while probe.try_run(commit).await.is_ok() {}
    });
    let waiting = format!(
        "select count(*)::text from pg_stat_activity where wait_event = 'SyncRep' and pid = {process}"
    );
    observer.ask_until(&waiting, |count| count == "1").await;
    commits.abort();
    observer
        .ask(&format!("select pg_cancel_backend({process})::text"))
        .await;
    observer.ask_until(&waiting, |count| count == "0").await;
}

#[tokio::test]
async fn a_commit_that_its_standby_was_not_waited_for_is_not_taken_for_a_success() {
    // What does not ask for more is not waited for: making the schema, and this test's own
    // statements.
    let (mut server, mutexes) =
        run_in_private_server(PrivatePostgres::builder().setting("synchronous_commit", "local"))
            .await;
    drop(mutexes);
    let standby = "alter system set synchronous_standby_names = 'nobody'";
    session_at(&server.url("postgres")).await.run(standby).await;
    server.restart().unwrap();
    let mutexes = Mutexes::builder()
        .settle_timeout(Duration::from_secs(60))
        .connect(&server.url("postgres"))
        .await
        .unwrap();
    let session = session_at(&server.url("postgres")).await;
    commits_wait_for_the_standby(&server.url("postgres")).await;
    let waiting = async |than: &str| {
        let query = format!(
            "select pid::text from pg_stat_activity where wait_event = 'SyncRep' and pid <> {than}"
        );
        session.ask_until(&query, |_| true).await
    };
    let call = tokio::spawn(async move {
        let id = mutex_id("m");
        mutexes.capture(&id).owner(owner("a")).await
    });
    let first = waiting("0").await;
    session
        .ask(&format!("select pg_cancel_backend({first})::text"))
        .await;
    // Committed, with a warning; and so it is asked for again, and waits again.
    waiting(&first).await;
    assert!(!call.is_finished());
    session
        .run("alter system reset synchronous_standby_names")
        .await;
    session.run("select pg_reload_conf()").await;
    let captured = call.await.unwrap().unwrap();
    assert_eq!(captured.outcome, CaptureOutcome::Refreshed);
}

/// A capture that waits at its commit is not known to have failed because its repetition meets it.
#[tokio::test]
async fn an_unknown_outcome_is_not_settled_by_what_the_repetition_runs_into() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let mutexes = Mutexes::builder()
        .settle_timeout(Duration::from_secs(7))
        .connect(proxy.url())
        .await
        .unwrap();
    let id = mutex_id("m");
    proxy.set(Cut::AnswerOfNextRequest);
    let call = tokio::spawn({
        let (mutexes, id) = (mutexes.clone(), id.clone());
        async move { mutexes.capture(&id).owner(owner("a")).await }
    });
    proxy.has_cut().await;
    // Now the mutex is captured, and the repetition finds it being decided about for longer than it
    // waits: it must not say that nothing was changed.
    let session = database.session().await;
    session
        .run("begin; select pg_advisory_xact_lock(pgmutex.mutex_key('tests', 'step', 'm'))")
        .await;
    let error = call.await.unwrap().map(drop);
    match error {
        // The repetition came before the lock.
        Ok(()) => {}
        Err(error) => assert!(error.is_outcome_unknown(), "{error:?}"),
    }
}

#[tokio::test]
async fn a_cancelled_migration_leaves_no_connection_that_is_still_waiting() {
    let database = Database::empty().await;
    let mutexes = database.mutexes().await;
    let session = database.session().await;
    session
        .run("begin; select pg_advisory_xact_lock(hashtextextended('pgmutex: migrations of schema pgmutex', 31638917211252088))")
        .await;
    let mut migrating = Box::pin(mutexes.migrate());
    let waiting = "select count(*)::text from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    while session.ask(waiting).await == "0" {
        assert!(futures_poll(&mut migrating).await.is_none());
    }
    drop(migrating);
    // With the turn still taken: the next call has a connection of its own.
    let error = mutexes.capture(mutex_id("m")).await.unwrap_err();
    assert!(matches!(error, Error::NotMigrated { .. }), "{error:?}");
}

#[tokio::test]
async fn no_limit_is_a_limit_too() {
    let database = Database::fresh().await;
    let mutexes = Mutexes::builder()
        .call_timeout(Duration::MAX)
        .settle_timeout(Duration::MAX)
        .connect(database.url())
        .await
        .unwrap();
    mutexes.capture(mutex_id("m")).await.unwrap();
}

#[tokio::test]
async fn what_keeps_a_connection_from_being_made_is_said() {
    let database = Database::fresh().await;
    let missing = database.url().replace(database.name(), "no_such_database");
    let error = Mutexes::connect(&missing).await.unwrap_err();
    assert!(matches!(error, Error::InvalidUrl { .. }), "{error:?}");
    assert!(error.to_string().contains("no_such_database"), "{error}");
    assert!(!error.is_transient());
    let error = Mutexes::connect("postgres://").await.unwrap_err();
    assert!(matches!(error, Error::InvalidUrl { .. }), "{error:?}");
    let error = Mutexes::connect("host=/nonexistent user=nobody")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("No such file"), "{error}");
}
