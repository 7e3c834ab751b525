use tokio_postgres::GenericClient;

use super::{super::row, Repository};
use crate::domain::{Error, MutexStatistics};

impl Repository {
    /// Calls `statistics`. It may be called on a standby and in any transaction.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn statistics<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<MutexStatistics, Error> {
        let call = self.call(client, "statistics", None);
        let answer = call.one_row(&self.statements.statistics, &[]).await?;
        call.read(row::statistics(&answer))
    }
}
