use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::AutoRelease,
    server::{parameters::invalid, problem::Problem, settings::Limits},
};

/// A rule as the two texts of the table.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleGiven {
    /// `never`, `timeout`, `deadline`, or a custom rule's code.
    rule: String,
    /// The rule's setting: of a timeout, the seconds.
    #[serde(default)]
    config: String,
}

/// The rule that is asked for; `None`: that of the hold, or the default.
pub(super) fn asked_for(
    limits: &Limits,
    timeout_seconds: Option<u64>,
    rule: Option<RuleGiven>,
) -> Result<Option<AutoRelease>, Problem> {
    let rule = match (timeout_seconds, rule) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let reason = "say timeout_seconds or auto_release, not both";
            return Err(invalid("auto_release", reason));
        }
        (Some(seconds), None) => AutoRelease::Timeout(Duration::from_secs(seconds)),
        (None, Some(RuleGiven { rule, config })) => AutoRelease::restore(rule, config),
    };
    match &rule {
        AutoRelease::Connection { .. } => {
            let reason = "a hold cannot be attached to a database session over HTTP";
            return Err(invalid("auto_release", reason));
        }
        AutoRelease::Timeout(timeout) if *timeout > limits.ttl => {
            let reason = format!("a timeout is at most {} s here", limits.ttl.as_secs());
            return Err(invalid("auto_release", reason));
        }
        _ => rule.check()?,
    }
    Ok(Some(rule))
}
