//! Holds that live and die with the database session of their process, and what happens to everyone
//! when a session, a process or the server is gone.

use std::{env, future::IntoFuture, pin::pin, time::Duration};

use pgmutex::{Access, Error, Guard, Lock, MutexId, Mutexes, private_server::PrivatePostgres};
use tokio_postgres::NoTls;

use super::{Over, Process, are_kept_alive, held, holds, in_line, in_time, must};
use crate::support::{Cut, Database, Proxy, Session, mutex_id, run_in_private_server, session_at};

const LONG: Duration = Duration::from_secs(3600);

/// In the environment of a holder that was started as a process: the database, and whether it is
/// attached, and its timeout in seconds, if any.
const DATABASE: &str = "PGMUTEX_TEST_HOLDER_DATABASE";
const ATTACHED: &str = "PGMUTEX_TEST_HOLDER_ATTACHED";
const TIMEOUT: &str = "PGMUTEX_TEST_HOLDER_TIMEOUT";

const SAID: &str = "create table said (words text)";

/// Holds until that is lost, tries to write then, and says what became of it.
#[tokio::test]
async fn holder() {
    let Ok(url) = env::var(DATABASE) else { return };
    let mutexes = Mutexes::connect(&url).await.unwrap();
    let mut lock = mutexes.lock(mutex_id("m"));
    if env::var(ATTACHED).is_ok() {
        lock = lock.attached();
    }
    if let Ok(seconds) = env::var(TIMEOUT) {
        lock = lock.timeout(Duration::from_secs(seconds.parse().unwrap()));
    }
    let guard = lock.await.unwrap();
    guard.lost().await;
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    // This process takes its hold for over a little earlier than the database does.
    let token = guard.fencing_token().get();
    let is_held = "select exists (select from pgmutex.held where fencing_token = $1)";
    while client
        .query_one(is_held, &[&token])
        .await
        .unwrap()
        .get::<_, bool>(0)
    {}
    let transaction = client.transaction().await.unwrap();
    let fenced = guard.fence(&transaction).await;
    transaction.rollback().await.unwrap();
    let is_refused = matches!(fenced, Err(Error::Lost { .. }));
    let words = format!(
        "lost: {}, fenced write refused: {is_refused}",
        guard.is_lost()
    );
    let say = "insert into said values ($1)";
    client.execute(say, &[&words]).await.unwrap();
}

/// A process that holds, and the guard's lock that waits for it.
async fn held_by_a_process(
    database: &Database,
    environment: &[(&str, &str)],
) -> (Process, Session) {
    let session = database.session().await;
    session.run(SAID).await;
    let mut all = vec![(DATABASE, database.url())];
    all.extend(environment);
    let holder = Process::run("guards::attached::holder", &all);
    held(&session, 1).await;
    (holder, session)
}

fn wait_for(lock: Lock) -> tokio::task::JoinHandle<Result<Guard, Error>> {
    tokio::spawn(lock.into_future())
}

#[tokio::test]
async fn what_a_killed_process_held_is_free_at_once() {
    let database = Database::fresh().await;
    let (mut holder, session) = held_by_a_process(&database, &[(ATTACHED, "")]).await;
    let mutexes = database.mutexes().await;
    let id = mutex_id("m");
    assert!(mutexes.try_lock(&id).await.unwrap().guard().is_none());
    let waiting = wait_for(mutexes.lock(&id));
    in_line(&session, 1).await;
    holder.kill();
    // No rule of time would end it within the time that this test waits.
    drop(must(waiting).await.unwrap().unwrap());
}

