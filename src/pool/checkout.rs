use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    SessionPool,
    check::{check_collection, check_filter, read_payload},
    gate::{Gate, Terms},
};
use crate::{
    backend::BackendFuture,
    domain::{
        Error, FencingToken, MutexOwner, Period, PooledSession, Released, Result, SessionFilter,
        Wish,
    },
    guard::{Guard, Lock, Wait, Waiting},
};

/// A checkout in the making: say more, then await it. See [`SessionPool::checkout`].
///
/// Cancel safety: dropping the future leaves the line and gives back what it may have got.
#[must_use = "a checkout does nothing until it is awaited"]
pub struct Checkout<'a, T = Value> {
    pool: &'a SessionPool<T>,
    refine: Vec<Box<dyn FnOnce(Lock) -> Lock + Send + 'a>>,
    count_use: u64,
    next_use_delay: Option<Period>,
    filter: SessionFilter,
    wait: Wait,
}

impl<T> fmt::Debug for Checkout<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout")
            .field("collection", &self.pool.collection())
            .field("filter", &self.filter)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<'a, T> Checkout<'a, T> {
    pub(super) fn new(pool: &'a SessionPool<T>) -> Self {
        Self {
            pool,
            refine: Vec::new(),
            count_use: 1,
            next_use_delay: None,
            filter: pool.default_filter().clone(),
            wait: Wait::Not,
        }
    }

    fn refine(mut self, more: impl FnOnce(Lock) -> Lock + Send + 'a) -> Self {
        self.refine.push(Box::new(more));
        self
    }

    /// Waits for this long at most, in a fair line, then [`Error::NoneAvailable`]. Whoever waits is
    /// woken when a session is given back, when its `next_use` passes, or when it is added.
    /// Those who wait with one and the same filter are served first come, first served. Default: not at
    /// all.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Wait::AtMost(wait);
        self
    }

    /// Waits for as long as it takes.
    pub fn wait_forever(mut self) -> Self {
        self.wait = Wait::Forever;
        self
    }

    /// Only sessions that this filter lets through, beside the pool's default filter.
    pub fn filter(mut self, filter: SessionFilter) -> Self {
        self.filter = self.filter.and(filter);
        self
    }

    /// As how many uses it counts. Default: 1.
    pub fn count_use(mut self, count_use: u64) -> Self {
        self.count_use = count_use;
        self
    }

    /// For how long it is not to be used again, from now on, though it may be given back earlier.
    /// Default: the pool's.
    pub fn next_use_delay(mut self, delay: impl Into<Period>) -> Self {
        self.next_use_delay = Some(delay.into());
        self
    }

    /// As [`Lock::owner`].
    pub fn owner(self, owner: MutexOwner) -> Self {
        self.refine(|lock| lock.owner(owner))
    }

    /// As [`Lock::timeout`]: how soon the session is free again after this process has died.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.refine(move |lock| lock.timeout(timeout))
    }

    /// As [`Lock::attached`]: the session is free again when this process's database session is
    /// gone.
    pub fn attached(self) -> Self {
        self.refine(Lock::attached)
    }

    /// As [`Lock::max_hold`].
    pub fn max_hold(self, max_hold: Duration) -> Self {
        self.refine(move |lock| lock.max_hold(max_hold))
    }

    /// As [`Lock::status_data`].
    pub fn status_data(self, status_data: impl Into<String>) -> Self {
        let status_data = status_data.into();
        self.refine(|lock| lock.status_data(status_data))
    }
}

impl<'a, T: DeserializeOwned + Send + Sync> Checkout<'a, T> {
    async fn run(self) -> Result<CheckedOutSession<T>> {
        check_collection(self.pool.collection())?;
        check_filter(&self.filter)?;
        let delay = self.next_use_delay.unwrap_or(self.pool.next_use_delay());
        let terms = Terms {
            collection: self.pool.collection().to_owned(),
            count_use: self.count_use,
            next_use_delay: delay.in_seconds("next_use_delay")?,
            filter: self.filter,
        };
        let (store, ward) = self.pool.place()?;
        let gate = Arc::new(Gate::new(terms, store, Arc::clone(&ward.backend))?);
        let through_the_gate = ward.behind(gate.clone());
        let lock: Lock<Waiting> =
            Lock::new(through_the_gate, Wish::new(gate.id().clone())).waiting(self.wait);
        let lock = self.refine.into_iter().fold(lock, |lock, more| more(lock));
        let collection = self.pool.collection();
        let guard = lock.await.map_err(|error| match error {
            Error::Timeout { waited, .. } => Error::NoneAvailable {
                collection: collection.to_owned(),
                waited,
            },
            error => error,
        })?;
        let Some(session) = gate.session() else {
            // The guard gives it back.
            return Err(Error::Protocol {
                operation: "checkout",
                reason: "a lease without a session".to_owned(),
            });
        };
        Ok(CheckedOutSession {
            session: session.with_payload(read_payload)?,
            pool: self.pool.untyped(),
            guard,
        })
    }
}

impl<'a, T: DeserializeOwned + Send + Sync + 'a> IntoFuture for Checkout<'a, T> {
    type Output = Result<CheckedOutSession<T>>;
    type IntoFuture = BackendFuture<'a, CheckedOutSession<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A session that is leased: nobody else gets it until it is given back, by
/// [`give_back`](Self::give_back), by [`block`](Self::block), or by dropping this (as a best
/// effort), or until its worker has died. It is kept alive in the background like any
/// [`Guard`].
#[derive(Debug)]
#[must_use = "a session that is dropped is given back"]
pub struct CheckedOutSession<T = Value> {
    session: PooledSession<T>,
    pool: SessionPool<Value>,
    guard: Guard,
}

impl<T> CheckedOutSession<T> {
    /// The session, as it was when it was taken.
    pub fn session(&self) -> &PooledSession<T> {
        &self.session
    }

    /// What workers need of it.
    pub fn payload(&self) -> &T {
        &self.session.payload
    }

    /// The lease: whether it is lost, its token, and transactions fenced with it.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Larger for each later lease of this session.
    pub fn fencing_token(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// Returns when the lease is lost: see [`Guard::lost`]. Cancel safe.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<T> {
        self.guard.lost()
    }

    /// Counts successes. The lease stays.
    ///
    /// # Errors
    /// [`Error::UnknownSession`] if the lease is lost, or the session deleted;
    /// [`Error::OutcomeUnknown`] is not repeated: it would count twice.
    pub async fn success(&self, count_success: u64) -> Result<()> {
        let token = Some(self.fencing_token());
        self.pool
            .count_success(self.session.id, count_success, None, token)
            .await
            .map(drop)
    }

    /// Gives the session back, not to be used before this period has passed.
    ///
    /// # Errors
    /// [`Error::UnknownSession`] if the lease is lost; then nothing is locked. Those of
    /// [`give_back`](Self::give_back).
    ///
    /// Cancel safety: the session is given back however far this came.
    pub async fn lock(self, period: impl Into<Period>) -> Result<Released> {
        let (id, token) = (self.session.id, Some(self.fencing_token()));
        self.pool.lock_for(id, period.into(), token).await?;
        self.give_back().await
    }

    /// Gives the session back, not to be used before a long period has passed.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn block(self, period: impl Into<Period>) -> Result<Released> {
        let (id, token) = (self.session.id, Some(self.fencing_token()));
        self.pool.block_for(id, period.into(), token).await?;
        self.give_back().await
    }

    /// Gives the session back: see [`Guard::release`].
    ///
    /// # Errors
    /// As [`Guard::release`].
    pub async fn give_back(self) -> Result<Released> {
        self.guard.release().await
    }
}
