use super::Mutexes;
use crate::domain::{M3MutexImport, Result};

/// A Django application that uses the package m3-mutex: it keeps working, unmodified, on a view that
/// stands in for the package's table. It excludes those who use this library, and is excluded by
/// them. See the README for what changes for it.
impl Mutexes {
    /// Puts the view `m3_mutex` into a schema, and grants it to the role of the application, if one
    /// is named. Repeating it is safe. For the owner of this library's schema.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if there is no such schema or role, or if the name is taken: see
    /// [`adopt_m3_mutex`](Self::adopt_m3_mutex). [`Error::PermissionDenied`](crate::Error::PermissionDenied); [`Error::Unavailable`](crate::Error::Unavailable),
    /// also if there is no PostgreSQL behind these mutexes; [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown): call it again.
    ///
    /// Cancel safe: it is done as a whole, or not at all.
    pub async fn install_m3_mutex(&self, in_schema: &str, to_role: Option<&str>) -> Result<()> {
        let postgres = self.postgres()?;
        postgres.install_m3_mutex(in_schema, to_role).await
    }

    /// Drops the view again; the holds stay. Says whether there was one.
    ///
    /// # Errors
    /// As [`install_m3_mutex`](Self::install_m3_mutex).
    ///
    /// Cancel safe, in the same way.
    pub async fn uninstall_m3_mutex(&self, in_schema: &str) -> Result<bool> {
        let postgres = self.postgres()?;
        postgres.uninstall_m3_mutex(in_schema).await
    }

    /// Imports the holds of an old table of m3-mutex, named as in SQL, and tells of each row what
    /// became of it. One that makes no sense stops no other. Nobody may use the old table any more:
    /// [`adopt_m3_mutex`](Self::adopt_m3_mutex) sees to that. Meanwhile every other decision about
    /// mutexes waits.
    ///
    /// # Errors
    /// As [`install_m3_mutex`](Self::install_m3_mutex); [`Error::Database`](crate::Error::Database) if other transactions
    /// keep the table of holds for more than 5 seconds. After [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown), rows that
    /// were imported are reported as held already.
    ///
    /// Cancel safe, in the same way.
    pub async fn import_m3_mutex(&self, from_table: &str) -> Result<M3MutexImport> {
        let postgres = self.postgres()?;
        postgres.import_m3_mutex(from_table).await
    }

    /// Replaces the table `m3_mutex` of an application by the view, in one transaction, also while
    /// the application runs: the table stays as `m3_mutex_before_pgmutex`, its holds are imported,
    /// and whoever could write to the table can use the view. Where there is no such table it installs the
    /// view, and the report is empty. For the owner of both.
    ///
    /// # Errors
    /// As [`import_m3_mutex`](Self::import_m3_mutex); [`Error::Refused`](crate::Error::Refused) also if there is a table
    /// `m3_mutex_before_pgmutex`. After [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) that table tells whether it was
    /// done.
    ///
    /// Cancel safe, in the same way.
    pub async fn adopt_m3_mutex(
        &self,
        in_schema: &str,
        to_role: Option<&str>,
    ) -> Result<M3MutexImport> {
        let postgres = self.postgres()?;
        postgres.adopt_m3_mutex(in_schema, to_role).await
    }
}
