//! Whatever is given up, wherever: no ticket, no hold and no transaction stays.
//!
//! All holds here last far longer than the tests wait: what is left behind stops the next one.

use std::{
    cell::Cell,
    future::{Future, IntoFuture},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::poll;
use pgmutex::{Access, Error, GuardParts, Lock, MutexId, Mutexes, TryLocked, Upgrade};
use tokio::{runtime::Builder, sync::Notify};

use super::{Over, are_kept_alive, held, in_line, in_time, must};
use crate::support::{Database, Session, Travel, both_ways, mutex_id, pool_of};

const LONG: Duration = Duration::from_secs(3600);

/// Rings when a future says that it can go on.
#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls a future this many times, each time it says that it can go on, and drops it: at once, or
/// when it says that it could go on. Gives its output if it came so far.
pub(crate) async fn give_up<F: Future>(
    future: F,
    polls: usize,
    when_it_could_go_on: bool,
) -> Option<F::Output> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = pin!(future);
    for number in 0..polls {
        if number > 0 {
            must(bell.0.notified()).await;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
    }
    if polls > 0 && when_it_could_go_on {
        must(bell.0.notified()).await;
    }
    None
}

const LEFT_BEHIND: &str = "
    select ((select count(*) from pgmutex.mutex_model) + (select count(*) from pgmutex.mutex_waiter)
            + (select count(*) from pg_stat_activity
               where datname = current_database() and state like 'idle in transaction%'))::text";

/// Returns when nothing is left behind.
pub(crate) async fn nothing_stays(session: &Session) {
    must(session.ask_until(LEFT_BEHIND, |count| count == "0")).await;
}

/// Gives something up at each of its awaits.
pub(crate) async fn at_every_await<T>(session: &Session, what: impl AsyncFn() -> T) {
    for polls in 0.. {
        for when_it_could_go_on in [false, true] {
            let output = give_up(what(), polls, when_it_could_go_on).await;
            let is_done = output.is_some();
            drop(output);
            nothing_stays(session).await;
            if is_done {
                return;
            }
        }
    }
}

/// A mutex for each attempt. What was given up the moment before may be done by the database only
/// now, and be taken back: who does not wait would be refused.
fn fresh_ids() -> impl Fn() -> MutexId {
    let count = Cell::new(0);
    move || {
        count.set(count.get() + 1);
        mutex_id(&format!("m{}", count.get()))
    }
}

fn lock(mutexes: &Mutexes, id: &MutexId) -> Lock {
    mutexes.lock(id).timeout(LONG)
}

both_ways! {
    of_a_lock
    of_a_lock_that_waits
    of_a_wait_with_an_end
    of_several_locks_that_wait_together
    of_a_try
    of_an_attached_lock
    of_a_release
    of_work_with_a_guard
    of_a_fence
    of_a_change_between_shared_and_exclusive
    of_an_adoption
    behind_an_open_transaction
    outside_of_a_runtime
    after_the_mutexes
}

async fn of_a_lock(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    at_every_await(&session, async || lock(&mutexes, &id).await.unwrap()).await;
}

async fn of_a_lock_that_waits(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    at_every_await(&session, async || {
        let first = lock(&mutexes, &id).await.unwrap();
        let mut second = pin!(lock(&mutexes, &id).into_future());
        assert!(poll!(&mut second).is_pending());
        first.release().await.unwrap();
        second.await.unwrap()
    })
    .await;
}

async fn of_a_wait_with_an_end(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    at_every_await(&session, async || {
        let first = lock(&mutexes, &id).await.unwrap();
        let refused = lock(&mutexes, &id).wait(Duration::from_millis(30)).await;
        assert!(matches!(refused, Err(Error::Timeout { .. })), "{refused:?}");
        first
    })
    .await;
}

async fn of_several_locks_that_wait_together(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session) = (travel.mutexes(&database).await, database.session().await);
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    at_every_await(&session, async || {
        let first = lock(&mutexes, &b).await.unwrap();
        let both = [(&a, Access::Exclusive), (&b, Access::shared())];
        let mut both = pin!(mutexes.lock_all(both).timeout(LONG).into_future());
        assert!(poll!(&mut both).is_pending());
        first.release().await.unwrap();
        both.await.unwrap()
    })
    .await;
}

