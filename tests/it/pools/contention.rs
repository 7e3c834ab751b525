//! Many workers ask for few sessions; what they record is checked. And it shows what is wrong in
//! databases that are broken on purpose.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet, time::timeout};
use tokio_postgres::Client;

use super::uses::{Asked, Use, Violation, violations};
use crate::{histories::breakages::Breakage, support::Database};

/// How long one use of a session may take before it is considered hung. Not a measure of anything.
const HUNG: Duration = Duration::from_secs(90);

async fn now(client: &Client) -> i64 {
    let now = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    client.query_one(now, &[]).await.unwrap().get(0)
}

const MICROSECONDS: &str = "(extract(epoch from (c.session).last_use) * 1000000)::bigint, \
                            (extract(epoch from (c.session).next_use) * 1000000)::bigint";

/// One who asks for sessions.
struct Worker {
    client: Client,
    number: usize,
    owners: usize,
}

/// A session that somebody has, with the owner of its lease if it has one.
struct Had {
    call: Asked,
    owner: Option<String>,
}

impl Worker {
    async fn new(database: &Database, number: usize) -> Self {
        Self {
            client: database.client().await,
            number,
            owners: 0,
        }
    }

    /// Asks for a session, which is not to be used again for some seconds.
    async fn asks(&mut self, with_lease: bool, delay: f64) -> Had {
        let session = if with_lease {
            "(select (pgmutex.pool_checkout('p', $1, next_use_delay => make_interval(secs => $2))).session)"
        } else {
            "(select pgmutex.pool_get_session('p', next_use_delay => make_interval(secs => $2)) as session \
              where $1::text is not null)"
        };
        self.owners += 1;
        let owner = format!("{} {}", self.number, self.owners);
        let from = now(&self.client).await;
        let ask = format!("select (c.session).id, {MICROSECONDS} from {session} c");
        let ask = self.client.prepare(&ask).await.unwrap();
        let row = self
            .client
            .query_one(&ask, &[&owner, &delay])
            .await
            .unwrap();
        let until = now(&self.client).await;
        let session: Option<i64> = row.get(0);
        let given = session.map(|session| Use {
            session,
            taken_at: row.get(1),
            next_use: row.get(2),
            given_back: None,
        });
        let call = Asked {
            worker: self.number,
            from,
            until,
            given,
        };
        Had {
            call,
            owner: with_lease.then_some(owner),
        }
    }

    async fn gives_back(&self, mut had: Had) -> Asked {
        if let (Some(owner), Some(given)) = (had.owner, &mut had.call.given) {
            let from = now(&self.client).await;
            let release = "select outcome from pgmutex.release('pgmutex.pool', 'p', $1, $2)";
            let id = given.session.to_string();
            let released = self.client.query_one(release, &[&id, &owner]).await;
            assert_eq!(released.unwrap().get::<_, String>(0), "released");
            given.given_back = Some((from, now(&self.client).await));
        }
        had.call
    }

    /// Uses sessions, in turn with a lease and without one.
    async fn works(mut self, rounds: usize, begin: Arc<Barrier>) -> Vec<Asked> {
        begin.wait().await;
        let mut calls = Vec::new();
        for round in 0..rounds {
            let with_lease = !(self.number + round).is_multiple_of(3);
            let delay = [0.0, 0.004, 0.02][(self.number * 7 + round) % 3];
            let uses = async {
                let had = self.asks(with_lease, delay).await;
                tokio::task::yield_now().await;
                self.gives_back(had).await
            };
            calls.push(timeout(HUNG, uses).await.expect("the worker hangs"));
        }
        calls
    }
}

