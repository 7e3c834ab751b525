use std::{
    ffi::OsString,
    future::{Future, IntoFuture as _},
    pin::pin,
    time::{Duration, Instant},
};

use clap::Args;
use nix::sys::signal::{Signal, raise};
use tokio::time::{sleep, timeout};

use super::{
    super::{
        Exit, Failure, Output,
        database::Database,
        duration,
        holder::Person,
        metrics_file,
        mutex_name::{HOW_TO_NAME, MutexName},
        spoken,
        waiting::telling,
        wanted::Wanted,
    },
    clock::Clocks,
    say,
    signals::{PASSED_ON, Signals, asks_to_end},
    supervise::supervise,
};
use crate::{
    domain::{Access, AutoRelease, FencingToken, MutexId, Released},
    guard::Wait,
};

/// How long the release may take, and leaving the line.
const GIVING_BACK: Duration = Duration::from_secs(10);

/// The same for a hold that is lost, and may be there all the same.
const LAST_TRY: Duration = Duration::from_secs(1);

const LONGEST_GRACE: Duration = Duration::from_secs(10);

/// Holds a mutex while a command runs
///
/// It waits in line until the mutex is free, runs the command with its arguments as they are (no shell
/// reads them), and gives the mutex back when the command has ended and all that it has started. It
/// ends with the command's exit code.
///
/// The command gets PGMUTEX_FENCING_TOKEN, PGMUTEX_GROUP, PGMUTEX_MODE, PGMUTEX_ID and
/// PGMUTEX_OWNER_SESSION in its environment, and runs in a process group of its own. SIGTERM, SIGINT,
/// SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT and SIGWINCH are passed on to it. It is not suspended by
/// Ctrl-Z. What it leaves behind when it ends gets SIGTERM, and SIGKILL after the grace; what has begun
/// a session of its own (setsid, a daemon) stays, and runs without the mutex.
///
/// The hold is kept alive for as long as this program lives and reaches the database. If it does not,
/// or the hold is taken away (force-release), the command and all that belongs to it get SIGTERM, then
/// SIGKILL, so that they are dead before the hold can pass to another; the exit code is 79.
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME, after_long_help = AFTER_HELP)]
pub(in crate::cli) struct Run {
    /// The mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: MutexName,

    #[command(flatten)]
    wanted: Wanted,

    /// Wait in line for so long at most [default: for ever]
    #[arg(short, long, value_name = "DURATION", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// Do not wait: if another has the mutex, end at once
    #[arg(short, long, conflicts_with = "wait")]
    non_blocking: bool,

    /// The code to end with if another has the mutex; 0 also says nothing then, as cron likes it
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = Exit::Busy.code())]
    conflict_exit_code: u8,

    /// How soon the mutex is free after this program or its machine has died: whole seconds
    ///
    /// The hold is kept alive three times as often. It is also how long the database may be away: the
    /// command is told to end when nine tenths of this time, less the grace, have passed since the hold
    /// was last kept alive. The default gives a database that restarts or fails over 24 seconds in the
    /// worst case.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,

    /// How long the command is given to end between SIGTERM and SIGKILL [default: 10s, or a sixth of the timeout]
    ///
    /// At most a third of the timeout: a longer one would leave no time for a heartbeat that fails and
    /// is repeated. If the hold has been taken away by force, it is a second at most: another may have
    /// the mutex already.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    grace: Option<Duration>,

    /// Free text for people
    #[arg(long, value_name = "TEXT")]
    status_data: Option<String>,

    #[command(flatten)]
    person: Person,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
A mutex is written group/mode/id, with %2F for a slash in group or mode and %25 for a percent sign.

Exit codes:
  as the command, or 128+N if signal N ended it
  75   another has the mutex: see --conflict-exit-code
  79   the hold was lost, and the command ended if it was still running
  126, 127  the command cannot be executed; there is no such command
  128+N     signal N came while the mutex was waited for (130: Ctrl-C, 143: SIGTERM)
  69, 77, 78, 80 and others as of all commands: nothing was run

Examples:
  pgmutex run deploy/prod/1 -- ./deploy.sh --all
  pgmutex run --non-blocking nightly/job/1 -- backup       # in a crontab: skip it if the last one still runs
  pgmutex run --wait 10m --permits 4 build/slot/arm -- make
  pgmutex run reports/write/2026 -- sh -c 'psql -v token=\"$PGMUTEX_FENCING_TOKEN\" -f report.sql'";

impl Run {
    pub(in crate::cli) fn mutex(&self) -> &MutexId {
        self.mutex.id()
    }

    pub(in crate::cli) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let grace = self.checked_grace()?;
        let owner = self.person.owner()?;
        let mut signals = Signals::listen(PASSED_ON.into_iter().chain([Signal::SIGTSTP]))?;
        let mut clocks = Clocks::new(self.timeout);
        let mut patience = Patience {
            signals: &mut signals,
            clocks: &mut clocks,
        };

