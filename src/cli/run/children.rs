//! What becomes of the processes that this one has started or adopted.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{Child, ExitStatus},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::super::Exit;

/// Children of this process, adopted ones too: nobody else may wait for them.
#[derive(Debug)]
pub(super) struct Children {
    changes: Signals,
    /// The one whose end matters.
    first: Child,
    end: Option<End>,
    /// Whether somebody has stopped it.
    is_stopped: bool,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, number) => Self::Signal(number.unwrap_or(0)),
        }
    }
}

impl From<End> for Exit {
    fn from(end: End) -> Self {
        match end {
            End::Code(code) => u8::try_from(code).map_or(Self::Failed, Self::Status),
            End::Signal(number) => Self::Signal(number),
        }
    }
}

/// The number of a process, as the system calls want it.
pub(super) fn pid(child: &Child) -> Pid {
    // They are positive numbers of 31 bits everywhere.
    Pid::from_raw(child.id().cast_signed())
}

/// Hears of children that end; to be made before the first is started.
pub(super) fn changes() -> io::Result<Signals> {
    signal(SignalKind::child())
}

impl Children {
    pub(super) fn new(changes: Signals, first: Child) -> Self {
        Self {
            changes,
            first,
            end: None,
            is_stopped: false,
        }
    }

    /// Returns when there may be one to bury.
    pub(super) async fn changed(&mut self) {
        self.changes.recv().await;
    }

    /// Lets the first child go on, if somebody has stopped it.
    pub(super) fn let_go_on(&mut self) {
        if std::mem::take(&mut self.is_stopped) {
            let _ = kill(pid(&self.first), Signal::SIGCONT);
        }
    }

    /// Buries the dead, and says how the first child has ended, if it has.
    pub(super) fn bury(&mut self) -> Option<End> {
        if self.end.is_none()
            && let Ok(Some(status)) = self.first.try_wait()
        {
            self.end = Some(status.into());
        }
        let first = pid(&self.first);
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Stopped(pid, _)) if pid == first => self.is_stopped = true,
                Ok(WaitStatus::Exited(pid, code)) if pid == first => {
                    self.end = Some(End::Code(code));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == first => {
                    self.end = Some(End::Signal(signal as i32));
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return self.end,
                Ok(_) | Err(Errno::EINTR) => {}
                // Ended by a signal that has no name: nobody says who.
                Err(_) => {
                    if self.end.is_none() && kill(first, None) == Err(Errno::ESRCH) {
                        self.end = Some(End::Signal(0));
                    }
                }
            }
        }
    }
}
