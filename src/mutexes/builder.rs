use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Mutexes, Parts, Routes};
use crate::{
    backend::MutexBackend,
    background::Background,
    coalescing::Coalescing,
    domain::{AutoReleaseRule, Error, Result},
    postgres::{
        Pool, PostgresBackend, PostgresSettings, PreparedStatements, SchemaName, Way, pool_for_url,
    },
    rules::Rules,
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
    direct: Option<Way>,
    on_the_callers_runtime: bool,
    each_call_alone: bool,
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

    /// Whether the calls made most often are sent as prepared statements. Default:
    /// [`PreparedStatements::WhereDirect`].
    pub fn prepared_statements(mut self, prepared_statements: PreparedStatements) -> Self {
        self.settings.prepared_statements = prepared_statements;
        self
    }

    /// A URL that leads straight to the server, for the one connection that listens and that holds
    /// can be attached to. Default: the URL given to [`connect`](Self::connect). Say it where that
    /// one leads through a pooler, or where [`pool`](Self::pool) is used: without it waiting works
    /// by asking again in short intervals.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`].
    pub fn direct_url(mut self, url: &str) -> Result<Self> {
        self.direct = Some(Way::direct(url)?);
        Ok(self)
    }

    /// Whether heartbeats, waiting and releasing go on on a thread of the library's own, which is
    /// the default: then blocking code of the application's does not end its holds. Without it they
    /// go on on the runtime of whoever first needs them.
    pub fn background_thread(mut self, own_thread: bool) -> Self {
        self.on_the_callers_runtime = !own_thread;
        self
    }

    /// Whether concurrent captures, releases and refreshes travel together to PostgreSQL, which is the
    /// default: one round trip and one commit for many. A call that finds fewer than two of its verb
    /// under way goes at once, as without this; see [`Coalescing`].
    ///
    /// Without it each call is a statement, a round trip and a commit of its own, and takes a pooled
    /// connection of its own: for applications whose calls are few and far away from the database,
    /// where waiting for those under way costs more than it saves; or to tell them apart in the
    /// server's log.
    ///
    /// Cancel safety: the request of a future that is dropped may still be carried out either way. One
    /// that travels with others is, while one of those waits: a connection that is not there yet is
    /// waited for, and not closed on its account. One that is still in the queue is never made.
    pub fn coalescing(mut self, together: bool) -> Self {
        self.each_call_alone = !together;
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
    pub async fn connect(mut self, url: &str) -> Result<Mutexes> {
        if self.direct.is_none() {
            self = self.direct_url(url)?;
        }
        let mutexes = self.pool(pool_for_url(url)?);
        match mutexes.verify().await {
            Ok(()) | Err(Error::NotMigrated { .. }) => Ok(mutexes),
            Err(error) => Err(error),
        }
    }

    /// Uses this pool, which completes the building: see [`Mutexes::new`].
    pub fn pool(mut self, pool: Pool) -> Mutexes {
        let background = Background::new(!self.on_the_callers_runtime);
        let (schema, settings) = (self.schema.clone(), self.settings.clone());
        let direct = self.direct.take();
        let postgres = PostgresBackend::on(pool, schema, settings, direct, background.clone());
        let default: Arc<dyn MutexBackend> = if self.each_call_alone {
            Arc::new(postgres.clone())
        } else {
            Arc::new(Coalescing::new(postgres.clone()))
        };
        self.with(Some(postgres), default, background)
    }

    /// Uses another backend by default, and no PostgreSQL, which completes the building: for tests of an application without a
    /// database.
    pub fn backend(self, backend: impl MutexBackend + 'static) -> Mutexes {
        let background = Background::new(!self.on_the_callers_runtime);
        self.with(None, Arc::new(backend), background)
    }

    fn with(
        self,
        postgres: Option<PostgresBackend>,
        default: Arc<dyn MutexBackend>,
        background: Background,
    ) -> Mutexes {
        let rules = Arc::new(self.rules);
        let routes = Routes::new(
            default,
            postgres.as_ref(),
            self.by_group,
            &rules,
            &background,
        );
        Mutexes {
            parts: Arc::new(Parts {
                postgres,
                routes,
                rules,
            }),
        }
    }
}
