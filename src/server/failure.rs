//! The one table of what each error of the library is over HTTP.

use super::problem::{
    BUSY, FAULT, INVALID, LOST, NONE_AVAILABLE, NOT_READY, OUTCOME_UNKNOWN, Problem, UNAVAILABLE,
    UNKNOWN_SESSION, WAIT_CIRCLE, WAITED_IN_VAIN,
};
use crate::{domain::Error, json::Hold};

/// What clients read of a failure of the database's: the rest is in the server's log.
const DATABASE: &str = "the database could not do it; the server's log says why";

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::Busy {
                holder,
                observed_at,
                ..
            } => Self::new(BUSY, error.to_string())
                .with("holder", Hold::from(&**holder))
                .with("observed_at", observed_at),
            Error::Timeout { waited, holder, .. } => {
                let problem = Self::new(WAITED_IN_VAIN, error.to_string())
                    .with("waited_seconds", waited.as_secs_f64());
                match holder {
                    Some(holder) => problem.with("holder", Hold::from(&**holder)),
                    None => problem,
                }
            }
            Error::NoneAvailable { waited, .. } => Self::new(NONE_AVAILABLE, error.to_string())
                .with("waited_seconds", waited.as_secs_f64()),
            Error::UnknownSession { .. } => Self::new(UNKNOWN_SESSION, error.to_string()),
            Error::WaitCircle { .. } => Self::new(WAIT_CIRCLE, error.to_string()),
            Error::Lost { .. } => Self::new(LOST, error.to_string()),
            Error::InvalidId { field, .. }
            | Error::InvalidOwner { field, .. }
            | Error::InvalidInput { field, .. } => {
                Self::new(INVALID, error.to_string()).with("field", field)
            }
            Error::InvalidRule { .. } => {
                Self::new(INVALID, error.to_string()).with("field", "auto_release")
            }
            Error::Refused { .. } => {
                tracing::warn!(%error, "refused by the database");
                Self::new(INVALID, "the database refused a value of the request")
            }
            Error::Contended { .. } | Error::Deadlock { .. } => Self::new(
                UNAVAILABLE,
                "another transaction is deciding about it; try again",
            )
            .retry_after(1),
            Error::OutcomeUnknown { .. } => {
                tracing::warn!(%error, "an outcome is unknown");
                let detail = "the connection to the database broke: repeat the request, with the same owner and request id, to find out";
                Self::new(OUTCOME_UNKNOWN, detail).retry_after(1)
            }
            Error::Unavailable { .. } => {
                tracing::warn!(%error, "the database is unavailable");
                Self::new(UNAVAILABLE, "nothing was changed; try again").retry_after(2)
            }
            Error::ReadOnly { .. } | Error::NoSession { .. } => {
                tracing::error!(%error, "the database cannot be used");
                Self::new(UNAVAILABLE, DATABASE).retry_after(5)
            }
            Error::NotMigrated { .. } | Error::SchemaVersion { .. } => {
                tracing::error!(%error, "the schema does not fit");
                let detail = "the tables of the database are not those of this server's version";
                Self::new(NOT_READY, detail).retry_after(30)
            }
            Error::Database { .. } if error.is_transient() => {
                tracing::warn!(%error, "the database could not do it for the moment");
                Self::new(UNAVAILABLE, DATABASE).retry_after(1)
            }
            _ => {
                tracing::error!(%error, "a request could not be served");
                Self::new(FAULT, DATABASE)
            }
        }
    }
}
