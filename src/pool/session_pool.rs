use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    Checkout, GetSession, SessionUpdate,
    check::{check_collection, check_filter, read_payload, senseless},
    settings::Settings,
};
use crate::{
    backend::{PoolAnswer, PoolCall, PoolRequest, SessionStore},
    domain::{
        Error, FencingToken, Period, PoolStatistics, PooledSession, Result, SessionFilter,
        check_json,
    },
    guard::Ward,
    mutexes::Mutexes,
};

/// A pool of sessions that many workers share.
///
/// `T` is what workers need of a session: any type that serde writes as a JSON object.
///
/// ```no_run
/// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
/// use pgmutex::SessionPool;
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// struct Account {
///     login: String,
///     password: String,
/// }
///
/// let accounts: SessionPool<Account> = SessionPool::new(&mutexes, "accounts");
/// let account = accounts.checkout().wait(Duration::from_secs(10)).await?;
/// println!("working as {}", account.payload().login);
/// account.success(1).await?;
/// account.give_back().await?;
/// # Ok(())
/// # }
/// ```
///
/// A session is *ready* if it is active, its `next_use` has passed and nobody leases it. Of those the
/// one that was never used, or was unused for longest, comes next. (If more than 1,000 become ready
/// between two calls, the later ones among them are counted from the calls after that on.)
///
/// Cheap to clone. All its calls are the SQL functions `pool_…`, one call and one commit each.
///
/// Cancel safety: as with [`Mutexes`], what had been sent when a future is dropped may still be
/// carried out.
pub struct SessionPool<T = Value> {
    mutexes: Mutexes,
    collection: Arc<str>,
    settings: Arc<Settings>,
    payload: PhantomData<fn() -> T>,
}

impl<T> Clone for SessionPool<T> {
    fn clone(&self) -> Self {
        Self {
            mutexes: self.mutexes.clone(),
            collection: Arc::clone(&self.collection),
            settings: Arc::clone(&self.settings),
            payload: PhantomData,
        }
    }
}

