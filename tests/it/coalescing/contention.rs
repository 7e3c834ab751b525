//! Tasks of one process that fight over a few mutexes, on one pool.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pgmutex::{Error, FencingToken, MutexId, Mutexes};
use tokio::task::{JoinSet, yield_now};

use crate::{
    guards::in_line,
    support::{Database, Travel, both_ways, mutex_id, owner},
};

const TASKS: usize = 24;
const ROOMS: usize = 3;
const VISITS: usize = 6;

/// How long the holds of guards last if nobody keeps them alive: longer than anything here takes.
const LONG: Duration = Duration::from_secs(3600);

/// What a mutex protects.
struct Room {
    id: MutexId,
    is_taken: AtomicBool,
    tokens: Mutex<Vec<FencingToken>>,
}

impl Room {
    fn numbered(number: usize) -> Self {
        Self {
            id: mutex_id(&number.to_string()),
            is_taken: AtomicBool::new(false),
            tokens: Mutex::default(),
        }
    }

    async fn visit(&self, mutexes: &Mutexes, me: &str) {
        let captured = loop {
            match mutexes.capture(&self.id).owner(owner(me)).await {
                Ok(captured) => break captured,
                Err(Error::Busy { holder, .. }) => assert_ne!(holder.owner, owner(me)),
                Err(error) => panic!("{error}"),
            }
        };
        self.enter(captured.fencing_token);
        yield_now().await;
        let refreshed = mutexes.refresh(&self.id).owner(owner(me)).await.unwrap();
        assert_eq!(refreshed.fencing_token, captured.fencing_token);
        self.leave();
        let released = mutexes.release(&self.id).owner(owner(me)).await.unwrap();
        assert!(released.is_released());
    }

    async fn visit_in_line(&self, mutexes: &Mutexes) {
        let guard = mutexes.lock(&self.id).timeout(LONG).await.unwrap();
        self.enter(guard.fencing_token());
        yield_now().await;
        self.leave();
        assert!(guard.release().await.unwrap().is_released());
    }

    fn enter(&self, token: FencingToken) {
        let was_taken = self.is_taken.swap(true, Ordering::SeqCst);
        assert!(!was_taken, "two are in it");
        self.tokens.lock().unwrap().push(token);
    }

    fn leave(&self) {
        self.is_taken.store(false, Ordering::SeqCst);
    }
}

async fn nobody_gets_in_beside_another(travel: Travel) {
    let database = Database::fresh().await;
    let mutexes = travel.mutexes(&database).await;
    let rooms: Arc<Vec<_>> = Arc::new((0..ROOMS).map(Room::numbered).collect());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (mutexes, rooms) = (mutexes.clone(), Arc::clone(&rooms));
        tasks.spawn(async move {
            let me = format!("task {task}");
            let own = mutex_id(&me);
            for visit in 0..VISITS {
                let room = &rooms[(task + visit) % ROOMS];
                if (task + visit / 2) % 2 == 0 {
                    room.visit(&mutexes, &me).await;
                } else {
                    room.visit_in_line(&mutexes).await;
                }
                let captured = mutexes.capture(&own).owner(owner(&me)).await.unwrap();
                assert_eq!(captured.id, own, "another's answer");
                assert_eq!(captured.owner, owner(&me), "another's answer");
                let released = mutexes.release(&own).owner(owner(&me)).await.unwrap();
                assert!(released.is_released());
            }
        });
    }
    tasks.join_all().await;
    let mut visits = 0;
    for room in rooms.iter() {
        let tokens = room.tokens.lock().unwrap();
        assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
        visits += tokens.len();
    }
    assert_eq!(visits, TASKS * VISITS);
    let left = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(database.session().await.ask(left).await, "0");
}

async fn first_come_first_served(travel: Travel) {
    let database = Database::with_patient_lines().await;
    let mutexes = travel.mutexes(&database).await;
    let (session, id) = (database.session().await, mutex_id("m"));
    let first = mutexes.lock(&id).timeout(LONG).await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (mutexes, id, served) = (mutexes.clone(), id.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let guard = mutexes
                .lock(&id)
                .timeout(LONG)
                .wait(Duration::from_secs(300))
                .await
                .unwrap();
            let session_id = guard.mutex().owner.session_id().to_owned();
            served.lock().unwrap().push(session_id);
            guard.release().await.unwrap();
        });
    }
    in_line(&session, TASKS).await;
    let line = "select string_agg(owner_session, ' ' order by ticket) from pgmutex.mutex_waiter";
    let line = session.ask(line).await;
    first.release().await.unwrap();
    tasks.join_all().await;
    assert_eq!(served.lock().unwrap().join(" "), line);
}

both_ways! {
    (flavor = "multi_thread", worker_threads = 2):
    nobody_gets_in_beside_another
    first_come_first_served
}
