//! What SIGINT, SIGTERM and SIGHUP do to a command that waits or holds: it leaves the line and gives back
//! what it has, and ends as if the signal had ended it.

use std::future::Future;

#[cfg(unix)]
use super::run::is_ignored;
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
            // It is listened for before anything is done.
            biased;
            signal = interrupted() => signal?,
            done = work => return done,
        }
    };
    mutexes.shutdown().await;
    Err(Failure::silent(signal))
}

/// Returns when a signal asks this process to end.
#[cfg(unix)]
pub(super) async fn interrupted() -> Result<Exit, Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // The terminal is gone; but whoever was started by `nohup` goes on.
    let hangup = async {
        match is_ignored(nix::sys::signal::Signal::SIGHUP) {
            true => std::future::pending().await,
            false => _ = signal(SignalKind::hangup())?.recv().await,
        }
        Ok::<_, std::io::Error>(())
    };
    Ok(tokio::select! {
        came = hangup => came.map(|()| Exit::Signal(SignalKind::hangup().as_raw_value()))?,
        _ = interrupt.recv() => Exit::Signal(SignalKind::interrupt().as_raw_value()),
        _ = terminate.recv() => Exit::Signal(SignalKind::terminate().as_raw_value()),
    })
}

#[cfg(not(unix))]
pub(super) async fn interrupted() -> Result<Exit, Failure> {
    tokio::signal::ctrl_c().await?;
    Ok(Exit::Failed)
}
