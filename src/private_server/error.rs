//! What can go wrong, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub(super) type Result<T, E = PrivateServerError> = std::result::Result<T, E>;

/// Why a private server could not be started, stopped or crashed.
///
/// Every variant carries its data; the message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateServerError {
    /// PostgreSQL is not installed, or not where it was looked for.
    #[error(
        "no PostgreSQL found, which is a folder with `initdb` and `postgres` (looked in: {}); \
         install it with `apt-get install postgresql` (Debian, Ubuntu), \
         `dnf install postgresql-server` (Fedora), `brew install postgresql@17` (macOS), \
         or set PG_BIN to the folder with initdb and postgres",
        looked_in.join(", ")
    )]
    BinariesNotFound {
        /// The folders and patterns of folders that were looked at.
        looked_in: Vec<String>,
    },

    /// `postgres --version` did not answer with a version.
    #[error("`{} --version` named no version, but said: {output:?}", program.display())]
    UnknownVersion {
        /// The program that was asked.
        program: PathBuf,
        /// Its answer.
        output: String,
    },

    /// The installed PostgreSQL is too old.
    #[error(
        "{} holds PostgreSQL {major}, and a private server needs {oldest} or newer: \
         install a newer one, or set PG_BIN to the folder of one",
        bin_dir.display()
    )]
    UnsupportedVersion {
        /// Where it is installed.
        bin_dir: PathBuf,
        /// Its major version.
        major: u32,
        /// The oldest major version that is supported.
        oldest: u32,
    },

    /// The program runs as root, and there is no user the server could run as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither a user `postgres` nor \
         `nobody` to run it as: add one, or run the program as an ordinary user"
    )]
    NoServerUser,

    /// A setting that a private server cannot take.
    #[error("the setting `{name}` cannot be used: {reason}")]
    Setting {
        /// Name of the setting.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The folder for private servers exists but could have been prepared by somebody else.
    #[error(
        "{} must be a folder of user {expected_owner} with mode 700, but it is a {kind} of user \
         {owner} with mode {mode:o}, so what lies in it cannot be trusted: remove it, or set \
         TMPDIR to a folder of your own",
        folder.display()
    )]
    FolderNotPrivate {
        /// The folder.
        folder: PathBuf,
        /// What it is: a folder, a link or a file.
        kind: &'static str,
        /// Who owns it.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// Who should own it.
        expected_owner: u32,
    },

    /// A Unix socket in this folder could not be reached.
    #[error(
        "a Unix socket cannot lie in {}: with the name of the socket the path must stay within \
         {limit} bytes, and it must contain no comma and no quote; set TMPDIR to a shorter path",
        folder.display()
    )]
    FolderUnfit {
        /// The folder.
        folder: PathBuf,
        /// How long the path of a socket may be.
        limit: usize,
    },

    /// The folder for private servers could not be made.
    #[error(
        "user `{user}` cannot create {}: {reason}; set TMPDIR to a folder this user can write to",
        folder.display()
    )]
    FolderNotCreated {
        /// The folder.
        folder: PathBuf,
        /// Who tried.
        user: String,
        /// What the system said.
        reason: String,
    },

    /// The data folder given holds something else.
    #[error(
        "{} is neither empty nor a data folder of PostgreSQL (it has no PG_VERSION): \
         name another one",
        folder.display()
    )]
    NotADataFolder {
        /// The folder.
        folder: PathBuf,
    },

    /// The data folder given belongs to another major version of PostgreSQL.
    #[error(
        "{} was made by PostgreSQL {found}, and {} holds version {major}: name the programs of \
         version {found} with `bin_dir` or PG_BIN, or upgrade the folder with pg_upgrade",
        folder.display(),
        bin_dir.display()
    )]
    DataVersion {
        /// The data folder.
        folder: PathBuf,
        /// The version that made it.
        found: String,
        /// Where the programs are.
        bin_dir: PathBuf,
        /// Their major version.
        major: u32,
    },

    /// A program could not be run at all.
    #[error("cannot run `{program}` as user `{user}`: {source}")]
    Run {
        /// The program.
        program: String,
        /// Who should have run it.
        user: String,
        /// Why not.
        source: io::Error,
    },

    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// The shell that keeps the server is gone.
    #[error(
        "the shell that keeps the private server is gone; if nobody killed it, /bin/sh could not \
         run there"
    )]
    KeeperGone,

    /// The data folder could not be filled.
    #[error(
        "user `{user}` cannot prepare the data folder {} (that user must be able to enter every \
         folder above it); the log ends with:\n{log}",
        folder.display()
    )]
    DataNotPrepared {
        /// The data folder.
        folder: PathBuf,
        /// Who tried.
        user: String,
        /// The last lines of what `initdb` and `cp` said.
        log: String,
    },

    /// The server ended while it was starting.
    #[error("the server in {} did not start; its log ends with:\n{log}", data_dir.display())]
    NotStarted {
        /// The data folder.
        data_dir: PathBuf,
        /// The last lines of the server's log.
        log: String,
    },

    /// The server did not get there in time.
    #[error(
        "the server in {} did not {goal} within {limit:?}; its log ends with:\n{log}",
        data_dir.display()
    )]
    TimedOut {
        /// What was waited for.
        goal: &'static str,
        /// The data folder.
        data_dir: PathBuf,
        /// How long it was waited for.
        limit: Duration,
        /// The last lines of the server's log.
        log: String,
    },
}

impl PrivateServerError {
    /// For `map_err`: what was tried, and with which path.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
