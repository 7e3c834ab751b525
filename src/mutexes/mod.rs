//! The face of the library: where backends, routes and rules are put together, and the verbs are
//! called.

mod builder;
mod capture;
mod in_transaction;
mod refresh;
mod release;
mod routes;
mod rules;

use std::sync::Arc;

pub use builder::MutexesBuilder;
pub use capture::Capture;
pub use in_transaction::InTransaction;
pub use refresh::Refresh;
pub use release::{ForceRelease, Release};

use crate::{
    backend::{MutexBackend, StateRequest},
    current_owner::current_owner,
    domain::{Error, MutexId, MutexOwner, MutexQuery, MutexState, Page, Result},
    postgres::{MigrationReport, Pool, PostgresBackend, SchemaStatus, Transaction},
};
use routes::Routes;
use rules::Rules;

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
    rules: Rules,
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

    /// Brings the schema up to date: creates it, or applies the migrations that are missing, all or
    /// nothing. Any number of processes may call it at once, at every start; whoever comes
    /// second waits for the first. If everything is there, nothing is written.
    ///
    /// # Errors
    /// [`Error::SchemaVersion`] if a newer version of this library has migrated the schema;
    /// [`Error::Migration`] if a migration fails or the ones applied are not ours;
    /// [`Error::Unavailable`]; [`Error::OutcomeUnknown`]: call it again.
    pub async fn migrate(&self) -> Result<MigrationReport> {
        let Some(postgres) = &self.parts.postgres else {
            return Ok(MigrationReport::default());
        };
        postgres.migrate().await
    }

    /// Says what [`migrate`](Self::migrate) would do, and does nothing. `None` if there is no
    /// PostgreSQL behind these mutexes.
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate).
    pub async fn schema_status(&self) -> Result<Option<SchemaStatus>> {
        match &self.parts.postgres {
            Some(postgres) => postgres.schema_status().await.map(Some),
            None => Ok(None),
        }
    }

    /// Checks that the schema is there and not newer than this program, and looks whether the
    /// server is still the one that gave the last fencing tokens. [`connect`](Self::connect)
    /// has done this.
    ///
    /// # Errors
    /// [`Error::NotMigrated`], [`Error::SchemaVersion`], [`Error::Unavailable`].
    pub async fn verify(&self) -> Result<()> {
        match &self.parts.postgres {
            Some(postgres) => postgres.verify().await,
            None => Ok(()),
        }
    }

    /// Runs the application's own refinery migrations, so that many replicas may do it at once: see
    /// [`run_migrations`](crate::run_migrations).
    ///
    /// # Errors
    /// As [`run_migrations`](crate::run_migrations); [`Error::Unavailable`] also if there is no
    /// PostgreSQL behind these mutexes.
    pub async fn run_migrations(&self, runner: &refinery::Runner) -> Result<MigrationReport> {
        let Some(postgres) = &self.parts.postgres else {
            return Err(Error::Unavailable {
                source: "there is no PostgreSQL behind these mutexes".into(),
            });
        };
        postgres.run_migrations(runner).await
    }

    /// Captures a mutex, or refreshes the hold that the owner already has. Await it, after saying
    /// more if need be.
    ///
    /// # Errors
    /// [`Error::Busy`] with the holder if another has it; an error that says so for anything else.
    pub fn capture(&self, id: &MutexId) -> Capture<'_> {
        Capture::new(self.backend(id), &self.parts.rules, id)
    }

    /// Makes the time of a hold start again. Unlike [`capture`](Self::capture) it never captures.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold is gone, [`Error::Busy`] if another has the mutex by now.
    pub fn refresh(&self, id: &MutexId) -> Refresh<'_> {
        Refresh::new(self.backend(id), id)
    }

    /// Gives a mutex back.
    ///
    /// # Errors
    /// [`Error::Busy`] if another holds it, or if a fenced write of this holder is still under way.
    pub fn release(&self, id: &MutexId) -> Release<'_> {
        Release::new(self.backend(id), id)
    }

    /// Says how a mutex stands towards the current owner. A hold that is over is removed and counts
    /// as free.
    pub async fn request(&self, id: &MutexId) -> Result<MutexState> {
        self.request_by(id, &current_owner()).await
    }

    /// Says how a mutex stands towards this owner.
    pub async fn request_by(&self, id: &MutexId, owner: &MutexOwner) -> Result<MutexState> {
        request(self.backend(id), &self.parts.rules, id, owner).await
    }

    /// Lists holds. A query that names a group asks the backend of that group, any other the
    /// default one.
    pub async fn list(&self, query: &MutexQuery) -> Result<Page> {
        self.parts.routes.of_query(query).list(query).await
    }

    /// Counts the holds that fit the query's filters, whatever its page says. The cost grows with
    /// their number.
    pub async fn count(&self, query: &MutexQuery) -> Result<u64> {
        self.parts.routes.of_query(query).count(query).await
    }

    /// Takes a mutex away from whoever holds it. The reason and the database role go to the
    /// server's log. The holder is not told: a refresh will say [`Error::Lost`].
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
    pub async fn sweep(&self) -> Result<u64> {
        let mut swept = 0;
        for backend in self.parts.routes.all() {
            swept += backend.sweep().await?;
            swept += self.parts.rules.sweep(backend).await?;
        }
        Ok(swept)
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

    fn backend(&self, id: &MutexId) -> &dyn MutexBackend {
        self.parts.routes.of_group(id.group())
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
    let state = backend.request(&request).await?;
    match state.value.mutex() {
        Some(mutex) if rules.have_ended(mutex, state.at) => {
            backend.evict(id, mutex.fencing_token).await?;
            Ok(backend.request(&request).await?.value)
        }
        _ => Ok(state.value),
    }
}