impl<T> fmt::Debug for SessionPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionPool")
            .field("collection", &self.collection)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<T> SessionPool<T> {
    /// The pool with this name. Nothing is sent: a pool is there as soon as it has a session.
    pub fn new(mutexes: &Mutexes, collection: impl Into<String>) -> Self {
        Self {
            mutexes: mutexes.clone(),
            collection: collection.into().into(),
            settings: Arc::default(),
            payload: PhantomData,
        }
    }

    /// The same client, with the same settings, on another pool.
    pub fn switch_collection(&self, collection: impl Into<String>) -> Self {
        Self {
            collection: collection.into().into(),
            ..self.clone()
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// For how long [`session_lock`](Self::session_lock) locks. Default: 10 minutes.
    pub fn with_lock_time(self, period: impl Into<Period>) -> Self {
        self.set(|settings| settings.lock_time = period.into())
    }

    /// For how long [`session_block`](Self::session_block) locks. Default: a day.
    pub fn with_block_time(self, period: impl Into<Period>) -> Self {
        self.set(|settings| settings.block_time = period.into())
    }

    /// For how long a session that was taken is not to be used again. Default: 3 s.
    pub fn with_next_use_delay(self, period: impl Into<Period>) -> Self {
        self.set(|settings| settings.next_use_delay = period.into())
    }

    /// What sessions must be like to be taken, counted or listed. Default: anything.
    pub fn with_default_filter(self, filter: SessionFilter) -> Self {
        self.set(|settings| settings.default_filter = filter)
    }

    /// The dotted paths of the payload that [`get_sessions`](Self::get_sessions) and
    /// [`find`](Self::find) give. Default: all of it.
    pub fn with_projection<S: Into<String>>(self, paths: impl IntoIterator<Item = S>) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        self.set(|settings| settings.projection = paths)
    }

    /// Longest that a call may take, other than a checkout that waits; then its outcome is unknown.
    /// Default: that of [`PostgresSettings`](crate::PostgresSettings).
    pub fn with_operation_timeout(self, limit: Duration) -> Self {
        self.set(|settings| settings.operation_timeout = Some(limit))
    }

    /// The name of the pool.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// For how long a session is locked if nothing else is said.
    pub fn lock_time(&self) -> Period {
        self.settings.lock_time
    }

    /// For how long a session is blocked if nothing else is said.
    pub fn block_time(&self) -> Period {
        self.settings.block_time
    }

    /// For how long a session that was taken is not to be used again.
    pub fn next_use_delay(&self) -> Period {
        self.settings.next_use_delay
    }

    /// What sessions must be like to be taken, counted or listed.
    pub fn default_filter(&self) -> &SessionFilter {
        &self.settings.default_filter
    }

    /// The paths of the payload that lists give.
    pub fn projection(&self) -> &[String] {
        &self.settings.projection
    }

    pub(super) fn untyped(&self) -> SessionPool<Value> {
        SessionPool {
            mutexes: self.mutexes.clone(),
            collection: Arc::clone(&self.collection),
            settings: Arc::clone(&self.settings),
            payload: PhantomData,
        }
    }

    pub(super) fn place(&self) -> Result<(Arc<dyn SessionStore>, Arc<Ward>)> {
        self.mutexes.pools()
    }

    pub(super) async fn ask(&self, call: PoolCall) -> Result<PoolAnswer> {
        self.ask_about(Some(self.collection.to_string()), call)
            .await
    }

    async fn ask_about(&self, collection: Option<String>, call: PoolCall) -> Result<PoolAnswer> {
        if let Some(collection) = &collection {
            check_collection(collection)?;
        }
        let (store, _) = self.place()?;
        let request = PoolRequest { collection, call };
        match self.settings.operation_timeout {
            None => store.pool(&request).await,
            Some(limit) => match timeout(limit, store.pool(&request)).await {
                Ok(answer) => answer,
                Err(elapsed) => Err(Error::OutcomeUnknown {
                    operation: "a call about a pool",
                    source: elapsed.into(),
                }),
            },
        }
    }

    async fn session_of(&self, id: i64, call: PoolCall) -> Result<PooledSession> {
        match self.ask(call).await? {
            PoolAnswer::Session(Some(session)) => Ok(*session),
            PoolAnswer::Session(None) => Err(Error::UnknownSession {
                collection: self.collection.to_string(),
                id,
            }),
            other => Err(senseless(&other)),
        }
    }

    pub(crate) async fn count_success(
        &self,
        id: i64,
        count: u64,
        next_use_delay: Option<Period>,
        token: Option<FencingToken>,
    ) -> Result<PooledSession> {
        let delay = next_use_delay.map(|delay| delay.in_seconds("next_use_delay"));
        let call = PoolCall::Success {
            id,
            count,
            next_use_delay: delay.transpose()?,
            token,
        };
        self.session_of(id, call).await
    }

    pub(crate) async fn lock_for(
        &self,
        id: i64,
        period: Period,
        token: Option<FencingToken>,
    ) -> Result<PooledSession> {
        let period = period.in_seconds("period")?;
        let call = PoolCall::Lock { id, period, token };
        self.session_of(id, call).await
    }

    pub(crate) async fn block_for(
        &self,
        id: i64,
        period: Period,
        token: Option<FencingToken>,
    ) -> Result<PooledSession> {
        let period = period.in_seconds("period")?;
        let call = PoolCall::Block { id, period, token };
        self.session_of(id, call).await
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync> SessionPool<T> {
    /// Leases the session that comes next: it stays with this worker until it is given back, or until
    /// the worker has died.
    ///
    /// # Errors
    /// [`Error::NoneAvailable`].
    pub fn checkout(&self) -> Checkout<'_, T> {
        Checkout::new(self)
    }

    /// Takes the session that comes next, without a lease: it is locked for a few seconds only, so
    /// that not all workers take the same one.
    ///
    /// # Errors
    /// [`Error::NoneAvailable`].
    pub fn get_session(&self) -> GetSession<'_, T> {
        GetSession {
            pool: self,
            count_use: 1,
            next_use_delay: self.settings.next_use_delay,
            request_id: None,
            filter: self.settings.default_filter.clone(),
        }
    }

    /// Counts successes, and with a delay locks the session for that long from now on.
    ///
    /// # Errors
    /// [`Error::UnknownSession`]. [`Error::OutcomeUnknown`] is not repeated: it would count twice.
    pub async fn session_success(
        &self,
        id: i64,
        count_success: u64,
        next_use_delay: Option<Period>,
    ) -> Result<PooledSession<T>> {
        let session = self
            .count_success(id, count_success, next_use_delay, None)
            .await?;
        session.with_payload(read_payload)
    }

    /// Keeps a session from being used for a while: this period, or the pool's
    /// [`lock_time`](Self::lock_time).
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub async fn session_lock(&self, id: i64, period: Option<Period>) -> Result<PooledSession<T>> {
        let period = period.unwrap_or(self.settings.lock_time);
        self.lock_for(id, period, None)
            .await?
            .with_payload(read_payload)
    }

    /// The same for long: this period, or the pool's [`block_time`](Self::block_time).
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub async fn session_block(&self, id: i64, period: Option<Period>) -> Result<PooledSession<T>> {
        let period = period.unwrap_or(self.settings.block_time);
        self.block_for(id, period, None)
            .await?
            .with_payload(read_payload)
    }

    /// Takes a session out of use, until somebody [activates](Self::session_activate) it.
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub async fn session_inactive(&self, id: i64) -> Result<PooledSession<T>> {
        let session = self.session_of(id, PoolCall::Inactive(id)).await?;
        session.with_payload(read_payload)
    }

    /// Puts a session into use again.
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub async fn session_activate(&self, id: i64) -> Result<PooledSession<T>> {
        let session = self.session_of(id, PoolCall::Activate(id)).await?;
        session.with_payload(read_payload)
    }

    /// Adds a session, ready to be used.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if it is no JSON object, contains NUL, or is larger than 1 MiB.
    /// [`Error::OutcomeUnknown`] is not repeated: it would add two.
    pub async fn add(&self, payload: &T) -> Result<PooledSession<T>> {
        let payload = serde_json::to_value(payload).map_err(|error| Error::InvalidInput {
            field: "payload",
            reason: format!("is not JSON: {error}"),
        })?;
        if !payload.is_object() {
            return Err(Error::InvalidInput {
                field: "payload",
                reason: "must be a JSON object".to_owned(),
            });
        }
        check_json("payload", &payload)?;
        match self.ask(PoolCall::Add(payload)).await? {
            PoolAnswer::Session(Some(session)) => session.with_payload(read_payload),
            other => Err(senseless(&other)),
        }
    }

    /// The same as [`add`](Self::add), under the name of the generic operation.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub async fn insert_one(&self, payload: &T) -> Result<PooledSession<T>> {
        self.add(payload).await
    }

    /// Changes a session's payload at some dotted paths.
    ///
    /// # Errors
    /// [`Error::UnknownSession`]; [`Error::InvalidInput`] or [`Error::Refused`] for a path that is
    /// none, leads through a value that is no object, or is named twice. Then nothing was changed.
    pub async fn session_update(&self, id: i64, update: SessionUpdate) -> Result<PooledSession<T>> {
        update.check()?;
        let SessionUpdate { set, unset } = update;
        let session = self
            .session_of(id, PoolCall::Update { id, set, unset })
            .await?;
        session.with_payload(read_payload)
    }

    /// Removes a session, and gives it as it was. A lease of it lasts on.
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub async fn session_delete(&self, id: i64) -> Result<PooledSession<T>> {
        let session = self.session_of(id, PoolCall::Delete(id)).await?;
        session.with_payload(read_payload)
    }

    /// One session.
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub async fn session(&self, id: i64) -> Result<PooledSession<T>> {
        let session = self.session_of(id, PoolCall::Get(id)).await?;
        session.with_payload(read_payload)
    }

    /// How many sessions are active and not locked now, of those that the default filter lets
    /// through; leased ones too.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like.
    pub async fn count_active(&self) -> Result<u64> {
        let filter = self.settings.default_filter.clone();
        check_filter(&filter)?;
        self.number(PoolCall::CountActive(filter)).await
    }

    /// All active sessions that the default filter lets through, with what the projection names of
    /// their payloads.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if a payload is no `T`; a projection leaves out what `T` may need.
    pub async fn get_sessions(&self) -> Result<Vec<PooledSession<T>>> {
        let filter = self.settings.default_filter.clone().active(true);
        self.find(filter, None, None).await
    }

    /// Totals for monitoring, of this pool.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like.
    pub async fn aggregate_statistics(&self) -> Result<PoolStatistics> {
        let collection = self.collection.to_string();
        let mut all = self.statistics(Some(collection.clone())).await?;
        Ok(all.pop().unwrap_or(PoolStatistics {
            collection,
            ..PoolStatistics::default()
        }))
    }

    /// Totals for monitoring, of every pool.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like.
    pub async fn statistics_of_all(&self) -> Result<Vec<PoolStatistics>> {
        self.statistics(None).await
    }

    async fn statistics(&self, collection: Option<String>) -> Result<Vec<PoolStatistics>> {
        match self.ask_about(collection, PoolCall::Statistics).await? {
            PoolAnswer::Statistics(statistics) => {
                crate::observe::pools(&statistics);
                Ok(statistics)
            }
            other => Err(senseless(&other)),
        }
    }

    pub(super) async fn number(&self, call: PoolCall) -> Result<u64> {
        match self.ask(call).await? {
            PoolAnswer::Number(number) => Ok(number),
            other => Err(senseless(&other)),
        }
    }

    pub(super) async fn optional(&self, call: PoolCall) -> Result<Option<PooledSession<T>>> {
        match self.ask(call).await? {
            PoolAnswer::Session(session) => session
                .map(|session| session.with_payload(read_payload))
                .transpose(),
            other => Err(senseless(&other)),
        }
    }
}
