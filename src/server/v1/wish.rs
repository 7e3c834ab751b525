use std::time::Duration;

use crate::{
    domain::Access,
    server::{parameters::invalid, problem::Problem, seconds::Seconds, settings::Limits},
};

/// The access that is asked for.
pub(super) fn access(access: Option<&str>, permits: Option<u32>) -> Result<Access, Problem> {
    match (access, permits) {
        (None | Some("exclusive"), None) => Ok(Access::Exclusive),
        (None | Some("shared"), Some(permits)) => Ok(Access::permit_of(permits)),
        (Some("shared"), None) => Ok(Access::shared()),
        (Some("exclusive"), Some(_)) => {
            Err(invalid("permits", "is for shared access: a semaphore"))
        }
        (Some(_), _) => Err(invalid("access", "is exclusive or shared")),
    }
}

/// For how long to wait: not longer than the server allows.
pub(super) fn wait(limits: &Limits, seconds: Option<f64>) -> Result<Duration, Problem> {
    let Some(seconds) = seconds else {
        return Ok(Duration::ZERO);
    };
    match Seconds::new(seconds) {
        Ok(Seconds(wait)) => Ok(wait.min(limits.wait)),
        Err(error) => Err(invalid("wait_seconds", error)),
    }
}
