use tokio_postgres::{IsolationLevel, Transaction};

use super::{PostgresBackend, Repository, backend::give_back, sqlstate::Failure};
use crate::domain::{Error, M3MutexImport};

/// The view that stands in for the table of m3-mutex. An import takes as long as the table is, so
/// the limit of a call does not bound it.
impl PostgresBackend {
    pub(crate) async fn install_m3_mutex(
        &self,
        in_schema: &str,
        to_role: Option<&str>,
    ) -> Result<(), Error> {
        self.alone("install_m3_mutex", async |repository, transaction| {
            repository
                .install_m3_mutex(transaction, in_schema, to_role)
                .await
        })
        .await
    }

    pub(crate) async fn uninstall_m3_mutex(&self, in_schema: &str) -> Result<bool, Error> {
        self.alone("uninstall_m3_mutex", async |repository, transaction| {
            repository.uninstall_m3_mutex(transaction, in_schema).await
        })
        .await
    }

    pub(crate) async fn import_m3_mutex(&self, from_table: &str) -> Result<M3MutexImport, Error> {
        self.alone("import_m3_mutex", async |repository, transaction| {
            repository.import_m3_mutex(transaction, from_table).await
        })
        .await
    }

    pub(crate) async fn adopt_m3_mutex(
        &self,
        in_schema: &str,
        to_role: Option<&str>,
    ) -> Result<M3MutexImport, Error> {
        self.alone("adopt_m3_mutex", async |repository, transaction| {
            repository
                .adopt_m3_mutex(transaction, in_schema, to_role)
                .await
        })
        .await
    }

    /// Does this in a read committed transaction of its own, whatever the role's default.
    async fn alone<T>(
        &self,
        operation: &'static str,
        work: impl AsyncFnOnce(&Repository, &Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failure = Failure {
            operation,
            id: None,
            token: None,
            schema: self.repository().schema(),
        };
        let mut connection = self.borrow(self.call_timeout()).await?;
        let transaction = connection
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .read_only(false)
            .start()
            .await
            .map_err(|error| failure.translate(error))?;
        let answer = work(self.repository(), &transaction).await;
        let ended = match answer {
            Ok(_) => transaction.commit().await,
            Err(_) => transaction.rollback().await,
        };
        let output = answer?;
        ended.map_err(|error| failure.translate(error))?;
        give_back(connection);
        Ok(output)
    }
}