async fn of_a_try(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session) = (travel.mutexes(&database).await, database.session().await);
    let another = fresh_ids();
    at_every_await(&session, async || {
        let id = another();
        let TryLocked::Locked(first) = mutexes.try_lock(&id).timeout(LONG).await.unwrap() else {
            panic!("it is free");
        };
        let second = mutexes.try_lock(&id).timeout(LONG).await.unwrap();
        assert!(second.guard().is_none());
        first
    })
    .await;
}

async fn of_an_attached_lock(travel: Travel) {
    let database = Database::fresh().await;
    let (session, id) = (database.session().await, mutex_id("m"));
    let shared = travel.mutexes(&database).await;
    at_every_await(&session, async || {
        shared.lock(&id).attached().await.unwrap()
    })
    .await;
    // And each time with a session that is opened for it.
    at_every_await(&session, async || {
        let mutexes = travel.mutexes(&database).await;
        let guard = mutexes.lock(&id).attached().await.unwrap();
        guard.release().await.unwrap()
    })
    .await;
}

async fn of_a_release(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    at_every_await(&session, async || {
        let guard = lock(&mutexes, &id).await.unwrap();
        assert!(guard.release().await.unwrap().is_released());
    })
    .await;
}

async fn of_work_with_a_guard(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    at_every_await(&session, async || {
        let work = async |_: &_| tokio::task::yield_now().await;
        lock(&mutexes, &id).with(work).await.unwrap();
        let guard = lock(&mutexes, &id).await.unwrap();
        guard
            .run_until_lost(tokio::task::yield_now())
            .await
            .unwrap();
        mutexes
            .leader(&id)
            .timeout(LONG)
            .run(async |_| tokio::task::yield_now().await)
            .await
            .unwrap();
    })
    .await;
}

async fn of_a_fence(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    let pool = pgmutex::pool_for_url(database.url()).unwrap();
    at_every_await(&session, async || {
        let mut client = pool.get().await.unwrap();
        let guard = lock(&mutexes, &id).await.unwrap();
        let transaction = client.transaction().await.unwrap();
        guard.fence(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
        guard
    })
    .await;
}

async fn of_a_change_between_shared_and_exclusive(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session) = (travel.mutexes(&database).await, database.session().await);
    let another = fresh_ids();
    at_every_await(&session, async || {
        let reader = mutexes.read(another()).timeout(LONG).await.unwrap();
        let Upgrade::Upgraded(writer) = reader.try_upgrade().await.unwrap() else {
            panic!("it is alone");
        };
        writer.downgrade().await.unwrap()
    })
    .await;
}

/// A hold that nobody keeps is not the adoption's to release: it can be adopted again.
async fn of_an_adoption(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    for attached in [false, true] {
        for polls in 0.. {
            let lock = mutexes.lock(&id);
            let lock = if attached {
                lock.attached()
            } else {
                lock.timeout(LONG)
            };
            let parts: GuardParts = must(lock.into_future()).await.unwrap().into_parts();
            let adopted = give_up(mutexes.adopt(parts.clone()), polls, false).await;
            let is_done = adopted.is_some();
            match adopted {
                Some(guard) => drop(guard.unwrap()),
                None => {
                    let guard = must(mutexes.adopt(parts)).await.unwrap();
                    assert!(must(guard.release()).await.unwrap().is_released());
                }
            }
            nothing_stays(&session).await;
            if is_done {
                break;
            }
        }
    }
}

/// Begins what cannot go on because a transaction decides about the mutex, and drops it then.
async fn behind_a_transaction<F: Future + ?Sized>(
    database: &Database,
    future: Pin<&mut F>,
    holds_meanwhile: usize,
) -> Session {
    let blocker = database.session().await;
    blocker.run("begin").await;
    blocker
        .ask("select pg_advisory_xact_lock(pgmutex.mutex_key('tests', 'step', 'm'))::text")
        .await;
    assert!(poll!(future).is_pending());
    let observer = database.session().await;
    held(&observer, holds_meanwhile).await;
    let blocked = "select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    must(observer.ask_until(blocked, |count| count == "1")).await;
    blocker
}

async fn behind_an_open_transaction(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    {
        let mut locking = lock(&mutexes, &id).into_future();
        let blocker = behind_a_transaction(&database, locking.as_mut(), 0).await;
        drop(locking);
        blocker.run("commit").await;
    }
    // It captures now, and gives back. Whoever comes then waits for that at most.
    let guard = must(lock(&mutexes, &id).into_future()).await.unwrap();
    held(&session, 1).await;
    {
        let mut releasing = Box::pin(guard.release());
        let blocker = behind_a_transaction(&database, releasing.as_mut(), 1).await;
        drop(releasing);
        blocker.run("commit").await;
    }
    nothing_stays(&session).await;

    let reader = must(mutexes.read(&id).timeout(LONG).into_future())
        .await
        .unwrap();
    {
        let mut upgrading = Box::pin(reader.try_upgrade());
        let blocker = behind_a_transaction(&database, upgrading.as_mut(), 1).await;
        drop(upgrading);
        blocker.run("commit").await;
    }
    nothing_stays(&session).await;
    drop(must(lock(&mutexes, &id).into_future()).await.unwrap());
    nothing_stays(&session).await;
}

