//! What the program tells the keeper of its command, through a pipe that ends with the program.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    unistd::{close, read},
};
use tokio::net::unix::pipe::Receiver;

use super::clock::Moment;

/// One line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The command may run until then.
    RunUntil(Moment),
    /// The command is to end now, and is dead by then.
    EndBy(Moment),
    /// The command is to get the signal with this number. What comes before it is started is not lost
    /// then.
    Pass(i32),
}

impl Order {
    fn line(self) -> String {
        match self {
            Self::RunUntil(moment) => format!("run {}\n", moment.nanos()),
            Self::EndBy(moment) => format!("end {}\n", moment.nanos()),
            Self::Pass(signal) => format!("pass {signal}\n"),
        }
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (verb, number) = line.split_once(' ')?;
        let moment = || Some(Moment::from_nanos(number.parse().ok()?));
        match verb {
            "run" => Some(Self::RunUntil(moment()?)),
            "end" => Some(Self::EndBy(moment()?)),
            "pass" => Some(Self::Pass(number.parse().ok()?)),
            _ => None,
        }
    }
}

/// The program's end. When the program dies, the system closes it, and the keeper is told by that.
#[derive(Debug)]
pub(super) struct Giver(File);

/// The keeper's end as long as it is in the program, to be inherited.
#[derive(Debug)]
pub(super) struct Inherited(OwnedFd);

pub(super) fn pipe() -> io::Result<(Giver, Inherited)> {
    let (read, write) = nix::unistd::pipe()?;
    fcntl(&write, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // A keeper that does not read must not keep the program from reading its clock.
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((Giver(write.into()), Inherited(read)))
}

impl Inherited {
    /// Under which number the keeper finds it.
    pub(super) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Giver {
    /// Passes an order on. Nobody hears it if the keeper is dead, or has been stopped for so long that
    /// the pipe is full: then its last deadline stands.
    pub(super) fn give(&self, order: Order) {
        // One write: so short a line goes in as a whole or not at all.
        let _ = (&self.0).write(order.line().as_bytes());
    }
}

/// The keeper's end.
#[derive(Debug)]
pub(super) struct Taker {
    pipe: Receiver,
    pending: Vec<u8>,
    is_closed: bool,
}

impl Taker {
    /// Opens the end that was inherited under this number, so that nobody else inherits it.
    pub(super) fn open(number: RawFd) -> io::Result<Self> {
        let path = format!("/dev/fd/{number}");
        let file = File::open(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot open {path}: {error}"))
        })?;
        close(number)?;
        Ok(Self {
            pipe: Receiver::from_file(file)?,
            pending: Vec::new(),
            is_closed: false,
        })
    }

    /// Whether the program is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns when there may be something to take; never, once the program is gone.
    pub(super) async fn ready(&self) {
        if self.is_closed || self.pipe.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// All orders that have come.
    pub(super) fn take(&mut self) -> Vec<Order> {
        let mut bytes = [0; 4096];
        while !self.is_closed {
            match self.pipe.try_read(&mut bytes) {
                Ok(0) => self.is_closed = true,
                Ok(count) => self.pending.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_closed = true,
            }
        }
        // Readiness may be known from before this process was stopped: what has come since then is asked of
        // the system itself, so that no old deadline is taken for the last word.
        while !self.is_closed {
            match read(&self.pipe, &mut bytes) {
                Ok(0) => self.is_closed = true,
                Ok(count) => self.pending.extend_from_slice(&bytes[..count]),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        let mut orders = Vec::new();
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            orders.extend(Order::parse(&line[..end]));
        }
        orders
    }
}
