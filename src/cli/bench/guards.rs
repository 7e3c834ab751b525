//! Many guards at once.

use std::ops::Range;

use super::{Failure, ours::id};
use crate::{
    domain::Access,
    guard::{Guard, LockAll},
    mutexes::Mutexes,
};

/// How many are locked in one call.
pub(super) const TOGETHER: usize = 1000;

/// Locks those of these numbers, each call as it is said here.
pub(super) async fn lock(
    mutexes: &Mutexes,
    numbers: Range<usize>,
    said: impl Fn(LockAll) -> LockAll,
) -> Result<Vec<Guard>, Failure> {
    let mut guards = Vec::with_capacity(numbers.len());
    for first in numbers.clone().step_by(TOGETHER) {
        let until = numbers.end.min(first + TOGETHER);
        let ids: Vec<_> = (first..until)
            .map(|number| id(&format!("guard-{number}")))
            .collect::<Result<_, _>>()?;
        let all = ids.iter().map(|id| (id, Access::Exclusive));
        guards.extend(said(mutexes.lock_all(all)).await?);
    }
    Ok(guards)
}

/// Gives them back, in as many calls.
pub(super) async fn release(mutexes: &Mutexes, guards: Vec<Guard>) -> Result<(), Failure> {
    let mut last = None;
    for guard in guards {
        let parts = guard.into_parts();
        if last.as_ref() != Some(&parts.owner) {
            mutexes.release_owner(&parts.owner).await?;
            last = Some(parts.owner);
        }
    }
    Ok(())
}
