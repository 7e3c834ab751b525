use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, Output, database::Database, printable::printable, say, table::Table};
use crate::domain::Role;

/// Gives database roles a role in the schema, instead of the one they had
///
/// The database roles must be there already. Only the owner of the schema may: the database role that
/// has migrated it, or was made owner since.
#[derive(Debug, Args)]
#[command(after_help = ROLES)]
pub(super) struct Grant {
    /// reader, application, admin or owner
    #[arg(value_parser = role)]
    role: Role,

    /// The database roles
    #[arg(required = true, value_name = "DATABASE_ROLE")]
    to: Vec<String>,
}

/// Takes a role in the schema away from database roles
///
/// That they do not have it is no failure. The owner's cannot be taken away, only be granted to
/// another.
#[derive(Debug, Args)]
#[command(after_help = ROLES)]
pub(super) struct Revoke {
    /// reader, application or admin
    #[arg(value_parser = role)]
    role: Role,

    /// The database roles
    #[arg(required = true, value_name = "DATABASE_ROLE")]
    from: Vec<String>,
}

/// Shows which database roles have which role in the schema
#[derive(Debug, Args)]
#[command(after_help = ROLES)]
pub(super) struct Roles {}

const ROLES: &str = "\
reader reads the views, without secrets; application calls the functions that use locks and pools, as \
this program and the library do; admin also takes away the locks of others; owner migrates and grants.";

/// For clap.
fn role(name: &str) -> Result<Role, String> {
    let known = name.parse();
    known.map_err(|_| "it is reader, application, admin or owner".to_owned())
}

/// What was done for a database role, as JSON.
#[derive(Serialize)]
struct Done<'a> {
    outcome: &'static str,
    database_role: &'a str,
    role: &'static str,
}

impl Done<'_> {
    fn print(&self, output: &mut Output) -> Result<(), Failure> {
        if output.is_json {
            return output.json(self);
        }
        let database_role = printable(self.database_role);
        output.line(&format!("{} {} {database_role}", self.outcome, self.role))
    }
}

impl Grant {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        for database_role in &self.to {
            mutexes.grant_role(database_role, self.role).await?;
            let done = Done {
                outcome: "granted",
                database_role,
                role: self.role.name(),
            };
            done.print(output)?;
        }
        Ok(Exit::Success)
    }
}

impl Revoke {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        for database_role in &self.from {
            let outcome = match mutexes.revoke_role(database_role, self.role).await? {
                true => "revoked",
                false => "not_granted",
            };
            let done = Done {
                outcome,
                database_role,
                role: self.role.name(),
            };
            done.print(output)?;
        }
        Ok(Exit::Success)
    }
}

/// What a database role has, as JSON.
#[derive(Serialize)]
struct Has<'a> {
    database_role: &'a str,
    role: &'static str,
}

impl Roles {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        let granted = mutexes.roles().await?;
        if output.is_json {
            output.json_lines(granted.iter().map(|granted| Has {
                database_role: &granted.database_role,
                role: granted.role.name(),
            }))?;
            return Ok(Exit::Success);
        }
        if granted.is_empty() {
            say("nobody has a role");
            return Ok(Exit::Success);
        }
        let row = |granted: &crate::domain::GrantedRole| {
            vec![printable(&granted.database_role), granted.role.to_string()]
        };
        let rows: Vec<_> = granted.iter().map(row).collect();
        output.rows(&mut Table::new(&["DATABASE ROLE", "ROLE"]), &rows)?;
        Ok(Exit::Success)
    }
}
