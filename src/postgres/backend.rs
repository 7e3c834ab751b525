use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{Object, Pool, PoolError};
use scopeguard::ScopeGuard;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::IsolationLevel;

use super::{
    MigrationReport, MigrationStep, PreparedStatements, Repository, SchemaName, SchemaStatus,
    dedicated::Way,
    diagnose::Examination,
    in_words::InWords,
    migrate,
    operation::*,
    own_session::OwnSession,
    preparing::Preparing,
    sqlstate::{Failure, not_connected},
    waiting_room::WaitingRoom,
};
use crate::{
    background::Background,
    domain::{Diagnosis, Error, GrantedRole, MutexStatistics, Role},
};

/// How a [`PostgresBackend`] deals with time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresSettings {
    /// Longest that a call may take to be answered, waiting for a pooled connection included; then
    /// its outcome is said to be unknown. Default: 15 s. (A call waits up to 5 s for other
    /// transactions that decide about the same mutex.) A call that
    /// [travels with others](crate::Coalescing) may have queued before, for up to 5 s; and if they have
    /// no answer, or are decided about one by one, it is made again on its own, for up to as long again.
    pub call_timeout: Duration,
    /// For how long after that a call whose outcome is unknown is repeated to learn it, for example
    /// while the server restarts. 0 switches this off. Default: 5 s.
    pub settle_timeout: Duration,
    /// Whether the calls made most often are sent as prepared statements. Default: where
    /// connections are found to lead straight to the server.
    pub prepared_statements: PreparedStatements,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(15),
            settle_timeout: Duration::from_secs(5),
            prepared_statements: PreparedStatements::default(),
        }
    }
}

/// Mutexes kept in PostgreSQL, reached through a deadpool pool.
///
/// A call is one statement, one round trip and one commit. If the connection breaks with the
/// outcome unknown, the call is repeated with the same owner, which gives the same hold and the
/// same fencing token; if that does not settle it within
/// [`settle_timeout`](PostgresSettings::settle_timeout), the answer is [`Error::OutcomeUnknown`].
///
/// (Those who travel together are not repeated together: who calls `…_together` repeats each.)
///
/// Dropping a call's future closes its connection instead of returning it to the pool. What had
/// been sent may still be carried out; a hold that comes of it lasts until its rule ends it, or
/// until the same owner captures or releases again.
#[derive(Clone, Debug)]
pub struct PostgresBackend {
    pool: Pool,
    repository: Repository,
    settings: PostgresSettings,
    /// Whether this role or database begins transactions at another isolation level than read
    /// committed.
    begins_elsewhere: Arc<AtomicBool>,
    preparing: Arc<Preparing>,
    waiting: WaitingRoom,
}

impl PostgresBackend {
    /// Mutexes in this schema of the database that the pool connects to.
    ///
    /// The pool must recycle its connections with `RecyclingMethod::Fast` (deadpool's default) if a
    /// pooler in transaction mode is in between.
    ///
    /// Where it waits, or keeps holds that are attached to a database session, it opens one
    /// connection of its own, by the pool's manager. That connection cannot hear notifications, so
    /// whoever waits asks again in short intervals; see [`with_direct_url`](Self::with_direct_url).
    pub fn new(pool: Pool, schema: SchemaName, settings: PostgresSettings) -> Self {
        Self::on(pool, schema, settings, None, Background::default())
    }

    /// The same, with a URL that leads straight to the server, past any pooler: for the connection
    /// that listens and that holds can be attached to.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`].
    pub fn with_direct_url(
        pool: Pool,
        schema: SchemaName,
        settings: PostgresSettings,
        direct_url: &str,
    ) -> Result<Self, Error> {
        let way = Way::direct(direct_url)?;
        Ok(Self::on(
            pool,
            schema,
            settings,
            Some(way),
            Background::default(),
        ))
    }

    pub(crate) fn on(
        pool: Pool,
        schema: SchemaName,
        settings: PostgresSettings,
        direct: Option<Way>,
        background: Background,
    ) -> Self {
        let way = direct.unwrap_or_else(|| Way::AsThePool(pool.clone()));
        let repository = Repository::new(schema);
        let own = OwnSession::new(way, repository.clone(), background);
        let waiting = WaitingRoom::new(own, pool.status().max_size);
        Self {
            pool,
            repository,
            preparing: Arc::new(Preparing::new(settings.prepared_statements)),
            settings,
            begins_elsewhere: Arc::default(),
            waiting,
        }
    }

