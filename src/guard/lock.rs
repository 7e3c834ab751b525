use std::{
    future::{Future, IntoFuture},
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{
    Guard, Ward,
    acquire::{Acquired, Asker, Request, Wait, acquire},
    scope::held_here,
    settings::Settings,
};
use crate::{
    backend::{BackendFuture, CaptureAllRequest},
    domain::{AutoRelease, Error, FencingToken, Mutex, MutexOwner, Result, Wish},
};

/// A lock in the making: say more, then await it. See [`Mutexes::lock`](crate::Mutexes::lock).
///
/// Four durations that are not to be confused: [`wait`](Lock::wait), how long to stand in line;
/// [`timeout`](Self::timeout), how soon the mutex is free again after this process has died;
/// [`max_hold`](Self::max_hold), how long it is kept alive at most; and the work itself, which may
/// take as long as it likes within the last.
///
/// Cancel safety: dropping the future leaves the line and gives back what it may have captured.
#[derive(Debug)]
#[must_use = "a lock does nothing until it is awaited"]
pub struct Lock<W = Waiting> {
    ward: Arc<Ward>,
    wish: Wish,
    settings: Box<Settings>,
    wait: Wait,
    kind: PhantomData<W>,
}

/// The kind of [`Lock`] that waits in line.
#[derive(Debug)]
pub struct Waiting(());

/// The kind of [`Lock`] that takes busy for an answer.
#[derive(Debug)]
pub struct AtOnce(());

/// What a lock has come to that was asked for.
type Begun<F> = (Arc<Ward>, Arc<Settings>, F);

/// A lock that takes busy for an answer. See [`Mutexes::try_lock`](crate::Mutexes::try_lock).
pub type TryLock = Lock<AtOnce>;

/// What became of a [`TryLock`]; of a [`TryLockAll`](crate::TryLockAll), with all its guards.
#[derive(Debug)]
pub enum TryLocked<G = Guard> {
    /// It is held now.
    Locked(G),
    /// Someone else has it: a hold that is in the way.
    Busy(Box<Mutex>),
}

impl<G> TryLocked<G> {
    /// What an attempt has come to: that it is busy is an answer.
    pub(super) fn answer(attempt: Result<G>) -> Result<Self> {
        match attempt {
            Ok(guard) => Ok(Self::Locked(guard)),
            Err(Error::Busy { holder, .. }) => Ok(Self::Busy(holder)),
            Err(error) => Err(error),
        }
    }

    /// The guard, if it was not busy.
    pub fn guard(self) -> Option<G> {
        match self {
            Self::Locked(guard) => Some(guard),
            Self::Busy(_) => None,
        }
    }
}

impl<W> Lock<W> {
    pub(crate) fn new(ward: Arc<Ward>, wish: Wish) -> Self {
        Self {
            ward,
            wish,
            settings: Box::default(),
            wait: Wait::default(),
            kind: PhantomData,
        }
    }

    /// For this owner: what people read about the holder. The guard gets a session of its own, which
    /// begins with the owner's, so two guards of one owner exclude each other. Default:
    /// [`current_owner`](crate::current_owner()).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.settings.owner = Some(owner);
        self
    }

    /// How soon the mutex is free again after this process has died or was cut off: whole seconds.
    /// It is kept alive three times as often. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// Attaches the hold to this process's database session: if the process dies, the hold is over
    /// at once, and there are no heartbeats. A process that is stopped keeps its session; a
    /// [`timeout`](Self::timeout) or a [`max_hold`](Self::max_hold) beside this bounds that.
    ///
    /// The session is lost, and every such hold with it, when its connection breaks or the server
    /// restarts. It needs a connection straight to PostgreSQL
    /// ([`direct_url`](crate::MutexesBuilder::direct_url)); [`Error::NoSession`] says if there is none.
    pub fn attached(mut self) -> Self {
        self.settings.attached = true;
        self
    }

    /// Over when this moment has passed on the database's clock, and not kept alive.
    pub fn deadline(self, deadline: DateTime<Utc>) -> Self {
        self.auto_release(AutoRelease::Deadline(deadline))
    }

    /// Under this rule. Only a timeout is kept alive.
    pub fn auto_release(mut self, rule: AutoRelease) -> Self {
        self.settings.rule = Some(rule);
        self
    }

    /// Kept alive for this long at most: then the guard says that the hold is lost, and the rule
    /// ends it. It bounds a holder that hangs.
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.settings.max_hold = Some(max_hold);
        self
    }

    /// Free text for people, up to 65,536 bytes.
    pub fn status_data(mut self, status_data: impl Into<String>) -> Self {
        self.settings.status_data = Some(status_data.into());
        self
    }

    /// Says that this guard is kept until the lock is had: whoever waits for its mutex waits for
    /// this lock too, and a circle of such waits is refused with [`Error::WaitCircle`]. Inside of
    /// [`Guard::with`] and [`Guard::run_until_lost`] it is known without being said.
    pub fn while_holding(mut self, guard: &Guard) -> Self {
        self.settings.while_holding.push(guard.fencing_token());
        self
    }

    /// The same for a hold without a guard.
    pub fn while_holding_token(mut self, token: FencingToken) -> Self {
        self.settings.while_holding.push(token);
        self
    }

    /// The same, waiting as it is told here.
    pub(crate) fn waiting(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Boxed, so that what was said is gone while the future waits.
    async fn acquire(self: Box<Self>) -> Result<Guard> {
        let (ward, settings, acquired) = (*self).begin()?;
        only(Guard::all(&ward, acquired.await?, &settings))
    }

    fn begin(self) -> Result<Begun<impl Future<Output = Result<Acquired>> + Send + use<W>>> {
        self.settings.check()?;
        self.wish.access.check()?;
        let ward = self.ward.anchored();
        let asker = Asker {
            ids: vec![self.wish.id.clone()],
            owner: self.settings.holder(),
            is_its_own: true,
        };
        let settings = Arc::new(*self.settings);
        let request = request(vec![self.wish], &settings, &asker.owner, self.wait);
        let acquired = acquire(&ward, asker, request, self.wait);
        Ok((ward, settings, acquired))
    }
}

