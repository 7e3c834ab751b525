//! The face of the library: where backends, routes and rules are put together, and the verbs are
//! called.

mod audit;
mod builder;
mod capture;
mod capture_all;
mod diagnose;
mod each;
mod in_transaction;
mod m3_mutex;
mod migrating;
mod refresh;
mod release;
mod roles;
mod routes;
mod statistics;
mod tree;

use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use builder::MutexesBuilder;
pub use capture::Capture;
pub use capture_all::CaptureAll;
pub use each::{CaptureEach, ReleaseEach};
pub use in_transaction::InTransaction;
pub use refresh::Refresh;
pub use release::{ForceRelease, Release};
pub use tree::{Tree, TreePath};

use crate::rules::{MadeWay, Rules};
use crate::{
    backend::{CaptureRequest, MutexBackend, ReleasedEach, SessionStore, StateRequest},
    current_owner::current_owner,
    domain::{
        Access, Error, Mutex, MutexId, MutexOwner, MutexQuery, MutexState, Page, Result, Waiter,
        WaiterQuery, Wish,
    },
    guard::{self, Guard, GuardParts, Leader, Lock, LockAll, TryLock, TryLockAll, Ward},
    postgres::{Pool, PostgresBackend, Transaction},
};
use capture_all::Place;
use routes::Routes;

/// The mutexes of an application: the way in to everything else. Cheap to clone; clones share
/// everything.
///
/// ```no_run
/// # async fn example(url: &str) -> Result<(), pgmutex::Error> {
/// use std::time::Duration;
/// use pgmutex::{MutexId, MutexOwner, Mutexes};
///
/// let mutexes = Mutexes::connect(url).await?;
/// mutexes.migrate().await?;
///
/// let me = MutexOwner::new("session-3f9c")?.with_name("Ada")?;
/// let document = MutexId::new("orders", "edit", "42")?;
///
/// let mutex = mutexes.capture(&document).owner(me.clone()).timeout(Duration::from_secs(300)).await?;
/// println!("token {}, until {:?}", mutex.fencing_token, mutex.expires_at);
/// mutexes.release(&document).owner(me).await?;
/// # Ok(())
/// # }
/// ```
///
/// Every verb is one call of one SQL function: one round trip and one commit. Calls that name no
/// owner use [`current_owner`](crate::current_owner()).
///
/// Times are measured with tokio's timer: the runtime must have it enabled, as `#[tokio::main]`
/// does.
///
/// Cancel safety: dropping a call's future leaves no transaction open. Its request may still be
/// carried out; a hold that comes of it lasts until its rule ends it, or until the same owner
/// captures or releases again.
#[derive(Clone, Debug)]
pub struct Mutexes {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    postgres: Option<PostgresBackend>,
    routes: Routes,
    rules: Arc<Rules>,
}

