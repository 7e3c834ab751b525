//! Who is at work now: the owner that calls use when none is named.

use std::future::Future;

use crate::domain::MutexOwner;

tokio::task_local! {
    static CURRENT: MutexOwner;
}

/// Runs a future with this owner as the one that calls use when they name none: an application
/// wraps each request that it serves in its user's owner.
///
/// It holds for the future itself, wherever it is polled, not for tasks that it spawns: wrap those
/// too. Scopes nest.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), pgmutex::Error> {
/// use pgmutex::{MutexOwner, current_owner, with_owner};
///
/// let ada = MutexOwner::new("session-of-ada")?;
/// with_owner(ada.clone(), async { assert_eq!(current_owner(), ada) }).await;
/// assert_eq!(current_owner(), MutexOwner::console());
/// # Ok(())
/// # }
/// ```
pub async fn with_owner<F: Future>(owner: MutexOwner, future: F) -> F::Output {
    CURRENT.scope(owner, future).await
}

/// The owner of the enclosing [`with_owner`]; outside of any, [`MutexOwner::console`].
pub fn current_owner() -> MutexOwner {
    CURRENT
        .try_with(Clone::clone)
        .unwrap_or_else(|_| MutexOwner::console())
}
