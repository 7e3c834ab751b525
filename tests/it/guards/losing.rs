//! Held, uncertain, lost: what a guard says of its hold, and when.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::{Arc, Mutex as StdMutex},
    thread,
    time::Duration,
};

use futures_util::poll;
use pgmutex::{Error, Guard, GuardState, MutexId, Mutexes, Released, Upgrade};
use tokio::runtime::Builder;

use super::{Over, are_kept_alive, held, holds, in_time, must, over};
use crate::support::{Cut, Database, Proxy, Session, mutex_id, session_at};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_secs(1);

async fn lock(mutexes: &Mutexes, id: &MutexId, timeout: Duration) -> Guard {
    must(async { mutexes.lock(id).timeout(timeout).await })
        .await
        .unwrap()
}

/// Returns when a guard is in this state, or its hold is over.
async fn becomes(guard: &Guard, state: GuardState, session: &Session) -> Result<(), Over> {
    must(async {
        loop {
            let now = guard.state();
            if now == state {
                return Ok(());
            }
            if now == GuardState::Lost {
                return Err(over(guard));
            }
            session.ask("select ''").await;
        }
    })
    .await
}

/// Releases what is still held.
async fn gives_back(guard: Guard) -> Result<(), Over> {
    match guard.release().await.unwrap().is_released() {
        true => Ok(()),
        false => Err(Over),
    }
}

#[tokio::test]
async fn a_hold_that_was_taken_away_is_lost_at_the_next_heartbeat() {
    let database = Database::fresh().await;
    let (mutexes, id) = (database.mutexes().await, mutex_id("m"));
    let guard = lock(&mutexes, &id, SHORT).await;
    let lost = guard.lost();
    mutexes.force_release(&id, "test").await.unwrap();
    must(lost).await;
    assert_eq!(guard.state(), GuardState::Lost);
    must(guard.lost()).await;
    assert!(matches!(guard.release().await.unwrap(), Released::NotHeld));
}

#[tokio::test]
async fn what_is_not_held_need_not_be_released() {
    let database = Database::fresh().await;
    let (mutexes, id) = (database.mutexes().await, mutex_id("m"));
    // Nobody has it; or someone else has.
    let guard = lock(&mutexes, &id, LONG).await;
    mutexes.force_release(&id, "test").await.unwrap();
    assert!(matches!(guard.release().await.unwrap(), Released::NotHeld));
    let guard = lock(&mutexes, &id, LONG).await;
    mutexes.force_release(&id, "test").await.unwrap();
    let other = lock(&mutexes, &id, LONG).await;
    assert!(matches!(guard.release().await.unwrap(), Released::NotHeld));
    assert!(other.release().await.unwrap().is_released());
}

#[tokio::test]
async fn a_guard_that_was_released_is_not_lost() {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        database.mutexes().await,
        database.session().await,
        mutex_id("m"),
    );
    in_time(async || -> Result<(), Over> {
        let guard = lock(&mutexes, &id, SHORT).await;
        let mut lost = pin!(guard.lost());
        guard.release().await.unwrap();
        // Until then it could be lost.
        if poll!(&mut lost).is_ready() {
            return Err(Over);
        }
        let other = lock(&mutexes, &id, SHORT).await;
        are_kept_alive(&session).await?;
        assert!(poll!(&mut lost).is_pending());
        drop(other);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn while_heartbeats_fail_it_is_uncertain_and_held_again_when_they_do_not() {
    let database = Database::fresh().await;
    let session = database.session().await;
    in_time(async || -> Result<(), Over> {
        let proxy = Proxy::in_front_of(database.url()).await;
        let mutexes = Mutexes::connect(proxy.url()).await.unwrap();
        let guard = lock(&mutexes, &mutex_id("m"), Duration::from_secs(9)).await;
        proxy.set(Cut::Everything);
        becomes(&guard, GuardState::Uncertain, &session).await?;
        proxy.set(Cut::Nowhere);
        becomes(&guard, GuardState::Held, &session).await?;
        gives_back(guard).await
    })
    .await;
}

#[tokio::test]
async fn when_its_time_is_up_it_is_lost_and_stays_so() {
    let database = Database::fresh().await;
    let (proxy, session) = (
        Proxy::in_front_of(database.url()).await,
        database.session().await,
    );
    let mutexes = Mutexes::connect(proxy.url()).await.unwrap();
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    for cut in [Cut::Everything, Cut::AnswersFromNowOn] {
        let short = lock(&mutexes, &a, SHORT).await;
        let long = lock(&mutexes, &b, LONG).await;
        proxy.set(cut);
        must(short.lost()).await;
        assert!(short.is_lost() && !long.is_lost());
        proxy.set(Cut::Nowhere);
        // What this says does not change any more, whatever the database has.
        must(long.release()).await.unwrap();
        assert!(short.is_lost());
        drop(short);
        held(&session, 0).await;
    }
}

#[tokio::test]
async fn connections_that_break_lose_nothing() {
    let database = Database::fresh().await;
    let (session, observer) = (database.session().await, database.session().await);
    let all_others = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid not in ({}, {})",
        session.process_id(),
        observer.process_id(),
    );
    in_time(async || -> Result<(), Over> {
        let mutexes = database.mutexes().await;
        let guard = lock(&mutexes, &mutex_id("m"), Duration::from_secs(6)).await;
        observer.run(&all_others).await;
        are_kept_alive(&session).await?;
        // The database knows before the guard does.
        becomes(&guard, GuardState::Held, &session).await?;
        gives_back(guard).await
    })
    .await;
}

/// Says what there was when it was dropped.
struct Witness {
    url: String,
    seen: Arc<StdMutex<Vec<String>>>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let url = self.url.clone();
        let held = elsewhere(async move {
            session_at(&url)
                .await
                .ask("select count(*)::text from pgmutex.mutex_model")
                .await
        });
        self.seen.lock().unwrap().push(held);
    }
}

