//! A server: started, crashed, stopped, started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::account::Account;
use super::binaries::Installation;
use super::builder::PrivatePostgresBuilder;
use super::error::{PrivateServerError, Result};
use super::keeper::Keeper;
use super::{log, process, url};

/// How long what remains of an earlier server on the same data may take to go away.
const IN_USE_LIMIT: Duration = Duration::from_secs(10);
/// The first wait between two attempts; each is twice as long as the one before, because they all
/// leave their lines in the log.
const IN_USE_FIRST_WAIT: Duration = Duration::from_millis(25);
/// How long an orderly stop may take: it writes everything that is not on disk yet.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// SIGKILL needs no consent; this is for a machine that is very busy.
const CRASH_LIMIT: Duration = Duration::from_secs(20);

/// A running PostgreSQL server of one's own. It stops when this is dropped.
///
/// See the [module](super) for an example.
#[derive(Debug)]
pub struct PrivatePostgres {
    pub(super) installation: Installation,
    pub(super) account: Account,
    pub(super) keeper: Keeper,
    pub(super) data_dir: PathBuf,
    pub(super) log: PathBuf,
    pub(super) port: u16,
    pub(super) start_limit: Duration,
    pub(super) process_id: u32,
    /// Its end was seen, so the process id may be that of another process by now.
    pub(super) has_ended: bool,
}

impl PrivatePostgres {
    /// Starts a server with the defaults.
    ///
    /// # Errors
    ///
    /// As [`PrivatePostgresBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Starts a server whose data stays in the given folder; see
    /// [`PrivatePostgresBuilder::data_folder`].
    ///
    /// # Errors
    ///
    /// As [`PrivatePostgresBuilder::start`].
    pub fn start_in(data_folder: impl Into<PathBuf>) -> Result<Self> {
        Self::builder().data_folder(data_folder).start()
    }

    /// For a server with settings of its own.
    pub fn builder() -> PrivatePostgresBuilder {
        PrivatePostgresBuilder::default()
    }

    /// The connection URL of a database, for the superuser `postgres`. A new server has the
    /// database `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url::of_database(database, self.socket_dir(), self.port)
    }

    /// The folder of the Unix socket, to be used as the host name in a connection configuration.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.keeper.run_folder()
    }

    /// The port, which is part of the name of the socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The log of the server. It goes and stays with the data.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The folder of the server's programs, and often of others such as `psql`.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.installation.bin_dir
    }

    /// The major version of the server.
    #[must_use]
    pub fn major_version(&self) -> u32 {
        self.installation.major
    }

    /// The process id of the postmaster, the first process of the server. A stopped server has none
    /// any more; this is the last one then.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Kills all processes of the server at once with SIGKILL, as if the machine had failed.
    /// Returns when they are gone.
    ///
    /// What was committed is there again after [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// When the processes are still there after some time, or cannot be seen or killed.
    pub fn crash(&mut self) -> Result<()> {
        if self.is_running()? {
            if !process::kill_family(self.process_id, &self.account, CRASH_LIMIT)? {
                return Err(self.timed_out("die", CRASH_LIMIT, 0));
            }
            self.reap()?;
        }
        Ok(())
    }

    /// Stops the server in order: its connections are closed, its data is written. The data stays.
    ///
    /// # Errors
    ///
    /// When the server has not stopped within a minute.
    pub fn stop(&mut self) -> Result<()> {
        if self.is_running()? {
            let log_start = log::length(&self.log);
            // PostgreSQL calls this a fast shutdown.
            process::signal("INT", &[self.process_id], &self.account)?;
            let deadline = Instant::now() + STOP_LIMIT;
            while self.is_running()? {
                if Instant::now() > deadline {
                    return Err(self.timed_out("stop", STOP_LIMIT, log_start));
                }
                sleep(process::LOOK_EVERY);
            }
            self.reap()?;
        }
        Ok(())
    }

    /// Starts the server again on the same data, after [`crash`](Self::crash) or
    /// [`stop`](Self::stop); a running server is stopped first. The URL stays the same, the
    /// process id does not.
    ///
    /// # Errors
    ///
    /// As [`PrivatePostgresBuilder::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Starts the postmaster and waits until it accepts connections. The data must not be in use by
    /// this server.
    pub(super) fn launch(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut wait = IN_USE_FIRST_WAIT;
        loop {
            let log_start = log::length(&self.log);
            self.process_id = self.keeper.start_postmaster()?;
            self.has_ended = false;
            while self.is_running()? {
                if self.is_ready() {
                    return Ok(());
                }
                if began.elapsed() > self.start_limit {
                    return Err(self.timed_out("start", self.start_limit, log_start));
                }
                sleep(process::LOOK_EVERY);
            }
            self.reap()?;

            let log = log::tail(&self.log, log_start);
            if !is_in_use(&log) || began.elapsed() + wait > IN_USE_LIMIT {
                return Err(PrivateServerError::NotStarted {
                    data_dir: self.data_dir.clone(),
                    log,
                });
            }
            sleep(wait);
            wait *= 2;
        }
    }

    fn is_running(&self) -> Result<bool> {
        Ok(!self.has_ended && process::is_running(self.process_id)?)
    }

    fn reap(&mut self) -> Result<()> {
        self.has_ended = true;
        self.keeper.reap_postmaster()
    }

    /// PostgreSQL writes its state to the eighth line of postmaster.pid; the first line names the
    /// process, because the file of an earlier server may still be there.
    fn is_ready(&self) -> bool {
        let state = fs::read_to_string(self.data_dir.join("postmaster.pid")).unwrap_or_default();
        let mut lines = state.lines().map(str::trim);
        lines.next() == Some(self.process_id.to_string().as_str())
            && matches!(lines.nth(6), Some("ready" | "standby"))
    }

    fn timed_out(
        &self,
        goal: &'static str,
        limit: Duration,
        log_start: usize,
    ) -> PrivateServerError {
        let (data_dir, log) = (self.data_dir.clone(), log::tail(&self.log, log_start));
        PrivateServerError::TimedOut {
            goal,
            data_dir,
            limit,
            log,
        }
    }
}

/// Whether a server found another one, or what remains of it, on its data.
fn is_in_use(log: &str) -> bool {
    log.contains("pre-existing shared memory block")
        || log.contains("lock file \"postmaster.pid\" already exists")
}