        let mutexes = patience.with(database.connect()).await??;
        let wish = self.wanted.wish(&self.mutex);
        let asked = wish.clone();
        let lock = match wish.access {
            Access::Exclusive => mutexes.lock(wish),
            Access::Shared { permits: None } => mutexes.read(wish),
            Access::Shared {
                permits: Some(permits),
            } => mutexes.acquire(wish, permits),
        };
        let lock = lock
            .waiting(self.patience())
            .owner(owner)
            .timeout(self.timeout);
        // A run inside of a run keeps the other's mutex for as long as it waits: circles are found by that.
        let lock = match held_around_here() {
            Some(token) => lock.while_holding_token(token),
            None => lock,
        };
        let lock = match self.status_data {
            Some(status_data) => lock.status_data(status_data),
            None => lock,
        };
        let begun = Instant::now();
        let answer = match self.non_blocking {
            true => patience.with(lock.into_future()).await,
            false => {
                let lock = lock.into_future();
                patience.with(telling(&mutexes, asked, lock)).await
            }
        };
        metrics_file::waited(begun.elapsed());
        let guard = match answer {
            Ok(Ok(guard)) => guard,
            Ok(Err(error)) => {
                spoken::refusal(output, &error)?;
                let failure = Failure::from(error);
                return Err(match failure.exit {
                    Exit::Busy => {
                        metrics_file::was_not_its_turn();
                        failure.with_code(self.conflict_exit_code)
                    }
                    Exit::Unknown => {
                        // What it may have captured is given back behind the scenes, given the time.
                        let _ = timeout(GIVING_BACK, mutexes.shutdown()).await;
                        failure
                    }
                    _ => failure,
                });
            }
            Err(asked_to_end) => {
                metrics_file::was_not_its_turn();
                // Nobody is to wait behind one who is gone.
                let _ = timeout(GIVING_BACK, mutexes.shutdown()).await;
                return Err(asked_to_end);
            }
        };
        metrics_file::has_its_turn();
        if let Some(evicted) = guard.evicted() {
            spoken::evicted(&evicted.name, &evicted.session_id);
        }

        let supervised = supervise(&guard, &self.command, grace, clocks, signals).await;
        let lost = matches!(&supervised, Err(failure) if failure.exit == Exit::Lost);
        if lost {
            drop(guard);
            let _ = timeout(LAST_TRY, mutexes.shutdown()).await;
            return supervised;
        }
        match timeout(GIVING_BACK, guard.release()).await {
            Ok(Ok(Released::Released(_))) => supervised,
            Ok(Ok(Released::NotHeld)) => Err(Failure::new(
                Exit::Lost,
                format!(
                    "mutex {} was taken away while the command was running",
                    self.mutex
                ),
            )),
            not_released => {
                let why = match not_released {
                    Ok(Err(error)) => error.to_string(),
                    _ => "the database does not answer".to_owned(),
                };
                let seconds = self.timeout.as_secs();
                say(&format!(
                    "mutex {} is not released ({why}): its hold ends within {seconds} s",
                    self.mutex
                ));
                supervised
            }
        }
    }

    fn patience(&self) -> Wait {
        match (self.non_blocking, self.wait) {
            (true, _) => Wait::Not,
            (false, Some(wait)) => Wait::AtMost(wait),
            (false, None) => Wait::Forever,
        }
    }

    fn checked_grace(&self) -> Result<Duration, Failure> {
        AutoRelease::Timeout(self.timeout).check()?;
        let grace = self
            .grace
            .unwrap_or_else(|| (self.timeout / 6).min(LONGEST_GRACE));
        if grace > self.timeout / 3 {
            return Err(Failure::usage(
                "--grace must be at most a third of --timeout: heartbeats need the time",
            ));
        }
        Ok(grace)
    }
}

/// The token of the hold that this program itself runs under, if it was started by such a command.
fn held_around_here() -> Option<FencingToken> {
    let token = std::env::var("PGMUTEX_FENCING_TOKEN").ok()?;
    token.parse().ok().map(FencingToken::new)
}

/// For what may take long before there is a command: a signal that asks to end does so.
struct Patience<'a> {
    signals: &'a mut Signals,
    clocks: &'a mut Clocks,
}

impl Patience<'_> {
    async fn with<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                signal = self.signals.next() => match signal {
                    Signal::SIGTSTP => raise(Signal::SIGSTOP).map_err(std::io::Error::from)?,
                    signal if asks_to_end(signal) => {
                        return Err(Failure::silent(Exit::Signal(signal as i32)));
                    }
                    _ => {}
                },
                done = &mut work => return Ok(done),
                () = sleep(self.clocks.interval()) => self.clocks.read(),
            }
        }
    }
}
