//! The program: what it does for each of its commands.
//!
//! A command is a file of its own: its arguments, and what it does with them through `Mutexes`.

mod capture;
mod database;
mod duration;
mod exit;
mod holder;
mod interrupt;
mod log;
mod m3_compat;
mod migrate;
mod mutex_name;
mod output;
mod printable;
mod release;
#[cfg(unix)]
mod run;
#[cfg(feature = "server")]
mod serve;
mod spoken;
#[cfg(feature = "server")]
mod token;
mod wanted;

use std::{future::Future, process::ExitCode};

use clap::{Parser, Subcommand};

use exit::{Exit, Failure};
use output::Output;

/// Locks as rows in PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "pgmutex", version, about, max_term_width = 100, after_long_help = AFTER_HELP)]
struct Program {
    #[command(subcommand)]
    command: Command,

    #[command(flatten, next_help_heading = "Database")]
    database: database::Database,

    #[command(flatten, next_help_heading = "Output")]
    format: output::Format,

    #[command(flatten, next_help_heading = "Output")]
    log: log::Log,
}

#[derive(Debug, Subcommand)]
enum Command {
    Capture(capture::Capture),
    Release(release::Release),
    Migrate(migrate::Migrate),
    #[cfg(unix)]
    Run(Box<run::Run>),
    #[cfg(unix)]
    #[command(name = run::KEEPER, hide = true)]
    Keeper(run::Keeper),
    #[cfg(feature = "server")]
    Serve(Box<serve::Serve>),
    #[cfg(feature = "server")]
    Token(token::Token),
}

const AFTER_HELP: &str = "\
Exit codes:
  0    done, or yes
  1    failed
  2    the arguments make no sense
  3    migrations are pending (migrate --check)
  69   the database cannot be reached, or cannot decide (a standby)
  70   the database's answer makes no sense
  75   another has it; nothing was captured
  77   the database role may not do this
  78   the schema is missing, or of another version
  79   the hold is gone
  80   it may have been done or not: do it again with the same --session
  126, 127, 128+N  of run: not executable, not found, ended by signal N";

/// Runs the program with the arguments of this process, and says with which code it ends.
pub fn run() -> ExitCode {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(refused) => {
            // Nobody may be reading; the code says enough.
            let _ = refused.print();
            return match refused.use_stderr() {
                true => Exit::Usage.into(),
                false => Exit::Success.into(),
            };
        }
    };
    program
        .run()
        .unwrap_or_else(|failure| {
            let message = failure.to_string();
            if !message.is_empty() {
                say(&message);
            }
            failure.exit
        })
        .into()
}

impl Program {
    fn run(self) -> Result<Exit, Failure> {
        let Self {
            command,
            database,
            format,
            log,
        } = self;
        let mut output = format.output();
        log.begin(command.usual_log())?;
        match command {
            Command::Capture(capture) => block_on(capture.run(&database, &mut output)),
            Command::Release(release) => block_on(release.run(&database, &mut output)),
            Command::Migrate(migrate) => block_on(migrate.run(&database, &mut output)),
            #[cfg(unix)]
            Command::Run(run) => block_on(run.run(&database, &mut output)),
            #[cfg(unix)]
            Command::Keeper(keeper) => block_on(keeper.run()),
            #[cfg(feature = "server")]
            Command::Serve(serve) => serve.run(&database, &mut output),
            #[cfg(feature = "server")]
            Command::Token(token) => token.run(&mut output),
        }
    }
}

impl Command {
    /// What goes to the log where nothing is said: a command tells its caller what there is to tell.
    fn usual_log(&self) -> &'static str {
        match self {
            #[cfg(feature = "server")]
            Self::Serve(_) => "info",
            _ => "error",
        }
    }
}

/// Does a command's work. What it has to do with the database happens on threads of the library's own.
fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// Tells people something that is not the answer, on standard error.
fn say(message: &str) {
    use std::io::Write as _;

    // Where nobody reads, nobody is to be told.
    let message = printable::printable(message);
    let _ = writeln!(std::io::stderr(), "pgmutex: {message}");
}