async fn add(database: &Database, sessions: i64) -> Vec<i64> {
    let add = "insert into pgmutex.pool_session (collection) select 'p' from generate_series(1, $1::bigint) returning id";
    let added = database.client().await.query(add, &[&sessions]).await;
    added.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn contention(
    database: &Database,
    workers: usize,
    rounds: usize,
    sessions: i64,
) -> (Vec<Asked>, Vec<Violation>) {
    let ids = add(database, sessions).await;
    let begin = Arc::new(Barrier::new(workers));
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let worker = Worker::new(database, worker).await;
        tasks.spawn(worker.works(rounds, Arc::clone(&begin)));
    }
    let calls = tasks.join_all().await.concat();
    let found = violations(&ids, &calls);
    (calls, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_workers_share_five_hundred_sessions() {
    let database = Database::fresh().await;
    let (calls, found) = contention(&database, 64, 20, 500).await;
    assert_eq!(found, []);
    let given = calls.iter().filter(|call| call.given.is_some()).count();
    assert_eq!(given, 64 * 20);
    let counted = "select sum(use_count)::text from pgmutex.pool";
    assert_eq!(database.session().await.ask(counted).await, "1280");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_share_too_few_sessions() {
    let database = Database::fresh().await;
    let (calls, found) = contention(&database, 12, 25, 5).await;
    assert_eq!(found, []);
    let given = calls.iter().filter(|call| call.given.is_some()).count();
    assert!(given > 50 && given < calls.len(), "{given}");
}

/// Two workers ask in turn, the first one gives its session back last, and a third one asks.
async fn steps(breakages: &[Breakage], sessions: i64) -> Vec<Violation> {
    let database = Database::fresh().await;
    for breakage in breakages {
        breakage.happens_to(&database.client().await).await;
    }
    let ids = add(&database, sessions).await;
    let (mut a, mut b) = (
        Worker::new(&database, 0).await,
        Worker::new(&database, 1).await,
    );
    let first = a.asks(true, 0.0).await;
    let second = b.asks(false, 3600.0).await;
    let third = b.asks(false, 3600.0).await;
    let mut calls = vec![second.call, third.call, a.gives_back(first).await];
    calls.push(a.asks(false, 3600.0).await.call);
    violations(&ids, &calls)
}

/// The same steps keep every promise in a database that is right, and show this in the broken one.
async fn is_noticed(breakages: &[Breakage], sessions: i64, shown: fn(&Violation) -> bool) {
    assert_eq!(steps(&[], sessions).await, []);
    let found = steps(breakages, sessions).await;
    assert!(found.iter().any(shown), "{found:?}");
}

#[tokio::test]
async fn a_session_that_is_used_too_early_is_noticed() {
    let forgets_the_time = Breakage {
        function: "lock_next_session",
        right: "p.next_use <= clock_timestamp() and",
        wrong: "",
    };
    let takes_all_for_ready = Breakage {
        function: "pool_session_is_written",
        right: "new.next_use <= clock_timestamp() and",
        wrong: "",
    };
    is_noticed(&[forgets_the_time, takes_all_for_ready], 2, |violation| {
        matches!(violation, Violation::TooEarly { .. })
    })
    .await;
}

#[tokio::test]
async fn another_order_is_noticed() {
    let reads = Breakage {
        function: "lock_next_session",
        right: "order by p.last_use nulls first, p.id",
        wrong: "order by p.last_use desc nulls last, p.id desc",
    };
    let tries = Breakage {
        function: "lock_next_session",
        right: "order by c.last_use nulls first, c.id",
        wrong: "order by c.last_use desc nulls last, c.id desc",
    };
    is_noticed(&[reads, tries], 4, |violation| {
        matches!(violation, Violation::PassedOver { .. })
    })
    .await;
}

#[tokio::test]
async fn a_session_with_two_workers_is_noticed() {
    let forgets_the_lease = Breakage {
        function: "pool_session_is_written",
        right: "and new.fencing_token is null;",
        wrong: "; new.fencing_token := null;",
    };
    let forgets_the_hold = Breakage {
        function: "take_session",
        right: "exit when not found;",
        wrong: "exit;",
    };
    is_noticed(&[forgets_the_lease, forgets_the_hold], 1, |violation| {
        matches!(violation, Violation::WithTwo { .. })
    })
    .await;
}

#[tokio::test]
async fn none_though_there_is_one_is_noticed() {
    let looks_for_nothing = Breakage {
        function: "take_session",
        right: "exit when not found;",
        wrong: "taken := null; exit when not found;",
    };
    is_noticed(&[looks_for_nothing], 4, |violation| {
        matches!(violation, Violation::NoneThoughThereWas { .. })
    })
    .await;
}
