//! The program: what it does for each of its commands.
//!
//! A command is a file of its own: its arguments, and what it does with them through `Mutexes`.

mod audit;
mod bench;
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
mod metrics_file;
mod migrate;
mod mutex_name;
mod output;
mod pool;
mod printable;
mod question;
mod refresh;
mod release;
#[cfg(unix)]
mod run;
mod secrets;
#[cfg(feature = "server")]
mod serve;
mod show;
mod spoken;
mod sweep;
mod table;
#[cfg(feature = "server")]
mod token;
mod top;
mod wait;
mod waiting;
mod wanted;

use std::{future::Future, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use exit::{Exit, Failure};
use output::Output;

use crate::domain::MutexId;

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

    #[command(flatten, next_help_heading = "Output")]
    metrics_file: metrics_file::MetricsFile,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(unix)]
    Run(Box<run::Run>),
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
    Bench(bench::Bench),
    #[cfg(feature = "server")]
    Serve(Box<serve::Serve>),
    #[cfg(feature = "server")]
    Token(token::Token),
    Top(top::Top),
    Completions(completions::Completions),
    #[command(name = "man")]
    Manual(manual::Manual),
    #[cfg(unix)]
    #[command(name = run::KEEPER, hide = true)]
    Keeper(run::Keeper),
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
    let (program, name) = match parsed() {
        Ok(parsed) => parsed,
        Err(refused) => {
            return answered(&refused);
        }
    };
    program
        .run(&name)
        .unwrap_or_else(|failure| {
            let message = failure.to_string();
            if !message.is_empty() {
                say(&message);
            }
            failure.exit
        })
        .into()
}

/// What the arguments say, and what the command is called.
fn parsed() -> Result<(Program, String), clap::Error> {
    let mut command = Program::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let name = matches.subcommand_name().unwrap_or_default().to_owned();
    let program = Program::from_arg_matches(&matches).map_err(|error| error.format(&mut command));
    Ok((program?, name))
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
    fn run(self, name: &str) -> Result<Exit, Failure> {
        let Self {
            command,
            database,
            format,
            log,
            metrics_file,
        } = self;
        let mut output = format.output();
        log.begin(command.usual_log())?;
        let recording = match command.is_part_of_another() {
            true => None,
            false => metrics_file.begin(name, command.mutex())?,
        };
        let ended = command.run(&database, &mut output);
        if let Some(recording) = recording {
            recording.end(match &ended {
                Ok(exit) => *exit,
                Err(failure) => failure.exit,
            });
        }
        ended
    }
}

impl Command {
    fn run(self, database: &database::Database, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => block_on(list.run(database, output)),
            Self::Show(show) => block_on(show.run(database, output)),
            Self::Capture(capture) => block_on(capture.run(database, output)),
            Self::Refresh(refresh) => block_on(refresh.run(database, output)),
            Self::Release(release) => block_on(release.run(database, output)),
            Self::ForceRelease(force) => block_on(force.run(database, output)),
            Self::Wait(wait) => block_on(wait.run(database, output)),
            Self::Sweep(sweep) => block_on(sweep.run(database, output)),
            Self::Pool(pool) => block_on(pool.run(database, output)),
            Self::Migrate(migrate) => block_on(migrate.run(database, output)),
            #[cfg(unix)]
            Self::Run(run) => block_on(run.run(database, output)),
            #[cfg(unix)]
            Self::Keeper(keeper) => block_on(keeper.run()),
            Self::Grant(grant) => block_on(grant.run(database, output)),
            Self::Revoke(revoke) => block_on(revoke.run(database, output)),
            Self::Roles(roles) => block_on(roles.run(database, output)),
            Self::Audit(audit) => block_on(audit.run(database, output)),
            Self::Doctor(doctor) => block_on(doctor.run(database, output)),
            Self::Bench(bench) => bench.run(database, output),
            #[cfg(feature = "server")]
            Self::Serve(serve) => serve.run(database, output),
            #[cfg(feature = "server")]
            Self::Token(token) => token.run(output),
            Self::Completions(completions) => completions.run(Program::command(), output),
            Self::Manual(manual) => manual.run(Program::command(), output),
            Self::Top(top) => block_on(top.run(database, output)),
        }
    }

    /// Whether it is not what somebody has asked for, but runs for a command that was.
    fn is_part_of_another(&self) -> bool {
        #[cfg(unix)]
        let is_keeper = matches!(self, Self::Keeper(_));
        #[cfg(not(unix))]
        let is_keeper = false;
        is_keeper
    }

    /// The mutex that it is about.
    fn mutex(&self) -> Option<&MutexId> {
        match self {
            Self::Capture(capture) => Some(capture.mutex()),
            Self::Refresh(refresh) => Some(refresh.mutex()),
            Self::Release(release) => Some(release.mutex()),
            Self::ForceRelease(force) => Some(force.mutex()),
            Self::Show(show) => Some(show.mutex()),
            Self::Wait(wait) => Some(wait.mutex()),
            #[cfg(unix)]
            Self::Run(run) => Some(run.mutex()),
            _ => None,
        }
    }

    /// What goes to the log where nothing is said: a command tells its caller what there is to tell.
    fn usual_log(&self) -> &'static str {
        match self {
            #[cfg(feature = "server")]
            Self::Serve(_) => "info",
            _ => "error,pgmutex::postgres::environment=warn",
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