async fn a_stopped_process_makes_way_and_knows_it(environment: &[(&str, &str)]) {
    in_time(async || -> Result<(), Over> {
        let database = Database::fresh().await;
        let (holder, session) = held_by_a_process(&database, environment).await;
        are_kept_alive(&session).await?;
        holder.signal("STOP");
        let mutexes = database.mutexes().await;
        let guard = must(mutexes.lock(mutex_id("m")).timeout(LONG).into_future())
            .await
            .unwrap();
        holder.signal("CONT");
        let said = "select coalesce(string_agg(words, '; '), '') from said";
        let said = must(session.ask_until(said, |words| !words.is_empty())).await;
        assert_eq!(said, "lost: true, fenced write refused: true");
        assert!(!guard.is_lost());
        assert!(guard.release().await.unwrap().is_released());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_stopped_process_makes_way_when_its_time_is_up() {
    a_stopped_process_makes_way_and_knows_it(&[(TIMEOUT, "1")]).await;
}

#[tokio::test]
async fn an_attached_hold_can_have_a_time_too() {
    a_stopped_process_makes_way_and_knows_it(&[(ATTACHED, ""), (TIMEOUT, "1")]).await;
}

/// The session that the one attached hold names.
const ITS_SESSION: &str = "
    from pg_locks l join pgmutex.mutex_model h
    on h.auto_release_rule = 'connection' and l.locktype = 'advisory'
       and ((l.classid::bigint << 32) + l.objid::bigint)::text = split_part(h.auto_release_config, ' ', 1)";

#[tokio::test]
async fn when_its_session_is_gone_only_what_is_attached_is_lost() {
    let database = Database::fresh().await;
    let (ours, theirs) = (database.mutexes().await, database.mutexes().await);
    let (session, id) = (database.session().await, mutex_id("m"));
    let attached = must(ours.lock(mutex_id("attached")).attached().into_future())
        .await
        .unwrap();
    let timed = must(ours.lock(mutex_id("timed")).timeout(LONG).into_future())
        .await
        .unwrap();
    let holder = must(theirs.lock(&id).timeout(LONG).into_future())
        .await
        .unwrap();
    let first = wait_for(ours.lock(&id).timeout(LONG));
    in_line(&session, 1).await;
    let ticket = "select min(ticket)::text from pgmutex.waiting";
    let ticket = session.ask(ticket).await;
    let second = wait_for(theirs.lock(&id).timeout(LONG));
    in_line(&session, 2).await;

    session
        .run(&format!("select pg_terminate_backend(l.pid) {ITS_SESSION}"))
        .await;
    must(attached.lost()).await;
    assert!(attached.is_lost() && !timed.is_lost());
    drop(attached);

    // Also when its process has a session again, which it looks for places with.
    let reconnected = format!(
        "select coalesce(bool_or(l.has_session and l.seen_at > w.seen_at), false)::text from pgmutex.mutex_waiter w
         join pgmutex.mutex_listener l on l.listener = w.listener and w.ticket = {ticket}
         where not pgmutex.session_is_gone(l.listener::text)"
    );
    must(session.ask_until(&reconnected, |yes| yes == "true")).await;
    holder.release().await.unwrap();
    let first = must(first).await.unwrap().unwrap();
    assert!(!second.is_finished());
    let again = must(ours.lock(mutex_id("attached")).attached().into_future())
        .await
        .unwrap();
    assert!(!again.is_lost() && !timed.is_lost());
    first.release().await.unwrap();
    drop(must(second).await.unwrap().unwrap());
}

#[tokio::test]
async fn what_is_attached_is_lost_when_nothing_is_heard_of_the_session() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let builder = Mutexes::builder().direct_url(proxy.url()).unwrap();
    let mutexes = builder.connect(database.url()).await.unwrap();
    let id = mutex_id("m");
    let guard = must(mutexes.lock(&id).attached().into_future())
        .await
        .unwrap();
    proxy.set(Cut::AnswersFromNowOn);
    must(guard.lost()).await;
    // The server still has the session: nobody else has the mutex yet.
    assert!(mutexes.try_lock(&id).await.unwrap().guard().is_none());
    // What is heard now comes too late.
    proxy.set(Cut::Nowhere);
    let again = must(mutexes.lock(mutex_id("other")).attached().into_future())
        .await
        .unwrap();
    assert!(guard.is_lost() && !again.is_lost());
    drop(guard);
    drop(must(mutexes.lock(&id).into_future()).await.unwrap());
}

#[tokio::test]
async fn a_server_that_comes_back_finds_everyone_in_place() {
    let (mut server, ours) = run_in_private_server(PrivatePostgres::builder()).await;
    let theirs = Mutexes::connect(&server.url("postgres")).await.unwrap();
    let session = session_at(&server.url("postgres")).await;
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    let attached = must(ours.lock(&a).attached().into_future()).await.unwrap();
    let timed = must(ours.lock(&b).timeout(LONG).into_future())
        .await
        .unwrap();
    let for_attached = wait_for(theirs.lock(&a).timeout(LONG));
    let for_timed = wait_for(theirs.lock(&b).timeout(LONG));
    let for_timed_too = wait_for(ours.lock(&b).timeout(LONG));
    in_line(&session, 3).await;
    server = tokio::task::spawn_blocking(move || {
        server.crash().unwrap();
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    must(attached.lost()).await;
    let guard = must(for_attached).await.unwrap().unwrap();
    // The crash has emptied the lines: the others have queued again.
    let session = session_at(&server.url("postgres")).await;
    in_line(&session, 2).await;
    assert!(!timed.is_lost());
    assert!(must(timed.release()).await.unwrap().is_released());
    let mut served = (pin!(for_timed), pin!(for_timed_too));
    let one = must(async {
        tokio::select! {
            guard = &mut served.0 => guard,
            guard = &mut served.1 => guard,
        }
    });
    drop(one.await.unwrap().unwrap());
    in_line(&session, 0).await;
    drop(guard);
}

#[tokio::test]
async fn a_direct_url_that_the_server_refuses_is_said_and_waiting_does_without() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let id = mutex_id("m");
    let first = must(mutexes.lock(&id).timeout(LONG).into_future());
    let first = first.await.unwrap();
    let (scheme, rest) = database.url().split_once("://").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    let nobody = format!("{scheme}://no_such_role:wrong@{host}");
    let missing = database.url().replace(database.name(), "no_such_database");
    for (url, named) in [(nobody, "no_such_role"), (missing, "no_such_database")] {
        let builder = Mutexes::builder().direct_url(&url).unwrap();
        let mutexes = builder.connect(database.url()).await.unwrap();
        // At once, and also for one who asks soon after.
        for _ in 0..2 {
            let attached = mutexes.lock(mutex_id("other")).attached();
            let refused = must(attached.into_future()).await.unwrap_err();
            let is_final = matches!(
                refused,
                Error::PermissionDenied { .. } | Error::InvalidUrl { .. }
            );
            assert!(is_final && !refused.is_transient(), "{refused:?}");
            let words = refused.to_string();
            assert!(
                words.contains(named) && words.contains("direct_url"),
                "{words}"
            );
        }
        drop(wait_for(mutexes.lock(&id).timeout(LONG)));
    }
    in_line(&session, 2).await;
    first.release().await.unwrap();
    in_line(&session, 0).await;
    held(&session, 0).await;
}

#[tokio::test]
async fn many_attached_holds_need_no_heartbeats() {
    const GUARDS: usize = 5_000;
    in_time(async || -> Result<(), Over> {
        let database = Database::fresh().await;
        let (mutexes, session) = (database.mutexes().await, database.session().await);
        let mut guards = Vec::new();
        for batch in 0..GUARDS / 1000 {
            let ids: Vec<MutexId> = (0..1000)
                .map(|number| mutex_id(&format!("{batch}-{number}")))
                .collect();
            let all = ids.iter().map(|id| (id, Access::Exclusive));
            guards.extend(
                must(mutexes.lock_all(all).attached().into_future())
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(guards.len(), GUARDS);
        session
            .run(
                "create table beat (what text);
                 create function record_beat() returns trigger language plpgsql as $$
                 begin insert into public.beat values (tg_op); return null; end $$;
                 create trigger record_beat after insert or update or delete on pgmutex.mutex_model
                 for each statement execute function record_beat()",
            )
            .await;
        // The session is asked whether it is there, twice: that is all that happens.
        let pinged = "select coalesce(max(query_start), '-infinity')::text from pg_stat_activity
                      where datname = current_database() and query = 'select pg_backend_pid()' and state = 'idle'";
        let two_pings = async {
            let mut last = session.ask(pinged).await;
            for _ in 0..2 {
                last = must(session.ask_until(pinged, |start| start != last)).await;
            }
        };
        tokio::select! {
            () = two_pings => {}
            () = guards[0].lost() => return Err(Over),
        }
        let beats = session.ask("select count(*)::text from beat").await;
        guards.iter().try_for_each(holds)?;
        assert_eq!(beats, "0");

        session
            .run(
                "drop trigger record_beat on pgmutex.mutex_model;
                 select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and query = 'select pg_backend_pid()'",
            )
            .await;
        for guard in guards {
            must(guard.lost()).await;
            // Not released one by one: they are over.
            let _ = guard.into_parts();
        }
        drop(
            must(mutexes.lock(mutex_id("0-0")).into_future())
                .await
                .unwrap(),
        );
        Ok(())
    })
    .await;
}
