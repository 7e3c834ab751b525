//! The program: what it does for each of its commands.
//!
//! A command is a file of its own: its arguments, and what it does with them through `Mutexes`.

mod audit;
mod capture;
mod completions;
mod database;
mod doctor;
mod duration;
mod exit;
mod force_release;
mod grant;
mod holder;
mod interrupt;
mod list;
mod log;
mod m3_compat;
mod manual;
mod migrate;
mod mutex_name;
mod output;
mod pool;
mod printable;
mod question;
mod refresh;
mod release;
mod secrets;
#[cfg(feature = "server")]
mod serve;
mod show;
mod spoken;
mod sweep;
mod table;
#[cfg(feature = "server")]
mod token;
mod wait;
mod wanted;

use std::{future::Future, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

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
    List(list::List),
    Show(show::Show),
    Capture(capture::Capture),
    Refresh(refresh::Refresh),
    Release(release::Release),
    ForceRelease(force_release::ForceRelease),
    Wait(wait::Wait),
    Sweep(sweep::Sweep),
    Pool(pool::Pool),
    Migrate(migrate::Migrate),
    Grant(grant::Grant),
    Revoke(grant::Revoke),
    Roles(grant::Roles),
    Audit(audit::Audit),
    Doctor(doctor::Doctor),
    #[cfg(feature = "server")]
    Serve(Box<serve::Serve>),
    #[cfg(feature = "server")]
    Token(token::Token),
    Completions(completions::Completions),
    #[command(name = "man")]
    Manual(manual::Manual),
}

const AFTER_HELP: &str = "\
Exit codes:
  0    done, or yes
  1    failed
  2    the arguments make no sense
  3    migrations are pending (migrate --check)
  69   the database cannot be reached, or cannot decide (a standby)
  70   the database's answer makes no sense
  75   another has it, or the time to wait is up
  77   the database refuses the role, its password or its rights
  78   the schema is missing, or of another version
  79   the hold is gone
  80   it may have been done or not: do it again with the same --session
  126, 127, 128+N  of run: not executable, not found, ended by signal N
  130, 143, 141    SIGINT or SIGTERM came; nobody reads what is printed";

/// Runs the program with the arguments of this process, and says with which code it ends.
pub fn run() -> ExitCode {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(refused) => {
            return answered(&refused);
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

/// Help that was asked for, or what is wrong with the arguments: a URL among them may have a password.
fn answered(refused: &clap::Error) -> ExitCode {
    use std::io::Write as _;

    let text = secrets::masked(&refused.render().to_string());
    if refused.use_stderr() {
        // Nobody may be reading; the code says enough.
        let _ = write!(std::io::stderr(), "{text}");
        return Exit::Usage.into();
    }
    let mut stdout = std::io::stdout();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Success.into(),
        Err(error) => Failure::from(error).exit.into(),
    }
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
            Command::List(list) => block_on(list.run(&database, &mut output)),
            Command::Show(show) => block_on(show.run(&database, &mut output)),
            Command::Capture(capture) => block_on(capture.run(&database, &mut output)),
            Command::Refresh(refresh) => block_on(refresh.run(&database, &mut output)),
            Command::Release(release) => block_on(release.run(&database, &mut output)),
            Command::ForceRelease(force) => block_on(force.run(&database, &mut output)),
            Command::Wait(wait) => block_on(wait.run(&database, &mut output)),
            Command::Sweep(sweep) => block_on(sweep.run(&database, &mut output)),
            Command::Pool(pool) => block_on(pool.run(&database, &mut output)),
            Command::Migrate(migrate) => block_on(migrate.run(&database, &mut output)),
            Command::Grant(grant) => block_on(grant.run(&database, &mut output)),
            Command::Revoke(revoke) => block_on(revoke.run(&database, &mut output)),
            Command::Roles(roles) => block_on(roles.run(&database, &mut output)),
            Command::Audit(audit) => block_on(audit.run(&database, &mut output)),
            Command::Doctor(doctor) => block_on(doctor.run(&database, &mut output)),
            #[cfg(feature = "server")]
            Command::Serve(serve) => serve.run(&database, &mut output),
            #[cfg(feature = "server")]
            Command::Token(token) => token.run(&mut output),
            Command::Completions(completions) => completions.run(Self::command(), &mut output),
            Command::Manual(manual) => manual.run(Self::command(), &mut output),
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