/// What is asked for, each time it is asked.
pub(super) fn request(
    wishes: Vec<Wish>,
    settings: &Arc<Settings>,
    owner: &MutexOwner,
    wait: Wait,
) -> Request {
    let mut while_holding = held_here();
    while_holding.extend(&settings.while_holding);
    let shared = Arc::new((wishes, Arc::clone(settings), owner.clone(), while_holding));
    Arc::new(move |backend| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let (wishes, settings, owner, while_holding) = &*shared;
            let mut captures = Vec::with_capacity(wishes.len());
            let mut attachments = Vec::with_capacity(wishes.len());
            for wish in wishes {
                let (capture, attachment) = settings.capture(&*backend, wish, owner).await?;
                captures.push(capture);
                attachments.push(attachment);
            }
            let request = CaptureAllRequest {
                captures,
                wait: wait != Wait::Not,
                while_holding: while_holding.clone(),
            };
            Ok((request, attachments))
        })
    })
}

fn only(guards: Vec<Guard>) -> Result<Guard> {
    guards.into_iter().next().ok_or(Error::Protocol {
        operation: "capture",
        reason: "no hold for one mutex".to_owned(),
    })
}

impl Lock<Waiting> {
    /// Waits for this long at most, then [`Error::Timeout`]. Default: for ever.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Wait::AtMost(wait);
        self
    }

    /// Waits, runs work with the guard, and releases: see [`Guard::with`].
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
    /// # let id = pgmutex::MutexId::new("reports", "write", "2026-11")?;
    /// let token = mutexes.lock(&id).with(async |guard| guard.fencing_token()).await?;
    /// # let _ = token;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of waiting; what the work gives is given back as it is.
    pub async fn with<T>(self, work: impl AsyncFnOnce(&Guard) -> T) -> Result<T> {
        let guard = self.await?;
        Ok(guard.with(work).await)
    }
}

impl IntoFuture for Lock<Waiting> {
    type Output = Result<Guard>;
    type IntoFuture = BackendFuture<'static, Guard>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(Box::new(self).acquire())
    }
}

impl IntoFuture for Lock<AtOnce> {
    type Output = Result<TryLocked>;
    type IntoFuture = BackendFuture<'static, TryLocked>;

    fn into_future(mut self) -> Self::IntoFuture {
        self.wait = Wait::Not;
        let lock = Box::new(self);
        Box::pin(async move { TryLocked::answer(lock.acquire().await) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, Lock, Waiting};
    use crate::guard::kept::KeptHold;

    fn future_of<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn one_who_waits_and_one_who_holds_need_little_room() {
        let waiting = future_of(Lock::<Waiting>::acquire);
        assert!(waiting <= 280, "{waiting} bytes to wait");
        let held = size_of::<Guard>() + size_of::<KeptHold>();
        assert!(held <= 512, "{held} bytes to hold");
    }
}
