//! The program as a process.

use std::process::{Command, Output, Stdio};

/// Everything of the environment that the program reads.
const VARIABLES: [&str; 20] = [
    "DATABASE_URL",
    "PGMUTEX_DIRECT_URL",
    "PGMUTEX_SCHEMA",
    "PGMUTEX_OWNER_SESSION",
    "PGMUTEX_TOKENS",
    "PGMUTEX_LOG",
    "PGMUTEX_LOG_FORMAT",
    "PGMUTEX_METRICS_FILE",
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGOPTIONS",
    "NO_COLOR",
    "COLUMNS",
    "HOME",
];

/// The program, which finds nothing of this process's environment.
pub(crate) fn pgmutex(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgmutex"));
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) said: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            output: String::from_utf8(output.stdout).unwrap(),
            said: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the program to its end, with this database.
pub(crate) fn run(url: &str, arguments: &[&str]) -> Ended {
    let mut command = pgmutex(arguments);
    command.env("DATABASE_URL", url).output().unwrap().into()
}
