//! Who may do what in the database.

use tokio_postgres::{GenericClient, types::Type};

use super::Repository;
use crate::domain::{Error, GrantedRole, Role};

impl Repository {
    /// Calls `grant_role`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn grant_role<C: GenericClient + Sync>(
        &self,
        client: &C,
        database_role: &str,
        role: Role,
    ) -> Result<(), Error> {
        let statement = format!("select from {}.grant_role($1, $2)", self.schema().quoted());
        self.call(client, "grant_role", None)
            .one_row(
                &statement,
                &[(&database_role, Type::NAME), (&role.name(), Type::TEXT)],
            )
            .await
            .map_err(of_the_owner)?;
        Ok(())
    }

    /// Calls `revoke_role`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn revoke_role<C: GenericClient + Sync>(
        &self,
        client: &C,
        database_role: &str,
        role: Role,
    ) -> Result<bool, Error> {
        let statement = format!("select {}.revoke_role($1, $2)", self.schema().quoted());
        let call = self.call(client, "revoke_role", None);
        let row = call
            .one_row(
                &statement,
                &[(&database_role, Type::NAME), (&role.name(), Type::TEXT)],
            )
            .await
            .map_err(of_the_owner)?;
        call.read(row.try_get(0))
    }

    /// Reads the view `roles`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn roles<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<Vec<GrantedRole>, Error> {
        let statement = format!(
            "select database_role::text, role from {}.roles order by 1, 2",
            self.schema().quoted()
        );
        let call = self.call(client, "roles", None);
        let rows = call.rows(&statement, &[]).await.map_err(of_the_owner)?;
        rows.iter()
            .map(|row| {
                let word: &str = call.read(row.try_get(1))?;
                let role = word
                    .parse()
                    .map_err(|_| call.senseless(format!("{word:?} is no role")))?;
                Ok(GrantedRole::from_row(call.read(row.try_get(0))?, role))
            })
            .collect()
    }
}

/// PostgreSQL's own refusal names a function or a view, and says nothing of who may.
fn of_the_owner(error: Error) -> Error {
    match error {
        Error::PermissionDenied { reason } if reason.starts_with("permission denied for") => {
            Error::PermissionDenied {
                reason: format!(
                    "{reason}; roles are granted and listed by the owner of the schema: connect as it, or as a member of it"
                ),
            }
        }
        other => other,
    }
}