/// Runs work on a thread and a runtime of its own, and blocks this one meanwhile.
fn elsewhere<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work)
    };
    thread::spawn(run).join().unwrap()
}

#[tokio::test]
async fn work_ends_before_its_mutex_is_released() {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        database.mutexes().await,
        database.session().await,
        mutex_id("m"),
    );
    let seen = Arc::<StdMutex<Vec<String>>>::default();
    let witness = || Witness {
        url: database.url().to_owned(),
        seen: Arc::clone(&seen),
    };

    // The work is done.
    let (guard, by) = (lock(&mutexes, &id, LONG).await, witness());
    guard.run_until_lost(async move { drop(by) }).await.unwrap();
    held(&session, 0).await;
    // The hold is lost, as far as this process knows.
    let guard = must(async { mutexes.lock(&id).timeout(LONG).max_hold(SHORT).await })
        .await
        .unwrap();
    let by = witness();
    let work = async move {
        let _by = by;
        pending::<()>().await;
    };
    let lost = must(guard.run_until_lost(work)).await;
    assert!(matches!(lost, Err(Error::Lost { .. })), "{lost:?}");
    held(&session, 0).await;
    // It is given up, before it has begun and afterwards.
    for polls in 0..2 {
        let (guard, by) = (lock(&mutexes, &id, LONG).await, witness());
        let mut work = Box::pin(guard.run_until_lost(async move {
            let _by = by;
            pending::<()>().await;
        }));
        for _ in 0..polls {
            assert!(poll!(&mut work).is_pending());
        }
        drop(work);
        held(&session, 0).await;
    }
    // The same of the other ways to run work.
    let (guard, by) = (lock(&mutexes, &id, LONG).await, witness());
    let mut work = Box::pin(guard.with(async move |_| {
        let _by = by;
        pending::<()>().await;
    }));
    assert!(poll!(&mut work).is_pending());
    drop(work);
    held(&session, 0).await;
    let given_away = Arc::new(StdMutex::new(None));
    let leader = mutexes.leader(&id).timeout(LONG);
    let mut work = Box::pin(leader.run(async |term| {
        let _by = witness();
        *given_away.lock().unwrap() = Some(term);
        pending::<()>().await;
    }));
    must(async {
        while given_away.lock().unwrap().is_none() {
            assert!(poll!(&mut work).is_pending());
            session.ask("select ''").await;
        }
    })
    .await;
    drop(work);
    held(&session, 0).await;
    assert!(
        given_away
            .lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .guard()
            .is_lost()
    );
    assert_eq!(*seen.lock().unwrap(), ["1"; 6]);
}

async fn guard_and_panic(guard: Guard) {
    guard.with(async |_| panic!("on purpose")).await
}

#[tokio::test]
async fn work_is_followed_by_the_release_however_it_ends() {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        database.mutexes().await,
        database.session().await,
        mutex_id("m"),
    );
    let locked = || mutexes.lock(&id).timeout(LONG);
    assert_eq!(locked().with(async |_| 7).await.unwrap(), 7);
    held(&session, 0).await;
    let failed: Result<(), &str> = locked().with(async |_| Err("no")).await.unwrap();
    assert_eq!(failed, Err("no"));
    held(&session, 0).await;
    let guard = locked().await.unwrap();
    let panics = tokio::spawn(guard_and_panic(guard));
    assert!(must(panics).await.unwrap_err().is_panic());
    held(&session, 0).await;
    let guard = locked().await.unwrap();
    let task = tokio::spawn(async move { guard.run_until_lost(pending::<()>()).await });
    tokio::task::yield_now().await;
    task.abort();
    assert!(must(task).await.unwrap_err().is_cancelled());
    held(&session, 0).await;
}

