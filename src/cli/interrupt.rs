//! What SIGINT and SIGTERM do to a command that waits or holds: it leaves the line and gives back
//! what it has, and ends as if the signal had ended it.

use std::future::Future;

use super::{Exit, Failure};
use crate::mutexes::Mutexes;

/// Does the work, or as much of it as there is time for before a signal comes; then all that it
/// leaves behind is given back.
pub(super) async fn unless_interrupted<T>(
    mutexes: &Mutexes,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let signal = {
        let work = std::pin::pin!(work);
        tokio::select! {
            done = work => return done,
            signal = interrupted() => signal?,
        }
    };
    mutexes.shutdown().await;
    Err(Failure::silent(signal))
}

/// Returns when a signal asks this process to end.
#[cfg(unix)]
async fn interrupted() -> Result<Exit, Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Exit::Signal(SignalKind::interrupt().as_raw_value()),
        _ = terminate.recv() => Exit::Signal(SignalKind::terminate().as_raw_value()),
    })
}

#[cfg(not(unix))]
async fn interrupted() -> Result<Exit, Failure> {
    tokio::signal::ctrl_c().await?;
    Ok(Exit::Failed)
}
