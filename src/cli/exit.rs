//! With which code the program ends.

use std::{fmt, io, process::ExitCode};

use super::{mutex_name::written, spoken::in_the_way};
use crate::domain::Error;

/// What a program that calls this one can tell apart. The numbers are those of `sysexits.h` where it
/// has a word for it, and beyond them where it has none: a command that runs under a lock seldom
/// ends with one of them by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It was done, or the answer is yes.
    Success,
    /// Anything that has no code of its own.
    Failed,
    /// The arguments make no sense.
    Usage,
    /// Migrations are pending.
    Pending,
    /// The database cannot be reached, or is one that cannot decide.
    Unavailable,
    /// The database's answer makes no sense.
    Protocol,
    /// Another has it: nothing was captured.
    Busy,
    /// The database role may not do this.
    Denied,
    /// The schema is missing, or not of this program's version.
    Schema,
    /// The hold is gone.
    Lost,
    /// It may have been done, or not.
    Unknown,
    /// The command is no program.
    #[cfg(unix)]
    NotExecutable,
    /// There is no such command.
    #[cfg(unix)]
    NotFound,
    /// This signal ended it.
    #[cfg(unix)]
    Signal(i32),
    /// As the command that it ran.
    Status(u8),
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Pending => 3,
            Self::Unavailable => 69,
            Self::Protocol => 70,
            Self::Busy => 75,
            Self::Denied => 77,
            Self::Schema => 78,
            Self::Lost => 79,
            Self::Unknown => 80,
            #[cfg(unix)]
            Self::NotExecutable => 126,
            #[cfg(unix)]
            Self::NotFound => 127,
            // As shells say it.
            #[cfg(unix)]
            Self::Signal(number) => 128_u8.wrapping_add(u8::try_from(number).unwrap_or(0)),
            Self::Status(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::Busy { .. }
            | Error::Timeout { .. }
            | Error::NoneAvailable { .. }
            | Error::WaitCircle { .. }
            | Error::Contended { .. }
            | Error::Deadlock { .. } => Self::Busy,
            Error::Lost { .. } => Self::Lost,
            Error::InvalidId { .. }
            | Error::InvalidOwner { .. }
            | Error::InvalidRule { .. }
            | Error::InvalidInput { .. }
            | Error::InvalidUrl { .. }
            | Error::Refused { .. } => Self::Usage,
            Error::NotMigrated { .. } | Error::SchemaVersion { .. } => Self::Schema,
            Error::PermissionDenied { .. } => Self::Denied,
            Error::Unavailable { .. } | Error::NoSession { .. } | Error::ReadOnly { .. } => {
                Self::Unavailable
            }
            Error::OutcomeUnknown { .. } => Self::Unknown,
            Error::Protocol { .. } | Error::OutsideScope => Self::Protocol,
            Error::UnknownSession { .. }
            | Error::IsolationLevel { .. }
            | Error::Migration { .. }
            | Error::Database { .. } => Self::Failed,
        }
    }
}

/// Why a command ends otherwise than well.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// For people; empty if there is nothing to say.
    message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// The same with the code that was asked for; with 0 there is nothing to say about it.
    pub(super) fn with_code(self, code: u8) -> Self {
        match code {
            0 => Self::silent(Exit::Success),
            code => Self::new(Exit::Status(code), self.message),
        }
    }

    /// Arguments that make no sense.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// For what has no code of its own.
    #[cfg(feature = "server")]
    pub(super) fn of(error: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }

    /// It ends so, and has said why.
    pub(super) fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let advice = match &error {
            // The library's advice names a function.
            Error::NotMigrated { schema, .. } => {
                return Self::new(
                    Exit::Schema,
                    format!(
                        "schema {schema:?} is not installed, or not completely: run `pgmutex migrate`"
                    ),
                );
            }
            Error::Busy { id, holder, .. } => {
                return Self::new(
                    Exit::Busy,
                    format!("mutex {} is {}", written(id), in_the_way(holder)),
                );
            }
            Error::Timeout { id, waited, holder } => {
                let holder = holder.as_ref();
                let why =
                    holder.map_or_else(String::new, |holder| format!(": {}", in_the_way(holder)));
                return Self::new(
                    Exit::Busy,
                    format!(
                        "waited {:.1} s for mutex {} in vain{why}",
                        waited.as_secs_f64(),
                        written(id)
                    ),
                );
            }
            Error::PermissionDenied { .. } => {
                "; look at user and password, or let the owner of the schema grant what is missing (pgmutex grant --help)"
            }
            _ => "",
        };
        Self::new(Exit::from(&error), format!("{error}{advice}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Whoever read has enough: as a program that SIGPIPE ends.
            io::ErrorKind::BrokenPipe => Self::silent(Exit::Status(141)),
            _ => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(Exit::Failed, message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new(Exit::Failed, message)
    }
}
