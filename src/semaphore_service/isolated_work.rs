use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::time::{sleep, timeout};

use super::{SemaphoreInfo, SemaphoreStatus, info::owner_of};
use crate::{
    domain::{Error, Mutex, MutexId, MutexOwner, Result},
    guard::{Guard, TryLocked},
    mutexes::Mutexes,
};

/// How often one who waits looks who it is waiting for, unless something else is said.
const DEFAULT_SLEEP: Duration = Duration::from_secs(15);

/// How much longer than allowed the first attempt may take: it must not fail just because it takes a
/// moment to ask.
const GRACE: Duration = Duration::from_millis(250);

type Notify<'a> = Box<dyn FnMut(&str) + Send + 'a>;

/// Work under a semaphore in the making: say more, then await it. See
/// [`SemaphoreService::isolate_work`](crate::SemaphoreService::isolate_work).
#[must_use = "the work is not done until this is awaited"]
pub struct IsolatedWork<'a, W> {
    mutexes: Mutexes,
    asked: Result<(MutexId, MutexOwner)>,
    timeout: Duration,
    work: W,
    notify: Option<Notify<'a>>,
    sleep_between_attempts: Duration,
    wait: Option<Duration>,
}

impl<'a, W> IsolatedWork<'a, W> {
    pub(super) fn new(
        mutexes: Mutexes,
        asked: Result<(MutexId, MutexOwner)>,
        timeout: Duration,
        work: W,
    ) -> Self {
        Self {
            mutexes,
            asked,
            timeout,
            work,
            notify: None,
            sleep_between_attempts: DEFAULT_SLEEP,
            wait: None,
        }
    }

    /// Says what is going on, in words for people: that it waits and for whom, that it has the
    /// semaphore, that it gives it back, that it was lost. It must not block.
    pub fn notify(mut self, notify: impl FnMut(&str) + Send + 'a) -> Self {
        self.notify = Some(Box::new(notify));
        self
    }

    /// How long it waits at most before it looks again and says who it is waiting for. It does not
    /// delay anything: when its turn comes it is woken up. Default: 15 s.
    pub fn sleep_between_attempts(mut self, sleep: Duration) -> Self {
        self.sleep_between_attempts = sleep;
        self
    }

    /// Waits for the semaphore for this long at most, then [`Error::Timeout`]. Default: for ever.
    /// The work may take as long as it likes.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

impl<'a, W, F> IsolatedWork<'a, W>
where
    W: FnOnce(SemaphoreInfo) -> F + Send + 'a,
    F: Future + Send + 'a,
    F::Output: Send,
{
    async fn run(self) -> Result<F::Output> {
        let (id, owner) = self.asked?;
        if self.sleep_between_attempts.is_zero() {
            return Err(Error::InvalidInput {
                field: "sleep_between_attempts",
                reason: "must be longer than nothing".to_owned(),
            });
        }
        let mut notify = self.notify.unwrap_or_else(|| Box::new(|_| {}));
        let line = Line {
            mutexes: self.mutexes,
            id: &id,
            owner,
            timeout: self.timeout,
            wait: self.wait,
            sleep: self.sleep_between_attempts,
        };
        let guard = line.stand_in(&mut notify).await?;
        let name = id.id();
        notify(&format!("acquired semaphore {name}"));
        let evicted = guard.evicted().cloned();
        let status = match evicted {
            Some(_) => SemaphoreStatus::ForcedReleased,
            None => SemaphoreStatus::Acquired,
        };
        let info = SemaphoreInfo::new(guard.mutex(), status, evicted);
        let work = self.work;
        let done = guard.run_until_lost(async {
            let output = work(info).await;
            notify(&format!("the work is done, releasing semaphore {name}"));
            output
        });
        let outcome = done.await;
        if outcome.is_err() {
            notify(&format!("semaphore {name} is lost, the work is cancelled"));
        }
        outcome
    }
}

/// What is waited for, and how.
struct Line<'i> {
    mutexes: Mutexes,
    id: &'i MutexId,
    owner: MutexOwner,
    timeout: Duration,
    wait: Option<Duration>,
    sleep: Duration,
}

impl Line<'_> {
    async fn stand_in(self, notify: &mut Notify<'_>) -> Result<Guard> {
        let (began, name) = (Instant::now(), self.id.id());
        // Whoever must wait is to hear for whom, at once.
        let attempt = self.mutexes.try_lock(self.id).owner(self.owner.clone());
        let attempt = attempt.timeout(self.timeout).into_future();
        let first = match self.wait {
            Some(wait) => match timeout(wait.saturating_add(GRACE), attempt).await {
                Ok(first) => first?,
                Err(_) => {
                    return Err(Error::Timeout {
                        id: self.id.clone(),
                        waited: began.elapsed(),
                        holder: None,
                    });
                }
            },
            None => attempt.await?,
        };
        let holder = match first {
            TryLocked::Locked(guard) => return Ok(guard),
            TryLocked::Busy(holder) => holder,
        };
        let lock = self.mutexes.lock(self.id).owner(self.owner.clone());
        let mut lock = lock.timeout(self.timeout);
        if let Some(wait) = self.wait {
            lock = lock.wait(wait.saturating_sub(began.elapsed()));
        }
        notify(&format!("waiting for semaphore {name}, {}", held(&holder)));
        let telling = pin!(async {
            loop {
                sleep(self.sleep).await;
                // Also removes a hold that is over, which wakes the line.
                let state = self.mutexes.request_by(self.id, &self.owner).await;
                let found = match &state {
                    Ok(state) => state.mutex().map_or("free by now".to_owned(), held),
                    Err(error) => format!("but cannot look at it: {error}"),
                };
                notify(&format!("still waiting for semaphore {name}, {found}"));
            }
        });
        tokio::select! {
            biased;
            locked = lock.into_future() => locked,
            never = telling => never,
        }
    }
}

fn held(holder: &Mutex) -> String {
    format!(
        "held by {} since {}",
        owner_of(holder),
        second(holder.held_since)
    )
}

fn second(time: DateTime<Utc>) -> impl fmt::Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}

impl<'a, W, F> IntoFuture for IsolatedWork<'a, W>
where
    W: FnOnce(SemaphoreInfo) -> F + Send + 'a,
    F: Future + Send + 'a,
    F::Output: Send,
{
    type Output = Result<F::Output>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<F::Output>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<W> fmt::Debug for IsolatedWork<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsolatedWork")
            .field("asked", &self.asked)
            .field("timeout", &self.timeout)
            .field("sleep_between_attempts", &self.sleep_between_attempts)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
