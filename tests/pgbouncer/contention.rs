//! Many clients on few server connections, all at once.

use std::sync::{
    Arc, Mutex as StdMutex,
    atomic::{AtomicU64, Ordering},
};

use futures_util::future::join_all;
use pgmutex::{
    FencingToken, ForceReleased, MutexId, MutexOwner, MutexQuery, MutexState, Mutexes, Released,
};
use tokio::task::JoinSet;

use crate::support::{Database, POOL_SIZE, USER_AT_REPEATABLE_READ, mutex_id, owner};

/// Each has a pool of its own, as if it were a process.
const PROCESSES: usize = 2 * POOL_SIZE;
const TASKS: usize = 32;
const DOCUMENTS: usize = 4;
const WRITES_OF_A_TASK: usize = 5;

/// What a mutex protects: two who write at once lose a write.
struct Document {
    id: MutexId,
    writes: AtomicU64,
    tokens: StdMutex<Vec<FencingToken>>,
}

impl Document {
    fn numbered(number: usize) -> Self {
        Self {
            id: MutexId::new("tests", "document", number.to_string()).unwrap(),
            writes: AtomicU64::default(),
            tokens: StdMutex::default(),
        }
    }

    /// Writes, with calls between reading and writing. A call that fails in any other way than busy
    /// fails the test.
    async fn write(&self, mutexes: &Mutexes, me: &MutexOwner) {
        let held = loop {
            match mutexes.capture(&self.id).owner(me.clone()).await {
                Ok(captured) => break captured.mutex,
                Err(error) => assert!(error.is_busy(), "{error}"),
            }
        };
        let read = self.writes.load(Ordering::SeqCst);
        self.tokens.lock().unwrap().push(held.fencing_token);

        let refreshed = mutexes.refresh(&self.id).owner(me.clone()).await.unwrap();
        assert_eq!(refreshed.fencing_token, held.fencing_token);
        let state = mutexes.request_by(&self.id, me).await.unwrap();
        assert_eq!(state, MutexState::CapturedByMe(refreshed.clone()));
        let mine = MutexQuery::all()
            .mode("document")
            .session_id(me.session_id());
        assert_eq!(mutexes.list(&mine).await.unwrap().mutexes, [refreshed]);
        assert_eq!(mutexes.count(&mine).await.unwrap(), 1);

        self.writes.store(read + 1, Ordering::SeqCst);
        let released = mutexes.release(&self.id).owner(me.clone()).await.unwrap();
        assert!(
            matches!(released, Released::Released(mutex) if mutex.fencing_token == held.fencing_token)
        );
    }
}

/// Captures a mutex that nobody else wants, and takes it away again.
async fn capture_and_take_away(mutexes: &Mutexes, me: &MutexOwner) {
    let id = MutexId::new("tests", "private", me.session_id()).unwrap();
    let held = mutexes.capture(&id).owner(me.clone()).await.unwrap().mutex;
    let taken = mutexes.force_release(&id, "test").await.unwrap();
    assert_eq!(taken, ForceReleased::Released(Box::new(held)));
    let taken = mutexes.force_release(&id, "test").await.unwrap();
    assert_eq!(taken, ForceReleased::NotHeld);
}

/// All tasks write to all documents; says how many holds they have swept meanwhile.
async fn contend(processes: &[Mutexes]) -> u64 {
    let documents: Arc<Vec<_>> = Arc::new((0..DOCUMENTS).map(Document::numbered).collect());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let mutexes = processes[task % processes.len()].clone();
        let documents = Arc::clone(&documents);
        let me = owner(&format!("task-{task}"));
        tasks.spawn(async move {
            for write in 0..WRITES_OF_A_TASK {
                documents[(task + write) % DOCUMENTS]
                    .write(&mutexes, &me)
                    .await;
                capture_and_take_away(&mutexes, &me).await;
            }
            mutexes.sweep().await.unwrap()
        });
    }
    let swept = tasks.join_all().await.into_iter().sum();

    let writes: u64 = documents
        .iter()
        .map(|document| document.writes.load(Ordering::SeqCst))
        .sum();
    assert_eq!(writes, (TASKS * WRITES_OF_A_TASK) as u64);
    for document in documents.iter() {
        let tokens = document.tokens.lock().unwrap();
        assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    }
    swept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_exclude_each_other_on_few_server_connections() {
    let database = Database::fresh().await;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(database.mutexes().await);
    }
    for spent in 0..TASKS {
        processes[0]
            .capture(mutex_id(&spent.to_string()))
            .owner(owner("gone"))
            .await
            .unwrap();
    }
    let age = "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'";
    database.client().await.batch_execute(age).await.unwrap();

    assert_eq!(contend(&processes).await, TASKS as u64);
    assert_eq!(processes[0].count(&MutexQuery::all()).await.unwrap(), 0);

    let clients = database.pooled_clients().await;
    let servers = database.server_connections().await;
    assert!(
        clients >= PROCESSES && servers <= POOL_SIZE,
        "{clients} clients, {servers} servers"
    );
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

/// Their calls travel together, in as many transactions as if nobody were in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_of_one_process_travel_together() {
    let database = Database::fresh().await;
    let process = [database.mutexes().await];
    assert_eq!(contend(&process).await, 0);

    let me = owner("me");
    let ids: Vec<_> = (0..64).map(|id| mutex_id(&id.to_string())).collect();
    let captures = ids
        .iter()
        .map(|id| process[0].capture(id).owner(me.clone()).into_future());
    for captured in join_all(captures).await {
        captured.unwrap();
    }
    let transactions = "select count(distinct xmin::text) from pgmutex.mutex_model";
    let client = database.client().await;
    let transactions: i64 = client.query_one(transactions, &[]).await.unwrap().get(0);
    assert_eq!(
        transactions, 3,
        "the first two go at once, the others together"
    );
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_transactions_begin_at_repeatable_read_is_served_all_the_same() {
    let database = Database::empty().await;
    let client = database.pooled_client_as(USER_AT_REPEATABLE_READ).await;
    let level =
        "do $$ begin assert current_setting('transaction_isolation') = 'repeatable read'; end $$";
    client.batch_execute(level).await.unwrap();

    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(database.mutexes_at_repeatable_read().await);
    }
    processes[0].migrate().await.unwrap();
    database.waits_patiently().await;

    assert_eq!(contend(&processes).await, 0);
    assert_eq!(processes[0].count(&MutexQuery::all()).await.unwrap(), 0);

    assert_eq!(database.left_behind(USER_AT_REPEATABLE_READ).await, [""; 0]);
}
