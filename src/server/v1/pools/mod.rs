//! Pools of sessions under `/v1/pools`. Their payloads are what workers log in with: whoever may
//! only look sees the totals, and no session.

pub(in crate::server) mod change;
pub(in crate::server) mod lease;
pub(in crate::server) mod look;
pub(in crate::server) mod session;
pub(in crate::server) mod take;

use crate::{
    domain::{Error, Period},
    pool::SessionPool,
    server::{
        app::App,
        problem::{OUTCOME_UNKNOWN, Problem},
    },
};

fn pool(app: &App, collection: String) -> SessionPool {
    SessionPool::new(&app.mutexes, collection)
}

fn seconds(seconds: Option<f64>) -> Option<Period> {
    seconds.map(Period::seconds)
}

/// For what would be done once more if it was asked for again.
fn not_repeatable(error: Error) -> Problem {
    match error {
        Error::OutcomeUnknown { .. } => {
            tracing::warn!(%error, "an outcome is unknown");
            let detail = "the connection to the database broke: look whether it was done before you ask again, or it may be done twice";
            Problem::new(OUTCOME_UNKNOWN, detail)
        }
        error => error.into(),
    }
}