impl Mutexes {
    /// Connects to the database with the default settings, in schema `pgmutex`. See
    /// [`pool_for_url`](crate::pool_for_url) for what the URL may say.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`]; [`Error::Unavailable`] if the database cannot be reached;
    /// [`Error::SchemaVersion`] if a newer version of this library has migrated it. A schema
    /// that is not there yet is no error: [`migrate`](Self::migrate) makes it.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder().connect(url).await
    }

    /// Uses a pool that the application already has, with the default settings, in schema
    /// `pgmutex`. Nothing is sent yet: call [`migrate`](Self::migrate) or
    /// [`verify`](Self::verify) once at the start.
    pub fn new(pool: Pool) -> Self {
        Self::builder().pool(pool)
    }

    /// Begins with another schema, other settings, rules or backends.
    pub fn builder() -> MutexesBuilder {
        MutexesBuilder::default()
    }

    /// Captures a mutex, or refreshes the hold that the owner already has. Await it, after saying
    /// more if need be.
    ///
    /// # Errors
    /// [`Error::Busy`] with the holder if another has it; an error that says so for anything else.
    pub fn capture(&self, wish: impl Into<Wish>) -> Capture<'_> {
        let wish = wish.into();
        let (backend, ward) = (self.backend(&wish.id), self.ward(&wish.id));
        Capture::new(backend, &self.parts.rules, wish).able_to_wait(ward)
    }

    /// Makes the time of a hold start again. Unlike [`capture`](Self::capture) it never captures.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold is gone, [`Error::Busy`] if another has the mutex by now.
    pub fn refresh(&self, id: &MutexId) -> Refresh<'_> {
        Refresh::new(self.backend(id), id)
    }

    /// Gives a mutex back. Unless a [`token`](Release::token) says which hold is meant, the owner's
    /// place in the mutex's line, if it has one, is given up too.
    ///
    /// # Errors
    /// [`Error::Busy`] if another holds it, or if a fenced write of this holder is still under way.
    pub fn release(&self, id: &MutexId) -> Release<'_> {
        Release::new(self.backend(id), id)
    }

    /// Captures several mutexes for one owner, all or none, whatever the order in which they are
    /// named: no two such calls can wait for each other. What the owner has already is refreshed.
    /// The holds are in the order of the ids.
    ///
    /// # Errors
    /// [`Error::Busy`] with the first holder in the way; then nothing was captured.
    /// [`Error::InvalidInput`] if a mutex is named twice, or if they are not all kept in one backend;
    /// [`Error::Refused`] if they are more than 1,000.
    pub fn capture_all(
        &self,
        wishes: impl IntoIterator<Item = impl Into<Wish>>,
    ) -> CaptureAll<'static> {
        let wishes: Vec<Wish> = wishes.into_iter().map(Into::into).collect();
        let ward = self.common_ward(wishes.iter().map(|wish| &wish.id));
        CaptureAll::new(Place::Ward(ward), wishes)
    }

    /// Captures many mutexes, each for itself, in one round trip and one commit for each 1,000. The
    /// outcomes are in the order of the ids: a capture, or [`Error::Busy`] with the holder.
    ///
    /// # Errors
    /// Any other error is the answer to all of its 1,000: nothing of them was captured, or, if it is
    /// [`Error::OutcomeUnknown`], perhaps all. What was captured before them is still held; the same
    /// call for the same owner refreshes it, and goes on. A mutex that is to be captured once more,
    /// because a custom rule has ended the hold in its way, can have an error of its own.
    pub fn capture_each(
        &self,
        wishes: impl IntoIterator<Item = impl Into<Wish>>,
    ) -> CaptureEach<'_> {
        let wishes = wishes.into_iter().map(Into::into);
        CaptureEach::new(
            wishes
                .map(|wish: Wish| (self.backend(&wish.id), wish))
                .collect(),
            &self.parts.rules,
        )
    }

    /// Gives many mutexes back, each for itself, in one round trip and one commit for each 1,000.
    /// The outcomes are in the order of the ids.
    ///
    /// # Errors
    /// Any error is the answer to all of its 1,000: nothing of them was released, or, if it is
    /// [`Error::OutcomeUnknown`], perhaps all. What was given back before them is: the same call
    /// answers "not held" to it, and goes on.
    pub fn release_each<'i>(&self, ids: impl IntoIterator<Item = &'i MutexId>) -> ReleaseEach<'_> {
        let places = ids.into_iter().map(|id| (self.backend(id), id.clone()));
        ReleaseEach::new(places.collect())
    }

    /// Releases everything that an owner holds, in all backends, and gives up every place it has in
    /// a line. What a fenced write keeps is answered as busy.
    ///
    /// It goes on in steps of 1,000 mutexes. If a connection breaks in one of them, the step is
    /// repeated, and what it had released already is not among the answers.
    ///
    /// # Errors
    /// [`Error::Contended`], [`Error::Unavailable`], [`Error::OutcomeUnknown`]: what was released by
    /// then stays so; the same call goes on.
    ///
    /// Cancel safety: dropping the future has the same effect. The step under way may still be
    /// carried out.
    pub async fn release_owner(&self, owner: &MutexOwner) -> Result<Vec<ReleasedEach>> {
        let routes = &self.parts.routes;
        let mut released = routes.default().release_owner(owner).await?;
        for backend in routes.routed() {
            released.extend(if_any(backend.release_owner(owner).await)?);
        }
        Ok(released)
    }

    /// Waits in line for a mutex, and gives a guard that keeps it alive until it is released or
    /// dropped.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
    /// # use std::time::Duration;
    /// # let id = pgmutex::MutexId::new("reports", "write", "2026-11")?;
    /// let guard = mutexes.lock(&id).wait(Duration::from_secs(10)).await?;
    /// // … as long as it takes …
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Whoever came first is served first; also a capture that does not wait cannot pass. The guard
    /// is an owner of its own: two guards exclude each other, whoever they are for.
    ///
    /// # Errors
    /// [`Error::Timeout`] if it took longer than [`wait`](Lock::wait) allows;
    /// [`Error::WaitCircle`] if it could never come to an end; those of
    /// [`capture`](Self::capture), except for [`Error::Busy`].
    pub fn lock(&self, wish: impl Into<Wish>) -> Lock {
        self.lock_with(wish, Access::Exclusive)
    }

    /// As [`lock`](Self::lock), without waiting: that it is busy is an answer.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
    /// # let id = pgmutex::MutexId::new("reports", "write", "2026-11")?;
    /// use pgmutex::TryLocked;
    ///
    /// match mutexes.try_lock(&id).await? {
    ///     TryLocked::Locked(guard) => guard.with(async |_| println!("mine")).await,
    ///     TryLocked::Busy(holder) => println!("{} has it", holder.owner),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock) that are not about waiting.
    pub fn try_lock(&self, wish: impl Into<Wish>) -> TryLock {
        self.lock_with(wish, Access::Exclusive)
    }

    /// Shares a mutex with other readers: a read/write lock's reader. Readers that come after a
    /// writer in line wait for it.
    pub fn read(&self, wish: impl Into<Wish>) -> Lock {
        self.lock_with(wish, Access::shared())
    }

    /// As [`read`](Self::read), without waiting.
    pub fn try_read(&self, wish: impl Into<Wish>) -> TryLock {
        self.lock_with(wish, Access::shared())
    }

    /// Has a mutex alone: a read/write lock's writer. Another name for [`lock`](Self::lock).
    pub fn write(&self, wish: impl Into<Wish>) -> Lock {
        self.lock(wish)
    }

    /// Takes one of this many permits: a counting semaphore. All who use it should say the same
    /// number; if they do not, the smallest that one of the holders or the asker says counts.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock); [`Error::InvalidInput`] for no permits at all.
    pub fn acquire(&self, wish: impl Into<Wish>, permits: u32) -> Lock {
        self.lock_with(wish, Access::permit_of(permits))
    }

    /// As [`acquire`](Self::acquire), without waiting.
    pub fn try_acquire(&self, wish: impl Into<Wish>, permits: u32) -> TryLock {
        self.lock_with(wish, Access::permit_of(permits))
    }

    /// Locks several mutexes, all or none, in whatever order they are named: no two such calls can
    /// wait for each other. It stands in all lines with one ticket, and holds nothing while it waits.
    /// The guards are in the order of the ids.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
    /// use pgmutex::{Access, MutexId};
    ///
    /// let (from, to) = (MutexId::new("bank", "account", "1")?, MutexId::new("bank", "account", "2")?);
    /// let guards = mutexes.lock_all([(&from, Access::Exclusive), (&to, Access::Exclusive)]).await?;
    /// # drop(guards);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock); [`Error::InvalidInput`] if a mutex is named twice, or if they
    /// are not all kept in one backend; [`Error::Refused`] if they are more than 1,000.
    pub fn lock_all(&self, wishes: impl IntoIterator<Item = impl Into<Wish>>) -> LockAll {
        let wishes: Vec<Wish> = wishes.into_iter().map(Into::into).collect();
        LockAll::new(self.common_ward(wishes.iter().map(|wish| &wish.id)), wishes)
    }

    /// As [`lock_all`](Self::lock_all), without waiting: that one of them is busy is an answer, with
    /// a hold that is in the way, and then none of them is held.
    ///
    /// # Errors
    /// Those of [`lock_all`](Self::lock_all) that are not about waiting.
    pub fn try_lock_all(&self, wishes: impl IntoIterator<Item = impl Into<Wish>>) -> TryLockAll {
        let wishes: Vec<Wish> = wishes.into_iter().map(Into::into).collect();
        LockAll::new(self.common_ward(wishes.iter().map(|wish| &wish.id)), wishes)
    }

    /// Runs a task in one process at a time, of all that want to: see [`Leader::run`].
    pub fn leader(&self, id: &MutexId) -> Leader {
        let (ward, wish) = (self.ward(id), Wish::from(id));
        Leader::new(move || Lock::new(Arc::clone(&ward), wish.clone()))
    }

    /// Puts a guard on a hold whose guard was [taken off](Guard::into_parts), in this process or
    /// another, and keeps it alive from now on. Two processes must not adopt the same hold: neither
    /// would know of the other.
    ///
    /// Cancel safety: dropping the future leaves the hold without a guard; its time may have started
    /// again, and one that is attached may be attached to this process by then.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold is over or gone. [`Error::NoSession`] if it is attached and there
    /// can be no session here: it stays. [`Error::OutcomeUnknown`] if the connection broke
    /// while it was being attached to this process: it is released then.
    pub async fn adopt(&self, parts: GuardParts) -> Result<Guard> {
        guard::adopt(self.ward(&parts.id), parts).await
    }

    /// Says how a mutex stands towards the current owner. A hold that is over is removed and counts
    /// as free.
    ///
    /// # Errors
    /// [`Error::Contended`] if something that is over cannot be removed because another transaction
    /// has been deciding about the mutex for 5 seconds; [`Error::Unavailable`],
    /// [`Error::OutcomeUnknown`]: ask again.
    ///
    /// Cancel safe.
    pub async fn request(&self, id: &MutexId) -> Result<MutexState> {
        self.request_by(id, &current_owner()).await
    }

    /// Says how a mutex stands towards this owner.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_by(&self, id: &MutexId, owner: &MutexOwner) -> Result<MutexState> {
        request(self.backend(id), &self.parts.rules, id, owner).await
    }

    /// The hold that [`capture`](Self::capture) would be refused for at this moment, or `None`: of a
    /// tree's path it may be one of a path above or below. With token 0 it is somebody who waits and
    /// came before. Nothing is changed; by the time of the answer it may have become another.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like.
    pub async fn holder_in_the_way(
        &self,
        wish: impl Into<Wish>,
        owner: &MutexOwner,
    ) -> Result<Option<Mutex>> {
        let Wish { id, access, reach } = wish.into();
        access.check()?;
        let backend = self.backend(&id);
        let request = CaptureRequest {
            id: id.clone(),
            owner: owner.clone(),
            access,
            reach,
            auto_release: None,
            status_data: None,
        };
        let found = backend.holder_in_the_way(&request).await?;
        let is_over = |mutex: &Mutex| self.parts.rules.have_ended(mutex, found.at);
        Ok(found.value.filter(|mutex| !is_over(mutex)))
    }

    /// Lists those who wait, ordered by mutex and place in line. A query that names a group asks the
    /// backend of that group, any other the default one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like.
    pub async fn waiters(&self, query: &WaiterQuery) -> Result<Vec<Waiter>> {
        let group = query.group.as_deref().unwrap_or_default();
        self.parts.routes.of_group(group).waiters(query).await
    }

    /// A tree of resources: whoever holds a path may keep others from the paths above and below.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
    /// let board = mutexes.tree("lab").path(["rack1", "board3"])?;
    /// let guard = board.lock().await?;
    /// // Nobody can have rack1 now, nor anything on board3; board4 is free.
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tree(&self, name: impl Into<String>) -> Tree {
        Tree::new(self.clone(), name.into())
    }

    /// Lists holds. A query that names a group asks the backend of that group, any other the
    /// default one. A standby may be asked, too.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`]: ask again. [`Error::NotMigrated`].
    ///
    /// Cancel safe.
    pub async fn list(&self, query: &MutexQuery) -> Result<Page> {
        self.parts.routes.of_query(query).list(query).await
    }

    /// Counts the holds that fit the query's filters, whatever its page says. The cost grows with
    /// their number.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn count(&self, query: &MutexQuery) -> Result<u64> {
        self.parts.routes.of_query(query).count(query).await
    }

    /// The time of the clock that decides when a hold is over: the database's. How long a hold will
    /// last is its [`expires_at`](Mutex::expires_at) minus this, not minus the time of this machine.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    ///
    /// Cancel safe.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        self.parts.routes.of_group("").now().await
    }

    /// Takes a mutex away from whoever holds it. The reason (at most 1,600 bytes) and the database
    /// role go to the server's log, and into the [audit](Self::enable_audit) if it is on. The holder
    /// is not told: a refresh will say [`Error::Lost`].
    ///
    /// # Errors
    /// [`Error::Busy`] while the holder writes behind its fence. [`Error::OutcomeUnknown`] if the
    /// connection breaks: it is repeated only with a [`token`](ForceRelease::token), because
    /// without one it might hit whoever has captured the mutex since.
    pub fn force_release(&self, id: &MutexId, reason: impl Into<String>) -> ForceRelease<'_> {
        ForceRelease::new(self.backend(id), id, reason.into())
    }

    /// Removes holds that are over, those under registered custom rules included, and says how
    /// many. Correctness does not need it (a hold that is over stops nobody): call it now and
    /// then to keep the table small.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`], [`Error::ReadOnly`]: what was removed by
    /// then stays so; the same call goes on.
    ///
    /// Cancel safe, in the same way.
    pub async fn sweep(&self) -> Result<u64> {
        let (routes, rules) = (&self.parts.routes, &self.parts.rules);
        let mut swept = routes.default().sweep().await?;
        swept += rules.sweep(routes.default()).await?;
        for backend in routes.routed() {
            swept += if_any(backend.sweep().await)?;
            swept += if_any(rules.sweep(backend).await)?;
        }
        Ok(swept)
    }

    /// Waits until all is given back that guards and waits have left behind which were dropped: call
    /// it before the process ends, after the last guard is gone. It waits for locks that are still
    /// waited for, too. What is not given back lasts until its rule ends it.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes, guard: pgmutex::Guard) {
    /// drop(guard);
    /// mutexes.shutdown().await;
    /// # }
    /// ```
    pub async fn shutdown(&self) {
        self.parts.routes.ward("").background.done().await;
    }

    /// Returns when also the connections of the background thread are closed, a moment after the last
    /// clone of these mutexes is gone: what this returns is none.
    #[cfg(all(unix, feature = "cli", feature = "server", feature = "private-server"))]
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.parts.routes.ward("").background.ended()
    }

    /// The verbs inside a transaction of the caller's: what they do commits or rolls back with
    /// the caller's own data. The transaction must be read committed.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes, client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// # let id = pgmutex::MutexId::new("orders", "edit", "42")?;
    /// let transaction = client.transaction().await?;
    /// mutexes.in_transaction(&transaction).capture(&id).await?;
    /// transaction.execute("insert into journal values ('captured')", &[]).await?;
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_transaction<'a>(&'a self, transaction: &'a Transaction<'a>) -> InTransaction<'a> {
        InTransaction::new(self, transaction)
    }

    fn lock_with<W>(&self, wish: impl Into<Wish>, access: Access) -> Lock<W> {
        let wish = Wish {
            access,
            ..wish.into()
        };
        Lock::new(self.ward(&wish.id), wish)
    }

    /// Where pools of sessions are kept, and what their leases need.
    pub(crate) fn pools(&self) -> Result<(Arc<dyn SessionStore>, Arc<Ward>)> {
        let store = self.postgres()?.clone();
        Ok((Arc::new(store), Arc::clone(self.parts.routes.ward(""))))
    }

    /// For what only PostgreSQL has.
    fn postgres(&self) -> Result<&PostgresBackend> {
        let postgres = self.parts.postgres.as_ref();
        postgres.ok_or_else(|| Error::Unavailable {
            source: "there is no PostgreSQL behind these mutexes".into(),
        })
    }

    fn backend(&self, id: &MutexId) -> &dyn MutexBackend {
        self.parts.routes.of_group(id.group())
    }

    fn ward(&self, id: &MutexId) -> Arc<Ward> {
        Arc::clone(self.parts.routes.ward(id.group()))
    }

    /// The ward of several mutexes, which must be kept in one backend: only there they can be
    /// captured together.
    fn common_ward<'i>(&self, ids: impl Iterator<Item = &'i MutexId>) -> Result<Arc<Ward>> {
        let mut common: Option<Arc<Ward>> = None;
        for id in ids {
            let ward = self.ward(id);
            match &common {
                Some(first) if !Arc::ptr_eq(&first.backend, &ward.backend) => {
                    return Err(Error::InvalidInput {
                        field: "ids",
                        reason: format!("{id} is kept in another backend than the first one"),
                    });
                }
                Some(_) => {}
                None => common = Some(ward),
            }
        }
        match common {
            Some(ward) => Ok(ward),
            None => Ok(self.ward(&MutexId::from_row("", "", ""))),
        }
    }
}

/// What was done in one of many backends: nothing in one that keeps mutexes for each request, where
/// none is being served.
fn if_any<T: Default>(answer: Result<T>) -> Result<T> {
    match answer {
        Err(Error::OutsideScope) => Ok(T::default()),
        answer => answer,
    }
}

async fn request(
    backend: &dyn MutexBackend,
    rules: &Rules,
    id: &MutexId,
    owner: &MutexOwner,
) -> Result<MutexState> {
    let request = StateRequest {
        id: id.clone(),
        owner: owner.clone(),
    };
    let mut made_way = MadeWay::default();
    loop {
        let state = backend.request(&request).await?;
        let goes_on = match state.value.mutex() {
            Some(mutex) => {
                rules
                    .make_way(backend, mutex, state.at, &mut made_way)
                    .await?
            }
            None => false,
        };
        if !goes_on {
            return Ok(state.value);
        }
    }
}
