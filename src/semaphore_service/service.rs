use std::{future::Future, time::Duration};

use super::{IsolatedWork, SemaphoreInfo, SemaphoreStatus, info::owner_of};
use crate::{
    domain::{Error, ForceReleased, Mutex, MutexId, MutexOwner, Released, Result},
    mutexes::Mutexes,
    random,
};

/// Where semaphores are kept, unless another group is named.
const DEFAULT_GROUP: &str = "semaphore";

/// A semaphore service: a semaphore has a name, and one owner at a time, who is known by a name too.
/// Cheap to clone.
///
/// ```no_run
/// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
/// use std::time::Duration;
/// use pgmutex::SemaphoreService;
///
/// let semaphores = SemaphoreService::new(mutexes);
/// let info = semaphores.acquire("invoices", "worker-7", Duration::from_secs(60)).await?;
/// if info.is_acquired() {
///     // … work, touching the semaphore now and then …
///     semaphores.touch("invoices", "worker-7").await?;
///     semaphores.release("invoices", "worker-7").await?;
/// } else {
///     println!("{} has it since {}", info.owner, info.create_date_utc);
/// }
/// # Ok(())
/// # }
/// ```
///
/// A semaphore is the mutex `<group>//<name>`, with the owner's name in `owner_name` and
/// `owner_login`: everything else in this library works on it too.
///
/// It is *not* re-entrant: an owner who asks again is told that the semaphore is owned by someone
/// else, because every acquisition has a session of its own. Touching and releasing, in whatever
/// process, go by the owner's name: owners that must not touch each other's semaphores need
/// different names. What was looked at is what is touched or released, by its fencing token, never
/// an acquisition that has come since.
#[derive(Clone, Debug)]
pub struct SemaphoreService {
    mutexes: Mutexes,
    group: String,
}

impl SemaphoreService {
    /// Keeps semaphores among these mutexes, in group `semaphore`.
    pub fn new(mutexes: Mutexes) -> Self {
        Self {
            mutexes,
            group: DEFAULT_GROUP.to_owned(),
        }
    }

    /// Keeps them in this group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// The mutex that a semaphore is.
    ///
    /// # Errors
    /// [`Error::InvalidId`] if name or group cannot be part of a mutex id, or the name is empty.
    pub fn id(&self, name: &str) -> Result<MutexId> {
        if name.is_empty() {
            return Err(Error::InvalidId {
                field: "mutex_id",
                reason: "is empty: name the semaphore".to_owned(),
            });
        }
        MutexId::new(self.group.as_str(), "", name)
    }

    /// Tries to acquire a semaphore, and does not wait. The answer says whether the owner
    /// [has it now](SemaphoreInfo::is_acquired); if not, it is about the one who has it. The
    /// timeout is whole seconds; it counts from here and from each [`touch`](Self::touch), and it is
    /// the *holder's* timeout that decides when another may have the semaphore.
    ///
    /// # Errors
    /// [`Error::InvalidId`], [`Error::InvalidOwner`], [`Error::InvalidRule`];
    /// [`Error::OutcomeUnknown`]: [`release`](Self::release) gives back what may have been acquired.
    ///
    /// Cancel safety: as [`Error::OutcomeUnknown`], if the future is dropped.
    pub async fn acquire(
        &self,
        name: &str,
        owner: &str,
        timeout: Duration,
    ) -> Result<SemaphoreInfo> {
        let asker = of_its_own(named(owner)?);
        let capture = self.mutexes.capture(&self.id(name)?).owner(asker);
        match capture.timeout(timeout).await {
            Ok(captured) => {
                let evicted = captured.evicted().cloned();
                let status = match evicted {
                    Some(_) => SemaphoreStatus::ForcedReleased,
                    None => SemaphoreStatus::Acquired,
                };
                Ok(SemaphoreInfo::new(&captured, status, evicted))
            }
            Err(Error::Busy { holder, .. }) => Ok(owned_by_someone_else(&holder)),
            Err(error) => Err(error),
        }
    }

    /// Makes the timeout of a semaphore start again.
    ///
    /// # Errors
    /// [`Error::Lost`] if nobody has it (any more), [`Error::Busy`] if another owner has.
    pub async fn touch(&self, name: &str, owner: &str) -> Result<SemaphoreInfo> {
        let (id, asker) = (self.id(name)?, of_its_own(named(owner)?));
        let refresh = self.mutexes.refresh(&id);
        let touched = match self.hold_of(&id, &asker).await? {
            Some(hold) => refresh.owner(hold.owner).token(hold.fencing_token).await,
            // Has nothing to touch, and is told why.
            None => refresh.owner(asker).await,
        };
        Ok(SemaphoreInfo::new(
            &touched?,
            SemaphoreStatus::Acquired,
            None,
        ))
    }

