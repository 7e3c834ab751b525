//! Workers that are killed or stopped, a server that is killed, and answers that are lost.

use std::{env, future::IntoFuture, time::Duration};

use pgmutex::{Error, Mutexes, SessionPool, private_server::PrivatePostgres};
use serde_json::json;

use super::steps::{add, checkout, get};
use crate::{
    guards::{Process, held, in_line, must},
    support::{Cut, Database, Proxy, Session, run_in_private_server, session_at},
};

const DATABASE: &str = "PGMUTEX_TEST_WORKER_DATABASE";
const ATTACHED: &str = "PGMUTEX_TEST_WORKER_ATTACHED";
const TIMEOUT: &str = "PGMUTEX_TEST_WORKER_TIMEOUT";

fn pool(mutexes: &Mutexes) -> SessionPool {
    SessionPool::new(mutexes, "p").with_next_use_delay(Duration::ZERO)
}

/// Has a session until that is lost, and says what its word counts for then.
#[tokio::test]
async fn worker() {
    let Ok(url) = env::var(DATABASE) else { return };
    let mutexes = Mutexes::connect(&url).await.unwrap();
    let pool = pool(&mutexes);
    let checkout = pool.checkout();
    let timeout: u64 = env::var(TIMEOUT).map_or(2, |seconds| seconds.parse().unwrap());
    let session = match env::var(ATTACHED) {
        Ok(_) => checkout.attached().await.unwrap(),
        Err(_) => {
            let timeout = Duration::from_secs(timeout);
            checkout.timeout(timeout).await.unwrap()
        }
    };
    session.lost().await;
    let refused = session.success(1).await.unwrap_err();
    let words = format!(
        "lost, success refused: {}",
        matches!(refused, Error::UnknownSession { .. })
    );
    pool.add(&json!({"said": words})).await.unwrap();
}

async fn taken_by_a_process(
    database: &Database,
    environment: &[(&str, &str)],
) -> (Process, Session) {
    let s = database.session().await;
    add(&s, 1).await;
    let mut all = vec![(DATABASE, database.url())];
    all.extend(environment);
    let process = Process::run("pools::killed::worker", &all);
    held(&s, 1).await;
    (process, s)
}

#[tokio::test]
async fn what_an_attached_worker_had_is_there_at_once_when_it_is_killed() {
    let database = Database::fresh().await;
    let (mut worker, s) = taken_by_a_process(&database, &[(ATTACHED, "")]).await;
    assert_eq!(checkout(&s, "b", "").await, "none");
    worker.kill();
    let gone = "select count(*)::text from pg_locks l join pgmutex.mutex_model h on l.locktype = 'advisory'
        and ((l.classid::bigint << 32) + l.objid::bigint)::text = split_part(h.auto_release_config, ' ', 1)";
    s.ask_until(gone, |count| count == "0").await;
    // No time has to pass, and nobody has to look.
    assert_eq!(checkout(&s, "b", "").await, "captured 1");
}

const AN_HOUR_PASSES: &str =
    "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour';
    update pgmutex.pool_session set look_at_lease = look_at_lease - interval '1 hour'";

