//! Signals as something to wait for.

use std::{future::poll_fn, io, task::Poll};

use nix::sys::signal::Signal::{self, *};
use tokio::signal::unix::{self, SignalKind};

/// What the program passes on to its command.
pub(super) const PASSED_ON: [Signal; 8] = [
    SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH,
];

/// What ends a program that does not care.
pub(super) fn asks_to_end(signal: Signal) -> bool {
    matches!(signal, SIGTERM | SIGINT | SIGHUP | SIGQUIT)
}

/// Signals that do to this process what they say here, and nothing else, as long as it lives.
#[derive(Debug)]
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Those of them that are not ignored: what whoever started this has switched off (as `nohup`
    /// does) stays off, here and in the command.
    pub(super) fn listen(signals: impl IntoIterator<Item = Signal>) -> io::Result<Self> {
        let mut heard = Vec::new();
        for signal in signals {
            if !is_ignored(signal) {
                heard.push((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
            }
        }
        Ok(Self(heard))
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether this process ignores it, where the system says.
pub(in crate::cli) fn is_ignored(signal: Signal) -> bool {
    ignored() >> (signal as i32 - 1) & 1 != 0
}

/// The set of signals that this process ignores, a bit for each, where the system says.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap_or_default();
    u64::from_str_radix(set.trim(), 16).unwrap_or(0)
}
