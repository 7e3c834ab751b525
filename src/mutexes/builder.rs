use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Mutexes, Parts, Routes, Rules};
use crate::{
    backend::MutexBackend,
    domain::{AutoReleaseRule, Error, Result},
    postgres::{Pool, PostgresBackend, PostgresSettings, SchemaName, pool_for_url},
};

/// Puts [`Mutexes`] together.
///
/// ```
/// use pgmutex::{Mutexes, SchemaName, SessionBackend};
///
/// # fn example() -> Result<(), pgmutex::Error> {
/// let mutexes = Mutexes::builder()
///     .schema(SchemaName::new("locks")?)
///     .route("request", SessionBackend::per_request())
///     .pool(pgmutex::pool_for_url("postgres://app@db.example/app")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct MutexesBuilder {
    schema: SchemaName,
    settings: PostgresSettings,
    by_group: BTreeMap<String, Arc<dyn MutexBackend>>,
    rules: Rules,
}

impl MutexesBuilder {
    /// The schema to work in. Default: `pgmutex`.
    pub fn schema(mut self, schema: SchemaName) -> Self {
        self.schema = schema;
        self
    }

    /// Longest that a call may take to be answered. Default: 15 s; see [`PostgresSettings::call_timeout`].
    pub fn call_timeout(mut self, call_timeout: Duration) -> Self {
        self.settings.call_timeout = call_timeout;
        self
    }

    /// For how long a call whose outcome is unknown is repeated to learn it. Default: 5 s; see
    /// [`PostgresSettings::settle_timeout`].
    pub fn settle_timeout(mut self, settle_timeout: Duration) -> Self {
        self.settings.settle_timeout = settle_timeout;
        self
    }

    /// Keeps the mutexes of this group in another backend.
    pub fn route(mut self, group: impl Into<String>, backend: impl MutexBackend + 'static) -> Self {
        self.by_group.insert(group.into(), Arc::new(backend));
        self
    }

    /// Makes a custom auto-release rule known; the last one of a code counts. A rule with the code
    /// of a built-in one is never asked.
    pub fn auto_release_rule(mut self, rule: impl AutoReleaseRule + 'static) -> Self {
        self.rules.add(Arc::new(rule));
        self
    }

    /// Connects to the database: see [`Mutexes::connect`].
    ///
    /// # Errors
    /// As [`Mutexes::connect`].
    pub async fn connect(self, url: &str) -> Result<Mutexes> {
        let mutexes = self.pool(pool_for_url(url)?);
        match mutexes.verify().await {
            Ok(()) | Err(Error::NotMigrated { .. }) => Ok(mutexes),
            Err(error) => Err(error),
        }
    }

    /// Uses this pool, which completes the building: see [`Mutexes::new`].
    pub fn pool(self, pool: Pool) -> Mutexes {
        let postgres = PostgresBackend::new(pool, self.schema.clone(), self.settings.clone());
        let default = Arc::new(postgres.clone());
        self.with(Some(postgres), default)
    }

    /// Uses another backend by default, and no PostgreSQL, which completes the building: for tests of an application without a
    /// database.
    pub fn backend(self, backend: impl MutexBackend + 'static) -> Mutexes {
        self.with(None, Arc::new(backend))
    }

    fn with(self, postgres: Option<PostgresBackend>, default: Arc<dyn MutexBackend>) -> Mutexes {
        Mutexes {
            parts: Arc::new(Parts {
                postgres,
                routes: Routes::new(default, self.by_group),
                rules: self.rules,
            }),
        }
    }
}