    /// Gives a semaphore back. That nobody has it is no error.
    ///
    /// # Errors
    /// [`Error::Busy`] if another owner has it, or if a fenced write of this one is still under way.
    pub async fn release(&self, name: &str, owner: &str) -> Result<Released> {
        let (id, asker) = (self.id(name)?, of_its_own(named(owner)?));
        let release = self.mutexes.release(&id);
        match self.hold_of(&id, &asker).await? {
            Some(hold) => release.owner(hold.owner).token(hold.fencing_token).await,
            // Has nothing to release, and is told why.
            None => release.owner(asker).await,
        }
    }

    /// Says who has a semaphore: `None` if nobody has it, or has it no longer. The status is
    /// [`OwnedBySomeoneElse`](SemaphoreStatus::OwnedBySomeoneElse), because nobody asks for it.
    ///
    /// # Errors
    /// [`Error::InvalidId`]; those of [`Mutexes::request`].
    pub async fn get(&self, name: &str) -> Result<Option<SemaphoreInfo>> {
        let state = self.mutexes.request(&self.id(name)?).await?;
        Ok(state.mutex().map(owned_by_someone_else))
    }

    /// Takes a semaphore away from whoever has it, and gives what it was. The reason goes to the
    /// server's log; the owner is not told, but its next touch says [`Error::Lost`].
    ///
    /// # Errors
    /// Those of [`Mutexes::force_release`].
    pub async fn force_release(
        &self,
        name: &str,
        reason: impl Into<String>,
    ) -> Result<Option<SemaphoreInfo>> {
        let id = self.id(name)?;
        match self.mutexes.force_release(&id, reason).await? {
            ForceReleased::Released(mutex) => Ok(Some(owned_by_someone_else(&mutex))),
            ForceReleased::NotHeld => Ok(None),
        }
    }

    /// Waits in line for a semaphore, does work while it is kept alive, and releases it: also if the
    /// work fails, panics or is cancelled. Say more if need be, then await it.
    ///
    /// The work is told of the semaphore as it was acquired. If the semaphore is lost nevertheless
    /// (the process was stopped for longer than the timeout, someone forced its release), the work
    /// is cancelled: its future is dropped. What may be written late by then must be
    /// [fenced](crate::InTransaction::fence) with the token.
    ///
    /// ```no_run
    /// # async fn example(semaphores: pgmutex::SemaphoreService) -> Result<(), pgmutex::Error> {
    /// # use std::time::Duration;
    /// let sent = semaphores
    ///     .isolate_work("invoices", "worker-7", Duration::from_secs(60), |_| async { 42 })
    ///     .notify(|text| println!("{text}"))
    ///     .wait(Duration::from_secs(600))
    ///     .await?;
    /// # let _ = sent;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`] if it took longer than [`wait`](IsolatedWork::wait) allows;
    /// [`Error::Lost`]; those of [`Mutexes::lock`]. What the work gives is given back as it is.
    ///
    /// Cancel safety: dropping the future leaves the line or cancels the work, and releases.
    pub fn isolate_work<'a, W, F>(
        &self,
        name: &str,
        owner: &str,
        timeout: Duration,
        work: W,
    ) -> IsolatedWork<'a, W>
    where
        W: FnOnce(SemaphoreInfo) -> F + Send + 'a,
        F: Future + Send + 'a,
        F::Output: Send,
    {
        let asked = self.id(name).and_then(|id| Ok((id, named(owner)?)));
        IsolatedWork::new(self.mutexes.clone(), asked, timeout, work)
    }

    /// What the asker's name has acquired, under whatever session.
    async fn hold_of(&self, id: &MutexId, asker: &MutexOwner) -> Result<Option<Mutex>> {
        let state = self.mutexes.request_by(id, asker).await?;
        let hold = state
            .mutex()
            .filter(|mutex| owner_of(mutex) == asker.name());
        Ok(hold.cloned())
    }
}

fn owned_by_someone_else(mutex: &Mutex) -> SemaphoreInfo {
    SemaphoreInfo::new(mutex, SemaphoreStatus::OwnedBySomeoneElse, None)
}

fn named(owner: &str) -> Result<MutexOwner> {
    MutexOwner::new(owner)?.with_name(owner)?.with_login(owner)
}

/// The owner under a session that nobody else has, the same owner at another time included.
fn of_its_own(owner: MutexOwner) -> MutexOwner {
    let number = u128::from_ne_bytes(random::bytes());
    owner.set_apart(&format!("{number:032x}"))
}
