//! The program: what it does for each of its commands.

mod database;
#[cfg(feature = "server")]
mod log;
mod m3_compat;
mod migrate;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Locks as rows in PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "pgmutex", version, about)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Migrate(migrate::Migrate),
    #[cfg(feature = "server")]
    Serve(Box<serve::Serve>),
    #[cfg(feature = "server")]
    Token(token::Token),
}

/// Runs the program with the arguments of this process, and says with which code it ends: 0, 1 if
/// something failed, 2 if the arguments make no sense.
pub fn run() -> ExitCode {
    let done: Result<(), Failure> = match Program::parse().command {
        Command::Migrate(migrate) => migrate.run(),
        #[cfg(feature = "server")]
        Command::Serve(serve) => serve.run(),
        #[cfg(feature = "server")]
        Command::Token(token) => token.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgmutex: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed, for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;
