use super::Mutexes;
use crate::{
    domain::Result,
    postgres::{MigrationReport, MigrationStep, SchemaStatus, migrations_up_to},
};

/// The schema that everything else needs.
impl Mutexes {
    /// Brings the schema up to date: creates it, or applies the migrations that are missing, all or
    /// nothing. Any number of processes may call it at once, at every start; whoever comes
    /// second waits for the first. If everything is there, nothing is written.
    ///
    /// # Errors
    /// [`Error::SchemaVersion`](crate::Error::SchemaVersion) if a newer version of this library has migrated the schema;
    /// [`Error::Migration`](crate::Error::Migration) if a migration fails or the ones applied are not ours;
    /// [`Error::Unavailable`](crate::Error::Unavailable); [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown): call it again.
    pub async fn migrate(&self) -> Result<MigrationReport> {
        self.migrate_up_to(None, &mut |_| {}).await
    }

    /// The same, as a program does whose newest migration is this one; each step is told before it
    /// is done.
    pub(crate) async fn migrate_up_to(
        &self,
        newest: Option<i64>,
        tell: &mut (dyn FnMut(MigrationStep) + Send),
    ) -> Result<MigrationReport> {
        let Some(postgres) = &self.parts.postgres else {
            return Ok(MigrationReport::default());
        };
        postgres.migrate(&migrations_up_to(newest), tell).await
    }

    /// What [`migrate`](Self::migrate) would do, as a script for `psql`: for those who let nobody but
    /// a person change a schema. It does the same in one transaction, and nothing where other
    /// migrations are applied than here now. Empty if nothing is missing.
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate).
    pub async fn migration_script(&self) -> Result<String> {
        match &self.parts.postgres {
            Some(postgres) => postgres.migration_script().await,
            None => Ok(String::new()),
        }
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
    /// [`Error::NotMigrated`](crate::Error::NotMigrated), [`Error::SchemaVersion`](crate::Error::SchemaVersion), [`Error::Unavailable`](crate::Error::Unavailable).
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
    /// As [`run_migrations`](crate::run_migrations); [`Error::Unavailable`](crate::Error::Unavailable) also if there is no
    /// PostgreSQL behind these mutexes.
    pub async fn run_migrations(&self, runner: &refinery::Runner) -> Result<MigrationReport> {
        self.postgres()?.run_migrations(runner).await
    }
}
