use super::Mutexes;
use crate::domain::{Diagnosis, Result};

impl Mutexes {
    /// Looks at what has to be right around the locks, and says what to do where it is not: the
    /// connection, poolers, clocks, the schema's version and the role's rights as seen from here,
    /// then all that the SQL function `doctor` looks at. It works also where nothing is migrated
    /// yet. Nothing is changed.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::Error> {
    /// for finding in mutexes.diagnose().await?.findings {
    ///     println!("{:8}{:18}{}", finding.verdict, finding.subject, finding.found);
    ///     if let Some(advice) = finding.advice {
    ///         println!("{:26}{advice}", "");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It opens up to four connections of its own, for as long as it takes.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) if the database cannot be reached, or there is no PostgreSQL behind
    /// these mutexes; [`Error::PermissionDenied`](crate::Error::PermissionDenied) or [`Error::InvalidUrl`](crate::Error::InvalidUrl) if it refuses the
    /// connection. All else is a finding.
    ///
    /// Cancel safe.
    pub async fn diagnose(&self) -> Result<Diagnosis> {
        self.postgres()?.diagnose().await
    }
}