    pub(super) fn waiting(&self) -> &WaitingRoom {
        &self.waiting
    }

    /// Longest that a call may take.
    pub(super) fn call_timeout(&self) -> Duration {
        self.settings.call_timeout
    }

    /// The functions that the backend calls.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Borrows a connection from the pool. It goes back only by [`give_back`]; dropped in any other
    /// way (an error of the connection, a cancelled future) it may be in the middle of a reply or a
    /// transaction, and is closed.
    pub(super) async fn borrow(&self, limit: Duration) -> Result<Loan, Error> {
        match timeout(limit, self.pool.get()).await {
            Ok(Ok(connection)) => Ok(scopeguard::guard(connection, close)),
            Ok(Err(PoolError::Backend(error))) => Err(not_connected(error)),
            Ok(Err(error)) => Err(Error::Unavailable {
                source: InWords::boxed(error),
            }),
            Err(elapsed) => Err(Error::Unavailable {
                source: elapsed.into(),
            }),
        }
    }

    /// Brings the schema up to date, as a program does that knows these migrations.
    pub(crate) async fn migrate(
        &self,
        runner: &refinery::Runner,
        tell: &mut (dyn FnMut(MigrationStep) + Send),
    ) -> Result<MigrationReport, Error> {
        let mut connection = self.borrow(self.settings.call_timeout).await?;
        let report = migrate::migrate(&mut connection, &self.repository, runner, tell).await?;
        give_back(connection);
        Ok(report)
    }

    /// Says what migrating would do, as a script.
    pub(crate) async fn migration_script(&self) -> Result<String, Error> {
        let mut connection = self.borrow(self.settings.call_timeout).await?;
        let schema = self.repository.schema();
        let script = migrate::migration_script(Some(&mut connection), schema).await?;
        give_back(connection);
        Ok(script)
    }

    /// Says what migrating would do.
    pub(crate) async fn schema_status(&self) -> Result<SchemaStatus, Error> {
        let limit = self.settings.call_timeout;
        let look = async {
            let mut connection = self.borrow(limit).await?;
            let schema = self.repository.schema();
            let status = migrate::schema_status(&mut connection, schema).await?;
            give_back(connection);
            Ok(status)
        };
        timeout(limit, look).await.unwrap_or_else(|elapsed| {
            Err(Error::Unavailable {
                source: elapsed.into(),
            })
        })
    }

    /// Gives a database role one of the roles.
    pub(crate) async fn grant_role(&self, database_role: &str, role: Role) -> Result<(), Error> {
        self.call(GrantRole {
            database_role,
            role,
        })
        .await
    }

    /// Takes one away, and says whether it was there.
    pub(crate) async fn revoke_role(&self, database_role: &str, role: Role) -> Result<bool, Error> {
        self.call(RevokeRole {
            database_role,
            role,
        })
        .await
    }

    /// Says who has which.
    pub(crate) async fn roles(&self) -> Result<Vec<GrantedRole>, Error> {
        self.call(Roles).await
    }

    /// Looks at what has to be right around the locks.
    pub(crate) async fn diagnose(&self) -> Result<Diagnosis, Error> {
        let examination = Examination {
            repository: &self.repository,
            way: Way::AsThePool(self.pool.clone()),
            direct: self.waiting.way(),
            limit: self.settings.call_timeout,
        };
        examination.diagnosis().await
    }

    /// Runs the application's migrations. Their connection is closed afterwards: nobody knows what
    /// settings they left in its session.
    pub(crate) async fn run_migrations(
        &self,
        runner: &refinery::Runner,
    ) -> Result<MigrationReport, Error> {
        let mut connection = self.borrow(self.settings.call_timeout).await?;
        migrate::run_migrations(&mut connection, runner).await
    }