async fn outside_of_a_runtime(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    let guard = lock(&mutexes, &id).await.unwrap();
    let mut waiting = lock(&mutexes, &id).into_future();
    assert!(poll!(&mut waiting).is_pending());
    in_line(&session, 1).await;
    std::thread::spawn(move || drop(waiting)).join().unwrap();
    in_line(&session, 0).await;
    std::thread::spawn(move || drop(guard)).join().unwrap();
    nothing_stays(&session).await;
}

async fn after_the_mutexes(travel: Travel) {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        travel.mutexes(&database).await,
        database.session().await,
        mutex_id("m"),
    );
    let guard = mutexes.lock(&id).attached().await.unwrap();
    drop(mutexes);
    assert!(!guard.is_lost());
    assert!(must(guard.release()).await.unwrap().is_released());

    let mutexes = travel.mutexes(&database).await;
    let guard = lock(&mutexes, &id).await.unwrap();
    drop(mutexes);
    drop(guard);
    nothing_stays(&session).await;
}

/// Runs work on a runtime that is gone afterwards.
fn on_another_runtime<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    };
    std::thread::spawn(run).join().unwrap()
}

#[tokio::test]
async fn after_the_runtime() {
    let database = Database::fresh().await;
    let (session, id) = (database.session().await, mutex_id("m"));
    let url = database.url().to_owned();
    let (mutexes, guard) = on_another_runtime(async move {
        let mutexes = Mutexes::connect(&url).await.unwrap();
        let guard = lock(&mutexes, &mutex_id("m")).await.unwrap();
        (mutexes, guard)
    });
    drop(guard);
    nothing_stays(&session).await;
    drop(must(lock(&mutexes, &id).into_future()).await.unwrap());
    nothing_stays(&session).await;
}

#[tokio::test]
async fn without_a_thread_of_its_own() {
    let database = Database::fresh().await;
    let (session, id) = (database.session().await, mutex_id("m"));
    let url = database.url().to_owned();
    let mutexes = on_another_runtime(async move {
        let mutexes = Mutexes::builder()
            .background_thread(false)
            .connect(&url)
            .await
            .unwrap();
        let id = mutex_id("m");
        drop(lock(&mutexes, &id).await.unwrap());
        let guard = must(lock(&mutexes, &id).into_future()).await.unwrap();
        let mut waiting = pin!(lock(&mutexes, &id).into_future());
        assert!(poll!(&mut waiting).is_pending());
        guard.release().await.unwrap();
        must(waiting).await.unwrap().release().await.unwrap();
        mutexes
    });
    nothing_stays(&session).await;
    // The runtime that all this ran on is gone; it goes on on this one.
    at_every_await(&session, async || {
        let first = lock(&mutexes, &id).await.unwrap();
        let mut second = pin!(lock(&mutexes, &id).into_future());
        assert!(poll!(&mut second).is_pending());
        first.release().await.unwrap();
        second.await.unwrap()
    })
    .await;
    in_time(async || -> Result<(), Over> {
        let short = mutexes.lock(&id).timeout(Duration::from_secs(1));
        let guard = short.await.unwrap();
        let kept = are_kept_alive(&session).await;
        drop(guard);
        nothing_stays(&session).await;
        kept
    })
    .await;
}

/// A connection that the library's thread has opened into a pool of the application's can be used
/// after the library is gone.
#[tokio::test]
async fn the_pool_of_the_application_stays_as_it_is() {
    let database = Database::fresh().await;
    let (session, id) = (database.session().await, mutex_id("m"));
    let pool = pool_of(database.url(), 1);
    let mutexes = Mutexes::new(pool.clone());
    lock(&mutexes, &id).await.unwrap().release().await.unwrap();
    let client = pool.get().await.unwrap();
    drop(mutexes);
    nothing_stays(&session).await;
    for _ in 0..200 {
        client
            .query_one("select pg_sleep(0.001)", &[])
            .await
            .unwrap();
    }
}
