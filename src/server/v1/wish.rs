use std::time::Duration;

use crate::{
    domain::{Access, Reach, Wish},
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

/// What is locked beside a path of a tree; a plain mutex locks nothing beside itself.
pub(super) fn reach(
    wish: &Wish,
    lock_parents: Option<bool>,
    lock_children: Option<bool>,
) -> Result<Reach, Problem> {
    let can_reach = wish.reach != Reach::none();
    if !can_reach && (lock_parents.is_some() || lock_children.is_some()) {
        let reason = "are for paths of a tree only";
        return Err(invalid("lock_parents, lock_children", reason));
    }
    Ok(Reach {
        parents: lock_parents.unwrap_or(can_reach),
        children: lock_children.unwrap_or(can_reach),
    })
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
