use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    GuardParts, GuardState, Ward, acquire::Acquired, give_back::give_back_in_time, kept::KeptHold,
    scope::inside, settings::Settings,
};
use crate::{
    backend::{Attachment, ReleaseRequest},
    background::NotDone,
    domain::{Captured, Error, Evicted, FencingToken, Mutex, MutexId, Released, Result},
    observe,
    postgres::Transaction,
};

/// A mutex that is held, kept alive in the background, and given back when this is released or
/// dropped.
///
/// A guard is `Send` and may be held across `.await`. Keeping alive goes on whatever the
/// application's tasks are doing; what ends it is said by [`lost`](Self::lost).
///
/// Release it with [`release`](Self::release). Dropping it releases too, as a best effort: the
/// background thread tries for a while, and nobody hears of it if it fails. Then the hold lasts
/// until its rule ends it. A guard that is leaked (`mem::forget`) is kept alive for as long as the
/// process lives, unless it has a [`max_hold`](crate::Lock::max_hold).
#[must_use = "a guard that is dropped releases its mutex"]
pub struct Guard {
    pub(super) hold: Arc<KeptHold>,
    pub(super) ward: Arc<Ward>,
    pub(super) evicted: Option<Box<Evicted>>,
    is_armed: AtomicBool,
}

impl Guard {
    pub(super) fn new(
        ward: Arc<Ward>,
        captured: Captured,
        attachment: Option<Attachment>,
        settings: &Settings,
        asked: Instant,
    ) -> Self {
        // Whatever the rule: as long as the database says, from the capture on.
        let left = captured.expires_at.map(|end| {
            let lasts = end - captured.captured_since;
            lasts.to_std().unwrap_or_default()
        });
        let evicted = captured.evicted().cloned().map(Box::new);
        let hold = KeptHold::new(
            captured.mutex,
            asked,
            settings.beat(),
            left,
            attachment,
            settings.max_hold,
        );
        Self::of(ward, hold, evicted, asked)
    }

    pub(super) fn of(
        ward: Arc<Ward>,
        hold: KeptHold,
        evicted: Option<Box<Evicted>>,
        asked: Instant,
    ) -> Self {
        let hold = Arc::new(hold);
        ward.keeper.keep(&hold, asked);
        Self {
            hold,
            ward,
            evicted,
            is_armed: AtomicBool::new(true),
        }
    }

    pub(super) fn all(ward: &Arc<Ward>, acquired: Acquired, settings: &Settings) -> Vec<Self> {
        let asked = acquired.asked;
        let holds = acquired.holds.into_iter();
        holds
            .map(|(captured, attachment)| {
                Self::new(Arc::clone(ward), captured, attachment, settings, asked)
            })
            .collect()
    }

    /// Which mutex.
    pub fn id(&self) -> &MutexId {
        &self.hold.mutex.id
    }

    /// The hold as it was captured. Its owner's session is the guard's own.
    pub fn mutex(&self) -> &Mutex {
        &self.hold.mutex
    }

    /// Larger for each later capture of the mutex: whoever guards a resource outside of the database
    /// can refuse a smaller one than the largest it has seen.
    pub fn fencing_token(&self) -> FencingToken {
        self.hold.mutex.fencing_token
    }

    /// The hold that was over and made way for this one, if there was one: its holder may have left
    /// things half done.
    pub fn evicted(&self) -> Option<&Evicted> {
        self.evicted.as_deref()
    }

    /// How sure it is that the mutex is still held. Never later than the database: this process's
    /// own clock gives up a tenth of the timeout earlier.
    pub fn state(&self) -> GuardState {
        self.hold.state()
    }

    /// Whether the hold is over or gone, or may be.
    pub fn is_lost(&self) -> bool {
        self.state() == GuardState::Lost
    }

