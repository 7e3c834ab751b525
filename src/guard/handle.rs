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
    GuardParts, GuardState, Ward,
    acquire::{Acquired, give_back_in_time},
    kept::KeptHold,
    scope::inside,
    settings::Settings,
};
use crate::{
    backend::{Attachment, CaptureRequest, RefreshRequest, ReleaseRequest},
    background::NotDone,
    domain::{
        Access, AutoRelease, CaptureOutcome, Captured, Error, Evicted, FencingToken, Mutex,
        MutexId, Released, Result,
    },
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
    hold: Arc<KeptHold>,
    ward: Arc<Ward>,
    evicted: Option<Box<Evicted>>,
    is_armed: AtomicBool,
}

/// What became of the wish to have a shared mutex alone.
#[derive(Debug)]
pub enum Upgrade {
    /// The mutex is exclusive now, under a new fencing token.
    Upgraded(Guard),
    /// Someone else shares it; the guard is as it was.
    Busy {
        /// The guard.
        guard: Guard,
        /// One of those who share the mutex.
        holder: Box<Mutex>,
    },
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

    fn of(ward: Arc<Ward>, hold: KeptHold, evicted: Option<Box<Evicted>>, asked: Instant) -> Self {
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
        let mut state = self.hold.watch();
        let already = self.is_lost();
        async move {
            // The sender goes with the guard, and then nothing is left to be lost.
            if !already
                && state
                    .wait_for(|state| *state == GuardState::Lost)
                    .await
                    .is_err()
            {
                std::future::pending::<()>().await;
            }
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

    /// Lets others share the mutex from now on; the token stays.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold was gone; [`Error::Busy`] while a transaction is open behind its
    /// fence. The mutex is released then.
    pub async fn downgrade(self) -> Result<Self> {
        let background = self.ward.background.clone();
        let done = background.run(self.downgrade_here()).await;
        done.unwrap_or_else(|error| Err(unavailable(error)))
    }

    // In the background, with the guard: if the caller gives up meanwhile, the guard is dropped
    // after the change, not beside it. And without heartbeats: one with the old token would find
    // nothing after the change.
    async fn downgrade_here(self) -> Result<Self> {
        let asked = Instant::now();
        self.ward.keeper.forget(&self.hold);
        match self.change(Access::shared()).await {
            Ok(changed) if changed.fencing_token == self.fencing_token() => {
                self.replaced(changed.mutex, asked)
            }
            Ok(changed) => Err(self.was_lost_before(changed).await),
            Err(Error::Busy { holder, .. }) if !holder.check_owner(&self.mutex().owner) => {
                self.lose();
                Err(self.lost_error())
            }
            Err(error) => Err(self.gave_up(error)),
        }
    }

    /// Has the mutex alone from now on, under a new token, if nobody else shares it at this moment.
    /// It does not wait: two holders who both waited for that would wait for each other.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold was gone. The mutex is released then.
    pub async fn try_upgrade(self) -> Result<Upgrade> {
        let background = self.ward.background.clone();
        let done = background.run(self.try_upgrade_here()).await;
        done.unwrap_or_else(|error| Err(unavailable(error)))
    }

    // As `downgrade_here`.
    async fn try_upgrade_here(self) -> Result<Upgrade> {
        let asked = Instant::now();
        self.ward.keeper.forget(&self.hold);
        match self.change(Access::Exclusive).await {
            // A hold that began when this one did is this one; another means that it was lost.
            Ok(changed) if changed.held_since == self.mutex().held_since => {
                self.replaced(changed.mutex, asked).map(Upgrade::Upgraded)
            }
            Ok(changed) => Err(self.was_lost_before(changed).await),
            Err(Error::Busy { holder, .. }) => {
                if !self.is_still_held(&holder).await? {
                    self.lose();
                    return Err(self.lost_error());
                }
                // Its next heartbeat is due at once.
                self.ward.keeper.keep(&self.hold, self.hold.captured_at);
                Ok(Upgrade::Busy {
                    guard: self,
                    holder,
                })
            }
            Err(error) => Err(self.gave_up(error)),
        }
    }

    /// Whether the hold is there, beside this one of another who shares the mutex.
    async fn is_still_held(&self, other: &Mutex) -> Result<bool> {
        if other.check_owner(&self.mutex().owner) {
            return Ok(true);
        }
        if other.permit == 0 || self.is_lost() {
            return Ok(false);
        }
        let refresh = RefreshRequest {
            id: self.id().clone(),
            owner: self.mutex().owner.clone(),
            token: Some(self.fencing_token()),
            status_data: None,
        };
        match self.ward.backend.refresh(&refresh).await {
            Ok(_) => Ok(true),
            Err(Error::Lost { .. } | Error::Busy { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lost_error(&self) -> Error {
        Error::Lost {
            id: self.id().clone(),
            token: Some(self.fencing_token()),
        }
    }

    async fn change(&self, access: Access) -> Result<Captured> {
        let request = CaptureRequest {
            id: self.id().clone(),
            owner: self.mutex().owner.clone(),
            access,
            auto_release: None,
            status_data: None,
        };
        self.ward.backend.capture(&request).await
    }

    /// Releases the hold whatever its token is by now.
    fn gave_up(self, error: Error) -> Error {
        if error.is_outcome_unknown() {
            self.disarm();
            self.ward.keeper.forget(&self.hold);
            let holds = vec![(self.id().clone(), None)];
            let (backend, owner) = (Arc::clone(&self.ward.backend), self.mutex().owner.clone());
            self.ward
                .background
                .send_off(async move { give_back_in_time(&backend, &owner, holds).await });
        }
        error
    }

    /// The capture that was meant to change this hold has made a new one.
    async fn was_lost_before(self, captured: Captured) -> Error {
        self.lose();
        let lost = Error::Lost {
            id: captured.id.clone(),
            token: Some(self.fencing_token()),
        };
        let holds = vec![(captured.id.clone(), Some(captured.fencing_token))];
        let (backend, owner) = (Arc::clone(&self.ward.backend), captured.owner.clone());
        self.ward
            .background
            .send_off(async move { give_back_in_time(&backend, &owner, holds).await });
        lost
    }

    /// The guard of the same hold, which has changed. Who has been told that it is lost must not find
    /// it held again: then it is given back.
    fn replaced(self, mutex: Mutex, asked: Instant) -> Result<Self> {
        self.disarm();
        let was_lost = self.is_lost();
        let hold = self.hold.changed(mutex, asked);
        let evicted = self.evicted.clone();
        let changed = Self::of(Arc::clone(&self.ward), hold, evicted, asked);
        if was_lost || changed.is_lost() {
            changed.lose();
            return Err(changed.lost_error());
        }
        Ok(changed)
    }

    /// Runs work, cancels it (drops its future) if the hold is lost, and releases the mutex only
    /// after the work has ended.
    ///
    /// Inside of the work, whoever waits for another mutex is known to keep this one: a circle of
    /// such waits is refused with [`Error::WaitCircle`].
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold was lost before the work was done.
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
    fn disarm(&self) -> bool {
        self.is_armed.swap(false, Ordering::AcqRel)
    }

    fn lose(&self) {
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

fn unavailable(error: NotDone) -> Error {
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

/// Puts a guard on a hold that has none. See [`Mutexes::adopt`](crate::Mutexes::adopt).
pub(crate) async fn adopt(ward: Arc<Ward>, parts: GuardParts) -> Result<Guard> {
    let ward = ward.anchored();
    let background = ward.background.clone();
    let adopting = async move {
        adopt_here(ward, parts)
            .await
            .map(|guard| Adopted(Some(guard)))
    };
    let done = background.run(adopting).await;
    let adopted = done.unwrap_or_else(|error| Err(unavailable(error)));
    adopted?.0.take().ok_or_else(|| unavailable(NotDone))
}

/// A guard that nobody has taken yet. A hold that was handed over is not to be released because the
/// one who was to adopt it is gone: it is as it was, and can be adopted again.
struct Adopted(Option<Guard>);

impl Drop for Adopted {
    fn drop(&mut self) {
        self.0.take().map(Guard::into_parts);
    }
}

async fn adopt_here(ward: Arc<Ward>, parts: GuardParts) -> Result<Guard> {
    let lost = || Error::Lost {
        id: parts.id.clone(),
        token: Some(parts.fencing_token),
    };
    // A capture by the same owner refreshes the hold and gives it this process's session; that it
    // must not make a new hold is made sure of first, and looked at afterwards.
    let refresh = RefreshRequest {
        id: parts.id.clone(),
        owner: parts.owner.clone(),
        token: Some(parts.fencing_token),
        status_data: None,
    };
    let asked = Instant::now();
    let mutex = match ward.backend.refresh(&refresh).await {
        Ok(mutex) => mutex,
        Err(Error::Busy { .. } | Error::Lost { .. }) => return Err(lost()),
        Err(error) => return Err(error),
    };
    // The rule that the hold has, whatever the parts say.
    let mut settings = Settings::default();
    match &mutex.auto_release {
        AutoRelease::Connection { timeout, .. } => {
            settings.attached = true;
            settings.timeout = *timeout;
        }
        AutoRelease::Timeout(timeout) => settings.timeout = Some(*timeout),
        other => settings.rule = Some(other.clone()),
    }
    if !settings.attached {
        let captured = Captured::new(mutex, CaptureOutcome::Refreshed);
        return Ok(Guard::new(ward, captured, None, &settings, asked));
    }
    let access = Access::of_hold(mutex.permit, mutex.permits);
    let (request, attachment) = settings
        .capture(&*ward.backend, &parts.id, access, &parts.owner)
        .await?;
    let asked = Instant::now();
    let captured = match ward.backend.capture(&request).await {
        Ok(captured) => captured,
        Err(error) => {
            if error.is_outcome_unknown() {
                let holds = vec![(parts.id, Some(parts.fencing_token))];
                give_back_in_time(&ward.backend, &parts.owner, holds).await;
            }
            return Err(error);
        }
    };
    let is_same = captured.fencing_token == parts.fencing_token;
    let guard = Guard::new(ward, captured, attachment, &settings, asked);
    if is_same { Ok(guard) } else { Err(lost()) }
}
