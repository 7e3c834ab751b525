//! The routes under `/v1`: the project's verbs, in JSON. GET changes nothing.

mod asker;
pub(super) mod capture;
pub(super) mod capture_all;
mod cursor;
pub(super) mod force_release;
pub(super) mod list;
mod name;
pub(super) mod pools;
pub(super) mod refresh;
pub(super) mod release;
pub(super) mod request;
mod rule;
pub(super) mod waiters;
mod wish;

use serde::Serialize;
use utoipa::ToSchema;

use super::{body, problem::Problem};
use crate::json::Hold;

/// An answer in JSON.
fn answer(answer: &impl Serialize) -> Result<axum::response::Response, Problem> {
    Ok(body::json(body::written(answer)?))
}

/// What a release did, forced or not.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Given {
    /// `released` or `not_held`.
    outcome: &'static str,
    /// The hold that is gone now.
    hold: Option<Hold>,
}

impl Given {
    fn back(hold: &crate::domain::Mutex) -> Self {
        Self {
            outcome: "released",
            hold: Some(Hold::from(hold)),
        }
    }

    const NOT_HELD: Self = Self {
        outcome: "not_held",
        hold: None,
    };
}