    /// Returns when the hold is lost; never, if the guard is released first. The future is
    /// independent of the guard. Cancel safe.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let state = Arc::clone(self.hold.watched());
        let already = self.is_lost();
        async move {
            // When the guard is gone, nothing is left to be lost, and nobody says that it is.
            if !already {
                state.lost().await;
            }
        }
    }

    /// Until when this process may rely on the hold if nothing keeps it alive from now on, by its own
    /// clock; `None`: no time ends it. Each heartbeat that succeeds moves it on. It says nothing of
    /// what has been lost otherwise: [`is_lost`](Self::is_lost) does.
    ///
    /// For whoever must have stopped by then what the mutex protects, such as another process. On
    /// Linux the clock of an [`Instant`] stands still while the machine is suspended.
    pub fn trusted_until(&self) -> Option<Instant> {
        self.hold.end()
    }

    /// Returns what [`trusted_until`](Self::trusted_until) says as soon as it is something else than
    /// `known`. Cancel safe.
    pub async fn trust_moved(&self, known: Option<Instant>) -> Option<Instant> {
        loop {
            let news = self.hold.watched().news();
            let until = self.trusted_until();
            if until != known {
                return until;
            }
            news.await;
        }
    }

    /// Makes a transaction fail unless this hold still holds, and keeps everyone else from
    /// capturing the mutex until the transaction ends: what it writes is written by the holder, or
    /// not at all. Call it first in the transaction that writes what the mutex protects.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes, client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// # let id = pgmutex::MutexId::new("reports", "write", "2026-11")?;
    /// let guard = mutexes.lock(&id).await?;
    /// let transaction = client.transaction().await?;
    /// guard.fence(&transaction).await?;
    /// transaction.execute("update report set body = 'new' where id = '2026-11'", &[]).await?;
    /// transaction.commit().await?;
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold is over or gone: the transaction has failed, roll it back.
    /// [`Error::Unavailable`] if the mutex is not kept in PostgreSQL.
    ///
    /// Cancel safety: the fence of a future that is dropped may stand or not; call it again in the same
    /// transaction, or roll that back.
    pub async fn fence(&self, transaction: &Transaction<'_>) -> Result<()> {
        let Some(repository) = &self.ward.repository else {
            return Err(Error::Unavailable {
                source:
                    "this mutex is not kept in PostgreSQL: a transaction cannot be fenced with it"
                        .into(),
            });
        };
        let fenced = repository.fence(transaction, self.id(), self.fencing_token());
        let outcome = fenced.await;
        if let Err(Error::Lost { .. }) = &outcome {
            self.lose();
        }
        outcome
    }

    /// Gives the mutex back. [`Released::NotHeld`]: it was lost before. Goes on in the background if
    /// the future is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] while a transaction of the holder's own is open behind its fence;
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`]: the background goes on trying for a while,
    /// then the rule ends the hold.
    pub async fn release(self) -> Result<Released> {
        self.disarm();
        let ward = Arc::clone(&self.ward);
        let release = self.releasing();
        let done = ward.background.run(release).await;
        done.unwrap_or_else(|error| Err(unavailable(error)))
    }

    /// Runs work, cancels it (drops its future) if the hold is lost, and releases the mutex only
    /// after the work has ended.
    ///
    /// Inside of the work, whoever waits for another mutex is known to keep this one: a circle of
    /// such waits is refused with [`Error::WaitCircle`].
    ///
    /// Cancel safety: dropping the future cancels the work, and after that releases in the background.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold was lost before the work was done, or by the time it was: what it
    /// has given is dropped.
    pub async fn run_until_lost<F: Future>(self, work: F) -> Result<F::Output> {
        let lost = self.lost();
        let outcome = {
            let work = std::pin::pin!(inside(self.fencing_token(), work));
            tokio::select! {
                biased;
                () = lost => None,
                output = work => Some(output),
            }
        };
        // The time may have been up before anyone could say so.
        let Some(output) = outcome.filter(|_| !self.is_lost()) else {
            return Err(self.lost_error());
        };
        self.release_quietly().await;
        Ok(output)
    }

    /// Runs work with the guard and releases the mutex afterwards: also if the work panics or this
    /// future is dropped, then in the background. It does not look whether the hold is lost; the
    /// work can, and [`run_until_lost`](Self::run_until_lost) does.
    ///
    /// Cancel safety: dropping the future cancels the work (drops its future), and after that releases
    /// in the background. That a release fails is only logged: the background goes on trying.
    pub async fn with<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> T {
        let output = inside(self.fencing_token(), work(&self)).await;
        self.release_quietly().await;
        output
    }

    async fn release_quietly(self) {
        let id = self.id().clone();
        if let Err(error) = self.release().await {
            tracing::warn!(mutex = %id, %error, "not released yet; the background goes on trying");
        }
    }

    /// Takes the guard off the hold, which stays: nobody keeps it alive until someone adopts it, so
    /// its rule should leave time for that. A hold that is attached to this process's database
    /// session still ends with it.
    pub fn into_parts(self) -> GuardParts {
        self.disarm();
        self.ward.keeper.forget(&self.hold);
        GuardParts::new(self.mutex())
    }

    /// For a guard that others may still refer to: releases it, and says nothing.
    pub(super) async fn release_shared(&self) {
        if !self.disarm() {
            return;
        }
        let releasing = self.releasing();
        self.hold.lose();
        let done = self.ward.background.run(releasing).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(mutex = %self.id(), %error, "not released yet; the background goes on trying");
        }
    }

    /// The same, without waiting for it.
    pub(super) fn drop_shared(&self) {
        if self.disarm() {
            let releasing = self.releasing();
            self.hold.lose();
            self.ward.background.send_off(async move {
                let _ = releasing.await;
            });
        }
    }

    /// Makes the drop do nothing; whether it would have done something.
    pub(super) fn disarm(&self) -> bool {
        self.is_armed.swap(false, Ordering::AcqRel)
    }

    pub(super) fn lost_error(&self) -> Error {
        Error::Lost {
            id: self.id().clone(),
            token: Some(self.fencing_token()),
        }
    }

    pub(super) fn lose(&self) {
        if self.hold.lose() {
            observe::lost();
        }
    }

    /// What releases the hold, once; if that fails, a task that goes on trying.
    fn releasing(&self) -> impl Future<Output = Result<Released>> + Send + use<> {
        let ward = Arc::clone(&self.ward);
        let mutex = self.mutex().clone();
        let held = self.hold.captured_at.elapsed();
        ward.keeper.forget(&self.hold);
        async move {
            let request = ReleaseRequest {
                id: mutex.id.clone(),
                owner: mutex.owner.clone(),
                token: Some(mutex.fencing_token),
            };
            let released = ward.backend.release(&request).await;
            match &released {
                Ok(_) => {
                    observe::held(held);
                    tracing::debug!(mutex = %mutex.id, token = %mutex.fencing_token, ?held, "released");
                }
                // Another has it: what is not held need not be released.
                Err(Error::Busy { holder, .. }) if !holder.check_owner(&mutex.owner) => {
                    return Ok(Released::NotHeld);
                }
                Err(_) => {
                    let again = ward.background.clone();
                    again.send_off(async move {
                        let holds = vec![(mutex.id, Some(mutex.fencing_token))];
                        give_back_in_time(&ward.backend, &mutex.owner, holds).await;
                    });
                }
            }
            released
        }
    }
}

pub(super) fn unavailable(error: NotDone) -> Error {
    Error::Unavailable {
        source: error.into(),
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.disarm() {
            let releasing = self.releasing();
            self.ward.background.send_off(async move {
                let _ = releasing.await;
            });
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("mutex", &self.hold.mutex)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
