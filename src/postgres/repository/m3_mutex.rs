use tokio_postgres::{GenericClient, Row, types::Type};

use super::{super::row::Unreadable, Repository};
use crate::domain::{Error, M3MutexImport, M3MutexOutcome, M3MutexRow};

/// The columns of type `m3_mutex_import`, in the order in which they are read.
const COLUMNS: &str = "id, mutex_group, mutex_mode, mutex_id, outcome, problem";

/// The view that stands in for the table of m3-mutex. These are called once in a database's life.
impl Repository {
    /// Calls `install_m3_mutex`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn install_m3_mutex<C: GenericClient + Sync>(
        &self,
        client: &C,
        in_schema: &str,
        to_role: Option<&str>,
    ) -> Result<(), Error> {
        let function = self.schema().quoted() + ".install_m3_mutex";
        let call = self.call(client, "install_m3_mutex", None);
        call.one_row(
            &format!("select 1 from {function}($1, $2)"),
            &[(&in_schema, Type::NAME), (&to_role, Type::NAME)],
        )
        .await?;
        Ok(())
    }

    /// Calls `uninstall_m3_mutex`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn uninstall_m3_mutex<C: GenericClient + Sync>(
        &self,
        client: &C,
        in_schema: &str,
    ) -> Result<bool, Error> {
        let function = self.schema().quoted() + ".uninstall_m3_mutex";
        let call = self.call(client, "uninstall_m3_mutex", None);
        let row = call
            .one_row(
                &format!("select {function}($1)"),
                &[(&in_schema, Type::NAME)],
            )
            .await?;
        call.read(row.try_get(0))
    }

    /// Calls `import_m3_mutex` for a table named as in SQL.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn import_m3_mutex<C: GenericClient + Sync>(
        &self,
        client: &C,
        from_table: &str,
    ) -> Result<M3MutexImport, Error> {
        let function = self.schema().quoted() + ".import_m3_mutex";
        let call = self.call(client, "import_m3_mutex", None);
        let statement = format!("select {COLUMNS} from {function}(to_regclass($1))");
        let rows = call.rows(&statement, &[(&from_table, Type::TEXT)]).await?;
        call.read(import(&rows))
    }

    /// Calls `adopt_m3_mutex`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn adopt_m3_mutex<C: GenericClient + Sync>(
        &self,
        client: &C,
        in_schema: &str,
        to_role: Option<&str>,
    ) -> Result<M3MutexImport, Error> {
        let function = self.schema().quoted() + ".adopt_m3_mutex";
        let call = self.call(client, "adopt_m3_mutex", None);
        let statement = format!("select {COLUMNS} from {function}($1, $2)");
        let parameters = [(&in_schema as _, Type::NAME), (&to_role as _, Type::NAME)];
        call.read(import(&call.rows(&statement, &parameters).await?))
    }
}

fn import(rows: &[Row]) -> Result<M3MutexImport, Unreadable> {
    let read = |row: &Row| {
        let outcome: &str = row.try_get(4)?;
        Ok(M3MutexRow {
            id: row.try_get(0)?,
            mutex_group: row.try_get(1)?,
            mutex_mode: row.try_get(2)?,
            mutex_id: row.try_get(3)?,
            outcome: match outcome {
                "imported" => M3MutexOutcome::Imported,
                "over" => M3MutexOutcome::Over,
                _ => M3MutexOutcome::Refused,
            },
            problem: row.try_get(5)?,
        })
    };
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(M3MutexImport { rows })
}