#[tokio::test]
async fn nothing_is_kept_alive_beyond_its_longest_hold() {
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    let (a, b) = (mutex_id("a"), mutex_id("b"));
    let kept = must(async { mutexes.lock(&a).timeout(LONG).max_hold(SHORT).await })
        .await
        .unwrap();
    must(kept.lost()).await;
    assert!(kept.is_lost());
    held(&session, 1).await;
    drop(kept);
    held(&session, 0).await;
    // The database sees to one that is attached, whatever becomes of its guard.
    let leaked = must(async { mutexes.lock(&b).attached().max_hold(SHORT).await })
        .await
        .unwrap();
    must(leaked.lost()).await;
    std::mem::forget(leaked);
    drop(lock(&mutexes, &b, LONG).await);
}

#[tokio::test]
async fn code_that_blocks_does_not_end_a_hold() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    in_time(async || -> Result<(), Over> {
        let guard = lock(&mutexes, &mutex_id("m"), SHORT).await;
        let url = database.url().to_owned();
        // This is the only thread of the runtime.
        elsewhere(async move {
            let session = session_at(&url).await;
            for _ in 0..4 {
                are_kept_alive(&session).await?;
            }
            Ok::<_, Over>(())
        })?;
        holds(&guard)?;
        gives_back(guard).await
    })
    .await;
}

/// Records each statement that changes holds, and how many.
const RECORD: &str = "
    create table beat (number bigserial, holds bigint);
    create function record_beat() returns trigger language plpgsql as $$
    begin
        insert into public.beat (holds) select count(*) from changed;
        return null;
    end $$;
    create trigger record_beat after update on pgmutex.mutex_model referencing new table as changed
    for each statement execute function record_beat()";

#[tokio::test]
async fn all_guards_of_a_process_beat_in_one_statement() {
    const GUARDS: usize = 40;
    let database = Database::fresh().await;
    let (mutexes, session) = (database.mutexes().await, database.session().await);
    session.run(RECORD).await;
    let together = format!(
        "select case when (select count(*) from beat where holds = {GUARDS}) >= 3 then 'together' \
                     when exists (select from pgmutex.mutex_model where expires_at < clock_timestamp()) then 'over' end"
    );
    let apart = format!(
        "select count(*)::text from beat where holds < {GUARDS} and number > (select min(number) from beat where holds = {GUARDS})"
    );
    in_time(async || -> Result<(), Over> {
        held(&session, 0).await;
        session.run("truncate beat").await;
        let mut guards = Vec::new();
        for number in 0..GUARDS {
            let id = mutex_id(&number.to_string());
            guards.push(lock(&mutexes, &id, Duration::from_secs(3)).await);
        }
        if must(session.ask_until(&together, |_| true)).await == "over" {
            return Err(Over);
        }
        let apart = session.ask(&apart).await;
        guards.iter().try_for_each(holds)?;
        assert_eq!(apart, "0");

        // One that is lost takes no other with it.
        mutexes.force_release(&mutex_id("7"), "test").await.unwrap();
        must(guards[7].lost()).await;
        are_kept_alive(&session).await?;
        assert!(guards.remove(7).is_lost());
        guards.iter().try_for_each(holds)
    })
    .await;
}

#[tokio::test]
async fn who_watches_a_guard_watches_what_becomes_of_it() {
    let database = Database::fresh().await;
    let (mutexes, mut client, id) = (
        database.mutexes().await,
        database.client().await,
        mutex_id("m"),
    );
    let reader = must(async { mutexes.read(&id).timeout(LONG).await })
        .await
        .unwrap();
    let lost = reader.lost();
    let Upgrade::Upgraded(writer) = reader.try_upgrade().await.unwrap() else {
        panic!("it is alone");
    };
    let reader = writer.downgrade().await.unwrap();
    mutexes.force_release(&id, "test").await.unwrap();
    // A write behind its fence tells it, long before a heartbeat would.
    let transaction = client.transaction().await.unwrap();
    let fenced = reader.fence(&transaction).await;
    assert!(matches!(fenced, Err(Error::Lost { .. })), "{fenced:?}");
    must(lost).await;
    assert!(reader.is_lost());
}