#[tokio::test]
async fn who_waits_for_what_a_killed_worker_had_gets_it() {
    for (kind, value) in [(ATTACHED, ""), (TIMEOUT, "300")] {
        let database = Database::fresh().await;
        let (mut worker, s) = taken_by_a_process(&database, &[(kind, value)]).await;
        let mutexes = database.mutexes().await;
        let pool = pool(&mutexes);
        let waiting = tokio::spawn(async move { pool.checkout().wait_forever().await });
        in_line(&s, 1).await;
        worker.kill();
        if kind == TIMEOUT {
            s.run(AN_HOUR_PASSES).await;
        }
        let session = must(waiting).await.unwrap().unwrap();
        must(session.give_back()).await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_that_is_stopped_makes_way_and_knows_it() {
    let database = Database::fresh().await;
    let (worker, s) = taken_by_a_process(&database, &[]).await;
    worker.signal("STOP");
    let mutexes = database.mutexes().await;
    let session = must(pool(&mutexes).checkout().wait_forever().into_future())
        .await
        .unwrap();
    worker.signal("CONT");
    let said = "select coalesce(max(payload ->> 'said'), '') from pgmutex.pool";
    let said = must(s.ask_until(said, |words| !words.is_empty())).await;
    assert_eq!(said, "lost, success refused: true");
    session.success(1).await.unwrap();
    must(session.give_back()).await.unwrap();
}

#[tokio::test]
async fn leases_and_locks_survive_a_crash_of_the_server() {
    let unsafe_settings = PrivatePostgres::builder()
        .setting("synchronous_commit", "off")
        .setting("wal_writer_delay", "10s")
        .setting("wal_writer_flush_after", "0");
    let (mut server, mutexes) = run_in_private_server(unsafe_settings).await;
    drop(mutexes);
    let url = server.url("postgres");
    let s = session_at(&url).await;
    add(&s, 6).await;
    for (owner, n) in [("a", "1"), ("b", "2")] {
        assert_eq!(checkout(&s, owner, "").await, format!("captured {n}"));
    }
    assert_eq!(get(&s, ", next_use_delay => '1 day'").await, "captured 3");
    let rows = "select string_agg(concat_ws(' ', id, state, owner_session, fencing_token, use_count, next_use), E'\\n' order by id) from pgmutex.pool";
    let before = s.ask(rows).await;
    server = tokio::task::spawn_blocking(move || {
        server.crash().unwrap();
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    let s = session_at(&server.url("postgres")).await;
    assert_eq!(s.ask(rows).await, before);
    for n in ["4", "5", "6"] {
        assert_eq!(checkout(&s, n, "").await, format!("captured {n}"));
    }
    assert_eq!(checkout(&s, "c", "").await, "none");
    // Whoever asks again has what it had.
    assert_eq!(checkout(&s, "a", "").await, "refreshed 1");
}

async fn through_a_proxy(database: &Database) -> (Mutexes, Proxy) {
    let proxy = Proxy::in_front_of(database.url()).await;
    let mutexes = Mutexes::builder()
        .settle_timeout(Duration::from_secs(60))
        .connect(proxy.url())
        .await
        .unwrap();
    pool(&mutexes).count_active().await.unwrap();
    (mutexes, proxy)
}

const USES: &str = "select string_agg(concat_ws(' ', use_count, success_count), ', ' order by id) from pgmutex.pool";

#[tokio::test]
async fn a_session_whose_answer_is_lost_is_given_again_and_counts_once() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = through_a_proxy(&database).await;
    let (pool, s) = (pool(&mutexes), database.session().await);
    add(&s, 3).await;
    proxy.set(Cut::AnswerOfNextRequest);
    let first = must(pool.get_session().into_future()).await.unwrap();
    proxy.has_cut().await;
    assert_eq!(first.payload, json!({"n": 1}));
    assert_eq!(s.ask(USES).await, "1 0, 0 0, 0 0");
    for _ in 0..2 {
        let again = must(pool.get_session().request_id("r").into_future())
            .await
            .unwrap();
        assert_eq!(again.payload, json!({"n": 2}));
    }
    assert_eq!(s.ask(USES).await, "1 0, 1 0, 0 0");
    proxy.set(Cut::AnswerOfNextRequest);
    let leased = must(pool.checkout().into_future()).await.unwrap();
    proxy.has_cut().await;
    assert_eq!(leased.payload(), &json!({"n": 3}));
    assert_eq!(s.ask(USES).await, "1 0, 1 0, 1 0");
    held(&s, 1).await;
    must(leased.give_back()).await.unwrap();
    held(&s, 0).await;
}

/// Two of one request at the same time, as when the first one's connection has broken.
#[tokio::test]
async fn two_of_the_same_request_get_the_same_session() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    add(&a, 4).await;
    for (call, second) in [
        (
            "select concat_ws(' ', outcome, payload ->> 'n') from pgmutex.pool_get_session('p', request_id => 'r')",
            "captured 1",
        ),
        (&super::steps::checkout_call("r2", ""), "refreshed 2"),
    ] {
        a.run("begin").await;
        let first = a.ask(call).await;
        let pending = b.begin(call);
        b.is_blocked().await;
        a.run("commit").await;
        assert_eq!(pending.text().await, second);
        assert!(first.starts_with("captured"), "{first}");
    }
    assert_eq!(a.ask(USES).await, "1 0, 1 0, 0 0, 0 0");
}

#[tokio::test]
async fn what_would_count_twice_is_said_to_be_unknown() {
    let database = Database::fresh().await;
    let (mutexes, proxy) = through_a_proxy(&database).await;
    let (pool, s) = (pool(&mutexes), database.session().await);
    add(&s, 1).await;
    let session = must(pool.checkout().into_future()).await.unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    let error = must(session.success(1)).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    assert_eq!(s.ask(USES).await, "1 1");
    let id = session.session().id;
    must(session.give_back()).await.unwrap();
    pool.count_active().await.unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    let error = must(pool.session_success(id, 1, None)).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    pool.count_active().await.unwrap();
    proxy.set(Cut::AnswerOfNextRequest);
    let error = must(pool.add(&json!({}))).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    assert_eq!(s.ask(USES).await, "1 2, 0 0");
}
