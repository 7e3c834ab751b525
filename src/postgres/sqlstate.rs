//! The one table that turns what the server and the driver report into this crate's errors.

use tokio_postgres::error::{DbError, Severity};

use super::{
    SchemaName,
    in_words::{InWords, in_words},
};
use crate::domain::{Error, FencingToken, MutexId};

/// What an SQLSTATE means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    IsolationLevel,
    ReadOnly,
    Refused,
    Lost,
    Contended,
    Deadlock,
    WaitCircle,
    NotMigrated,
    PermissionDenied,
    /// The server ended the connection: whether it had committed by then is not known.
    ConnectionLost,
}

/// SQLSTATE and meaning. Class `PM` is our own, raised by the functions; the others are PostgreSQL's
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). What is not here is [`Error::Database`].
const TABLE: [(&str, Meaning); 22] = [
    ("PM001", Meaning::IsolationLevel),
    ("PM002", Meaning::ReadOnly),
    ("PM003", Meaning::Refused),
    ("PM004", Meaning::Refused),
    ("PM005", Meaning::Lost),
    ("PM006", Meaning::WaitCircle),
    ("08000", Meaning::ConnectionLost),   // connection_exception
    ("08003", Meaning::ConnectionLost),   // connection_does_not_exist
    ("08006", Meaning::ConnectionLost),   // connection_failure
    ("08P01", Meaning::ConnectionLost), // protocol_violation; also PgBouncer's word for a lost server
    ("22021", Meaning::Refused),        // character_not_in_repertoire: NUL, or invalid encoding
    ("22P05", Meaning::Refused),        // untranslatable_character: not in the database's encoding
    ("23514", Meaning::Refused),        // check_violation
    ("25006", Meaning::ReadOnly),       // read_only_sql_transaction
    ("3F000", Meaning::NotMigrated),    // invalid_schema_name
    ("40P01", Meaning::Deadlock),       // deadlock_detected
    ("42501", Meaning::PermissionDenied), // insufficient_privilege
    ("42883", Meaning::NotMigrated),    // undefined_function
    ("42P01", Meaning::NotMigrated),    // undefined_table
    ("55P03", Meaning::Contended),      // lock_not_available: lock_timeout of the function
    ("57P01", Meaning::ConnectionLost), // admin_shutdown
    ("57P02", Meaning::ConnectionLost), // crash_shutdown
];

/// What was being done when something failed.
pub(super) struct Failure<'a> {
    pub(super) operation: &'static str,
    pub(super) id: Option<&'a MutexId>,
    pub(super) token: Option<FencingToken>,
    pub(super) schema: &'a SchemaName,
}

impl Failure<'_> {
    /// The error for the caller. Only for requests that have been sent: whatever is not the server's own word about the
    /// request leaves its outcome unknown.
    pub(super) fn translate(&self, error: tokio_postgres::Error) -> Error {
        let Some(answer) = error.as_db_error() else {
            return Error::OutcomeUnknown {
                operation: self.operation,
                source: InWords::boxed(error),
            };
        };
        // The server has closed the connection, whatever else it says.
        if matches!(
            answer.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        ) {
            return Error::OutcomeUnknown {
                operation: self.operation,
                source: InWords::boxed(error),
            };
        }
        let sqlstate = answer.code().code().to_owned();
        let reason = sentence(answer);
        let meaning = TABLE
            .iter()
            .find(|(code, _)| *code == sqlstate)
            .map(|(_, meaning)| *meaning);
        match (meaning, self.id) {
            (Some(Meaning::IsolationLevel), _) => Error::IsolationLevel { reason },
            (Some(Meaning::ReadOnly), _) => Error::ReadOnly { reason },
            (Some(Meaning::Refused), _) => Error::Refused { reason },
            (Some(Meaning::Lost), Some(id)) => Error::Lost {
                id: id.clone(),
                token: self.token,
            },
            (Some(Meaning::Contended), Some(id)) => Error::Contended { id: id.clone() },
            (Some(Meaning::WaitCircle), Some(id)) => Error::WaitCircle {
                id: id.clone(),
                circle: reason,
            },
            (Some(Meaning::Deadlock), _) => Error::Deadlock {
                source: error.into(),
            },
            (Some(Meaning::NotMigrated), _) => Error::NotMigrated {
                schema: self.schema.to_string(),
                reason,
            },
            (Some(Meaning::PermissionDenied), _) => Error::PermissionDenied { reason },
            (Some(Meaning::ConnectionLost), _) => Error::OutcomeUnknown {
                operation: self.operation,
                source: InWords::boxed(error),
            },
            (Some(Meaning::Contended | Meaning::Lost | Meaning::WaitCircle), None) | (None, _) => {
                Error::Database {
                    sqlstate,
                    reason,
                    source: error.into(),
                }
            }
        }
    }
}

/// Why no connection could be opened: for good, or for now. Nothing was asked yet.
pub(super) fn not_connected(error: tokio_postgres::Error) -> Error {
    let reason = in_words(&error);
    match error.code().map_or("", |code| code.code()) {
        // Class 28: invalid authorization.
        code if code.starts_with("28") => Error::PermissionDenied { reason },
        // invalid_catalog_name: there is no such database.
        "3D000" => Error::InvalidUrl { reason },
        _ => Error::Unavailable {
            source: InWords::boxed(error),
        },
    }
}

/// The server's message, with the constraint's name where there is one: ours are named as sentences.
fn sentence(answer: &DbError) -> String {
    match answer.constraint() {
        Some(constraint) => format!("{} ({constraint})", answer.message()),
        None => answer.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::TABLE;
    use crate::postgres::embedded_migrations;

    fn raised_by_the_functions() -> Vec<String> {
        let runner = embedded_migrations();
        let mut codes: Vec<String> = runner
            .get_migrations()
            .iter()
            .filter_map(|migration| migration.sql())
            .flat_map(|sql| sql.split("errcode = '").skip(1))
            // A row that another program writes breaks a constraint, as it would any other.
            .filter(|rest| !rest.starts_with("check_violation'"))
            .map(|rest| rest.chars().take(5).collect())
            .collect();
        codes.sort();
        codes.dedup();
        codes
    }

    #[test]
    fn every_code_that_the_functions_raise_has_a_meaning_and_the_reverse() {
        let ours: Vec<String> = TABLE
            .iter()
            .map(|(code, _)| (*code).to_owned())
            .filter(|code| code.starts_with("PM"))
            .collect();
        assert_eq!(ours, raised_by_the_functions());
    }

    #[test]
    fn every_code_that_the_functions_raise_is_explained_in_the_readme() {
        let readme = include_str!("../../README.md");
        for code in raised_by_the_functions() {
            assert!(
                readme.contains(&format!("| `{code}` |")),
                "{code} is not in README.md"
            );
        }
    }
}
