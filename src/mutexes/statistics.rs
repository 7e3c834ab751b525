use super::Mutexes;
use crate::domain::{MutexStatistics, Result};

impl Mutexes {
    /// How all mutexes in the database together stand, for monitoring: at a price that is bounded
    /// however many there are. Groups kept in other backends do not count. A standby may be asked,
    /// too.
    ///
    /// # Errors
    /// As [`list`](Self::list); [`Error::Unavailable`](crate::Error::Unavailable) also if there is no PostgreSQL behind these
    /// mutexes.
    ///
    /// Cancel safe.
    pub async fn statistics(&self) -> Result<MutexStatistics> {
        self.postgres()?.statistics().await
    }
}
