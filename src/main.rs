//! The program `pgmutex`: `pgmutex --help` says what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgmutex::cli::run()
}