    /// Checks the schema's version, and whether this is the server that gave the last tokens.
    pub(crate) async fn verify(&self) -> Result<(), Error> {
        if self.schema_status().await?.found.is_none() {
            return Err(Error::NotMigrated {
                schema: self.repository.schema().to_string(),
                reason: "no migration was ever applied".to_owned(),
            });
        }
        match self.call(EnsureGeneration).await {
            // A standby gives no tokens: there is nothing to ensure, and looking is allowed.
            Ok(_) | Err(Error::ReadOnly { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How all mutexes together stand.
    pub(crate) async fn statistics(&self) -> Result<MutexStatistics, Error> {
        self.call(Statistics).await
    }

    /// Makes one call, and repeats it while its outcome is unknown.
    pub(super) async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, Error> {
        let error = match self.attempt(&operation, self.settings.call_timeout).await {
            Err(error @ Error::OutcomeUnknown { .. }) if operation.is_repeatable() => error,
            settled => return settled,
        };
        tracing::warn!(operation = O::NAME, %error, "outcome unknown; repeating the call to learn it");
        let since = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let left = || {
                let settle_timeout = self.settings.settle_timeout;
                settle_timeout.saturating_sub(since.elapsed())
            };
            if left() <= pause {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            match self.attempt(&operation, left()).await {
                // Only these answers say what became of the first attempt. Any other may be about
                // the repetition alone: refused while the first one is still under way, say, or by
                // a standby that is being promoted.
                settled @ (Ok(_) | Err(Error::Busy { .. } | Error::Lost { .. })) => return settled,
                Err(unsettled) => {
                    tracing::debug!(operation = O::NAME, %unsettled, "not settled yet");
                }
            }
        }
    }

    pub(super) async fn attempt<O: Operation>(
        &self,
        operation: &O,
        limit: Duration,
    ) -> Result<O::Output, Error> {
        let started = Instant::now();
        let mut connection = self.borrow(limit).await?;
        self.preparing
            .count_call(self.waiting.background(), &self.repository, || {
                Way::AsThePool(self.pool.clone())
            });
        let conversation = async {
            if !self.begins_elsewhere.load(Ordering::Relaxed) {
                let client: &tokio_postgres::Client = &connection;
                let prepared = self.preparing.on(&connection);
                let repository = self.repository.with_prepared(prepared);
                match operation.run(&repository, client, false).await {
                    Err(Error::IsolationLevel { reason }) => {
                        if !self.begins_elsewhere.swap(true, Ordering::Relaxed) {
                            tracing::warn!(
                                %reason,
                                "this role or database has another default_transaction_isolation; \
                                 every call now begins a read committed transaction, at the cost of more round trips"
                            );
                        }
                    }
                    answer => return answer,
                }
            }
            self.in_read_committed(&mut connection, operation).await
        };
        let answer = match timeout(limit.saturating_sub(started.elapsed()), conversation).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(Error::OutcomeUnknown {
                operation: O::NAME,
                source: elapsed.into(),
            }),
        };
        if !matches!(answer, Err(Error::OutcomeUnknown { .. })) {
            give_back(connection);
        }
        answer
    }

    async fn in_read_committed<O: Operation>(
        &self,
        client: &mut tokio_postgres::Client,
        operation: &O,
    ) -> Result<O::Output, Error> {
        let failure = Failure {
            operation: O::NAME,
            id: None,
            token: None,
            schema: self.repository.schema(),
        };
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()
            .await
            .map_err(|error| failure.translate(error))?;
        let answer = operation.run(&self.repository, &transaction, false).await;
        // A rollback left to `drop` would travel together with the next call's begin: a client that
        // goes on without a break, as one that retries does, would never give its server
        // connection back to the pooler.
        let ended = match answer {
            // These are answers, and what the function did on the way to them counts: a place in
            // line that was given up, a hold that was over.
            Ok(_) | Err(Error::Busy { .. } | Error::Lost { .. }) => transaction.commit().await,
            Err(_) => transaction.rollback().await,
        };
        let output = answer?;
        ended.map_err(|error| failure.translate(error))?;
        Ok(output)
    }
}

/// A pooled connection on loan.
pub(super) type Loan = ScopeGuard<Object, fn(Object)>;

fn close(connection: Object) {
    drop(Object::take(connection));
}

pub(super) fn give_back(loan: Loan) {
    drop(ScopeGuard::into_inner(loan));
}
