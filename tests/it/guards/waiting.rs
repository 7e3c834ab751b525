//! Standing in line: in order, cheaply, and whatever happens to notifications and processes.

use std::{
    env,
    future::IntoFuture,
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use pgmutex::{Error, Guard, Lock, Mutexes, PreparedStatements};
use tokio::task::{JoinHandle, JoinSet};

use super::{Process, held, in_line, must};
use crate::support::{Cut, Database, Proxy, Session, mutex_id, owner, pool_of};

const LONG: Duration = Duration::from_secs(3600);

/// Those who wait for the mutex, in the order of their tickets.
const LINE: &str =
    "select coalesce(string_agg(owner_session, E'\\n' order by ticket), '') from pgmutex.waiting";

/// The connections to the database, without the two of the session that asks.
const CONNECTIONS: &str = "
    select (count(*) - 2)::text from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend'";

fn wait_for(lock: Lock) -> JoinHandle<Result<Guard, Error>> {
    tokio::spawn(lock.into_future())
}

async fn lock(mutexes: &Mutexes) -> Guard {
    let lock = mutexes.lock(mutex_id("m")).timeout(LONG);
    must(lock.into_future()).await.unwrap()
}

/// Waits, takes note, and makes way for the next.
async fn pass(lock: Lock, served: Arc<StdMutex<Vec<String>>>) {
    let guard = lock.await.unwrap();
    let session = guard.mutex().owner.session_id().to_owned();
    served.lock().unwrap().push(session);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn thousands_wait_on_a_few_connections_and_are_served_in_order_without_a_stampede() {
    const WAITERS: usize = 2_000;
    const POOL: usize = 4;
    let database = Database::fresh().await;
    let (proxy, session) = (
        Proxy::in_front_of(database.url()).await,
        database.session().await,
    );
    let pool = pool_of(proxy.url(), POOL);
    let builder = Mutexes::builder().direct_url(database.url()).unwrap();
    // So that nobody looks for a pooler, on connections of its own.
    let builder = builder.prepared_statements(PreparedStatements::Never);
    let mutexes = builder.pool(pool);
    let first = lock(&mutexes).await;
    let served = Arc::<StdMutex<Vec<String>>>::default();
    let mut waiting = JoinSet::new();
    for _ in 0..WAITERS {
        let lock = mutexes.lock(mutex_id("m")).timeout(LONG);
        waiting.spawn(pass(lock, Arc::clone(&served)));
    }
    in_line(&session, WAITERS).await;
    let connections: usize = session.ask(CONNECTIONS).await.parse().unwrap();
    assert!(connections <= POOL + 2, "{connections}");
    let line = session.ask(LINE).await;

    let before = proxy.requests();
    first.release().await.unwrap();
    must(async {
        while let Some(one) = waiting.join_next().await {
            one.unwrap();
        }
    })
    .await;
    let line: Vec<&str> = line.lines().collect();
    assert_eq!(*served.lock().unwrap(), line);
    // One call to capture, one to release; now and then one that comes too soon.
    let requests = proxy.requests() - before;
    assert!(requests <= 3 * WAITERS, "{requests}");
    held(&session, 0).await;
}

/// In the environment of a process that was started to wait: the database.
const DATABASE: &str = "PGMUTEX_TEST_WAITER_DATABASE";

const SERVED: &str = "create table served (number bigserial, owner_session text)";

/// How many wait in one process.
const CROWD: usize = 15;

async fn serve_one(lock: Lock, database: &tokio_postgres::Client) {
    let guard = lock.await.unwrap();
    let session = guard.mutex().owner.session_id();
    let served = "insert into served (owner_session) values ($1)";
    database.execute(served, &[&session]).await.unwrap();
    guard.release().await.unwrap();
}

/// A process in which some wait, and say when they are served.
#[tokio::test]
async fn crowd() {
    let Ok(url) = env::var(DATABASE) else { return };
    let mutexes = Mutexes::connect(&url).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let client = Arc::new(client);
    let mut waiting = JoinSet::new();
    for _ in 0..CROWD {
        let lock = mutexes.lock(mutex_id("m")).timeout(LONG);
        let client = Arc::clone(&client);
        waiting.spawn(async move { serve_one(lock, &client).await });
    }
    while let Some(one) = waiting.join_next().await {
        one.unwrap();
    }
}

#[tokio::test]
async fn processes_share_one_line() {
    const PROCESSES: usize = 4;
    let database = Database::fresh().await;
    let session = database.session().await;
    session.run(SERVED).await;
    let first = lock(&database.mutexes().await).await;
    let processes: Vec<Process> = (0..PROCESSES)
        .map(|_| Process::run("guards::waiting::crowd", &[(DATABASE, database.url())]))
        .collect();
    in_line(&session, PROCESSES * CROWD).await;
    let line = session.ask(LINE).await;
    first.release().await.unwrap();
    in_line(&session, 0).await;
    held(&session, 0).await;
    let served = "select string_agg(owner_session, E'\\n' order by number) from served";
    assert_eq!(session.ask(served).await, line);
    drop(processes);
}

#[tokio::test]
async fn nothing_depends_on_notifications() {
    let database = Database::fresh().await;
    let (proxy, session) = (
        Proxy::in_front_of(database.url()).await,
        database.session().await,
    );
    proxy.set(Cut::Notifications);
    let builder = Mutexes::builder().direct_url(proxy.url()).unwrap();
    let deaf = builder.connect(database.url()).await.unwrap();
    let first = lock(&deaf).await;
    let served = Arc::<StdMutex<Vec<String>>>::default();
    let mut waiting = JoinSet::new();
    for count in 1..=5 {
        waiting.spawn(pass(
            deaf.lock(mutex_id("m")).timeout(LONG),
            Arc::clone(&served),
        ));
        in_line(&session, count).await;
    }
    let line = session.ask(LINE).await;
    first.release().await.unwrap();
    must(async {
        while let Some(one) = waiting.join_next().await {
            one.unwrap();
        }
    })
    .await;
    must(proxy.has_cut()).await;
    assert_eq!(*served.lock().unwrap(), line.lines().collect::<Vec<_>>());
}

/// The connection that listens, of whoever waits.
const LISTENING: &str = "
    from pg_locks l join pgmutex.mutex_listener p
    on l.locktype = 'advisory' and (l.classid::bigint << 32) + l.objid::bigint = p.listener";

#[tokio::test]
async fn whoever_waits_is_served_though_its_connection_breaks() {
    let database = Database::fresh().await;
    let (holder, mutexes) = (database.mutexes().await, database.mutexes().await);
    let session = database.session().await;
    for _ in 0..3 {
        let first = lock(&holder).await;
        let waiting = wait_for(mutexes.lock(mutex_id("m")).timeout(LONG));
        in_line(&session, 1).await;
        // What is sent to it now is lost.
        let killed = format!("select count(pg_terminate_backend(l.pid))::text {LISTENING}");
        must(session.ask_until(&killed, |count| count != "0")).await;
        first.release().await.unwrap();
        drop(must(waiting).await.unwrap().unwrap());
        held(&session, 0).await;
    }
}

async fn served(session: &Session, count: usize) {
    let count = count.to_string();
    let served = "select count(*)::text from served";
    must(session.ask_until(served, |answer| answer == count)).await;
}

#[tokio::test]
async fn a_stopped_process_is_passed_over_and_queues_again() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.run(SERVED).await;
    let mutexes = database.mutexes().await;
    let first = lock(&mutexes).await;
    let crowd = Process::run("guards::waiting::crowd", &[(DATABASE, database.url())]);
    in_line(&session, CROWD).await;
    crowd.signal("STOP");
    let last = "select max(ticket)::text from pgmutex.waiting";
    let last = session.ask(last).await;
    let behind = wait_for(mutexes.lock(mutex_id("m")).timeout(LONG));
    // As if nothing had been heard of it for a while.
    let is_silent = format!(
        "update pgmutex.mutex_listener set seen_at = seen_at - interval '1 minute'
         where listener in (select listener from pgmutex.mutex_waiter where ticket <= {last})"
    );
    let is_passed_over =
        format!("select (count(*) = 1 and min(ticket) > {last})::text from pgmutex.waiting");
    must(async {
        // More than once: the server may see to something that it asked before it was stopped.
        while session.ask(&is_passed_over).await != "true" {
            session.run(&is_silent).await;
            // Those that are met there and not heard of go.
            assert_eq!(session.capture("m", "passer-by").await, "busy");
        }
    })
    .await;
    first.release().await.unwrap();
    let behind = must(behind).await.unwrap().unwrap();
    crowd.signal("CONT");
    in_line(&session, CROWD).await;
    behind.release().await.unwrap();
    served(&session, CROWD).await;
}

#[tokio::test]
async fn one_who_gives_up_does_not_take_another_wait_of_the_same_owner_with_it() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let first = lock(&mutexes).await;
    let (elsewhere, id) = (mutexes.clone(), mutex_id("m"));
    let patient = tokio::spawn(async move {
        let capture = elsewhere.capture(&id).owner(owner("me"));
        capture.wait(LONG).await
    });
    in_line(&session, 1).await;
    let hasty = mutexes.capture(mutex_id("m")).owner(owner("me"));
    let refused = must(hasty.wait(Duration::ZERO).into_future()).await;
    assert!(matches!(refused, Err(Error::Timeout { .. })));
    // Their common place was given up; the one who still waits has it again.
    in_line(&session, 1).await;
    first.release().await.unwrap();
    let captured = must(patient).await.unwrap().unwrap();
    assert_eq!(captured.owner, owner("me"));
    in_line(&session, 0).await;
}
