//! Which holds the current task keeps until what it is doing is done: who waits inside of such work
//! keeps others waiting meanwhile.

use std::future::Future;

use crate::domain::FencingToken;

tokio::task_local! {
    static HELD: Vec<FencingToken>;
}

/// The holds inside whose work this is called.
pub(crate) fn held_here() -> Vec<FencingToken> {
    HELD.try_with(Clone::clone).unwrap_or_default()
}

/// Runs work inside of a hold.
pub(super) async fn inside<F: Future>(token: FencingToken, work: F) -> F::Output {
    let mut held = held_here();
    held.push(token);
    HELD.scope(held, work).await
}
