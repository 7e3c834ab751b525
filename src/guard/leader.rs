use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{Guard, GuardState, Lock};
use crate::domain::{Error, FencingToken, MutexId, MutexOwner, Result};

/// Between two attempts to lead while the database does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Runs a task in one process at a time, of all that want to. See
/// [`Mutexes::leader`](crate::Mutexes::leader).
///
/// It is a lock with a loop around it: wait for the mutex, run the task while it is held, and if it
/// is lost, cancel the task and wait again. Between two leaders the mutex passes only after the
/// first one's task has ended, or after its hold was over; whoever leads must fence what it writes
/// if a leader that was stopped and woke up must not write any more.
#[derive(Debug)]
#[must_use = "a leader does nothing until it runs"]
pub struct Leader {
    lock: LockMaker,
}

/// Makes the lock for each term.
struct LockMaker(Box<dyn Fn() -> Lock + Send + Sync>);

impl std::fmt::Debug for LockMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockMaker")
    }
}

/// The guard of a term. It ends with this: a clone of the term that the task has given away does not
/// keep the hold.
struct Term(Arc<Guard>);

impl Drop for Term {
    fn drop(&mut self) {
        self.0.drop_shared();
    }
}

/// One term of a leader, as its task sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    guard: Arc<Guard>,
    resigned: Arc<Resignation>,
}

#[derive(Debug, Default)]
struct Resignation {
    is_wanted: AtomicBool,
    wanted: Notify,
}

impl Leader {
    pub(crate) fn new(lock: impl Fn() -> Lock + Send + Sync + 'static) -> Self {
        Self {
            lock: LockMaker(Box::new(lock)),
        }
    }

    fn refine(self, more: impl Fn(Lock) -> Lock + Send + Sync + 'static) -> Self {
        let lock = self.lock;
        Self::new(move || more((lock.0)()))
    }

    /// As [`Lock::owner`].
    pub fn owner(self, owner: MutexOwner) -> Self {
        self.refine(move |lock| lock.owner(owner.clone()))
    }

    /// As [`Lock::timeout`]: how soon another takes over after this process has died.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.refine(move |lock| lock.timeout(timeout))
    }

    /// As [`Lock::attached`]: another takes over at once when this process has died.
    pub fn attached(self) -> Self {
        self.refine(Lock::attached)
    }

    /// As [`Lock::max_hold`]: a term ends after this time, as if the hold were lost; another may lead
    /// then.
    pub fn max_hold(self, max_hold: Duration) -> Self {
        self.refine(move |lock| lock.max_hold(max_hold))
    }

    /// As [`Lock::status_data`].
    pub fn status_data(self, status_data: impl Into<String>) -> Self {
        let status_data = status_data.into();
        self.refine(move |lock| lock.status_data(status_data.clone()))
    }

    /// Waits to lead, also while the database is away.
    async fn take_the_lead(&self) -> Result<Guard> {
        let mut pause = FIRST_PAUSE;
        loop {
            match (self.lock.0)().await {
                Err(error)
                    if error.is_transient() && !matches!(error, Error::WaitCircle { .. }) =>
                {
                    tracing::warn!(%error, "cannot lead at the moment; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    /// Waits to lead, then runs the task. If the hold is lost, the task is cancelled (its future is
    /// dropped), and after that this waits to lead again, and runs the task anew. Returns what the
    /// task returns when it ends by itself, with the mutex released.
    ///
    /// A task that [resigns](Leadership::resign) is cancelled too; the mutex is released after it
    /// has ended, and this goes to the end of the line.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
    /// # async fn send_reminders(_: pgmutex::FencingToken) {}
    /// let id = pgmutex::MutexId::new("billing", "leader", "reminders")?;
    /// mutexes
    ///     .leader(&id)
    ///     .attached()
    ///     .run(async |term| loop {
    ///         send_reminders(term.fencing_token()).await;
    ///         tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Mutexes::lock`](crate::Mutexes::lock) that do not pass; not the loss of the hold, nor
    /// that the database is away for a while.
    ///
    /// Cancel safety: dropping the future cancels the task, and releases.
    // Not `AsyncFnMut`: what that gives cannot be spawned (its future is `Send` for no borrow in
    // general), and a leader is what one spawns.
    pub async fn run<F: Future>(&self, mut task: impl FnMut(Leadership) -> F) -> Result<F::Output> {
        loop {
            let guard = Term(Arc::new(self.take_the_lead().await?));
            let guard = &guard.0;
            let resigned = Arc::<Resignation>::default();
            let term = Leadership {
                guard: Arc::clone(guard),
                resigned: Arc::clone(&resigned),
            };
            tracing::info!(mutex = %guard.id(), token = %guard.fencing_token(), "leading");
            let outcome = {
                let work = std::pin::pin!(super::scope::inside(guard.fencing_token(), task(term)));
                tokio::select! {
                    biased;
                    () = guard.lost() => None,
                    () = resigned.wanted() => None,
                    output = work => Some(output),
                }
            };
            // The task has ended, or its future was dropped just now: not before that.
            tracing::info!(mutex = %guard.id(), token = %guard.fencing_token(), "leading no more");
            guard.release_shared().await;
            if let Some(output) = outcome {
                return Ok(output);
            }
        }
    }
}

impl Resignation {
    async fn wanted(&self) {
        while !self.is_wanted.load(Ordering::Acquire) {
            self.wanted.notified().await;
        }
    }
}

impl Leadership {
    /// Which mutex makes the leader.
    pub fn id(&self) -> &MutexId {
        self.guard.id()
    }

    /// Larger in each later term, whoever leads.
    pub fn fencing_token(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// The guard of this term, to fence transactions with.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// How sure it is that this process still leads.
    pub fn state(&self) -> GuardState {
        self.guard.state()
    }

    /// Returns when this process leads no longer.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.guard.lost()
    }

    /// Ends the term: the task is cancelled at its next await, and another may lead.
    pub fn resign(&self) {
        self.resigned.is_wanted.store(true, Ordering::Release);
        self.resigned.wanted.notify_one();
    }
}
