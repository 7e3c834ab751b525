//! Guards: waiting in line, keeping alive, knowing of a loss, giving back.

mod attached;
pub(crate) mod cancelling;
mod circles;
mod handing_over;
mod holding;
mod honesty;
mod leading;
mod losing;
mod trust;
mod waiting;

use std::{
    env,
    future::Future,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use pgmutex::{Error, Guard, GuardState};
use tokio::time::timeout;

use crate::support::Session;

/// Waits for what must come, and fails if it does not. Not a measure of anything.
pub(crate) async fn must<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(300), future)
        .await
        .expect("it hangs")
}

/// Returns when this many are in line.
pub(crate) async fn in_line(session: &Session, count: usize) {
    let count = count.to_string();
    let waiting = "select count(*)::text from pgmutex.waiting";
    must(session.ask_until(waiting, |answer| answer == count)).await;
}

/// Returns when there are this many holds.
pub(crate) async fn held(session: &Session, count: usize) {
    let count = count.to_string();
    let held = "select count(*)::text from pgmutex.mutex_model";
    must(session.ask_until(held, |answer| answer == count)).await;
}

/// A hold was over before a test was done with it: one that lasts for a second is, if the machine
/// stands still for as long.
#[derive(Debug)]
pub(crate) struct Over;

impl From<Error> for Over {
    fn from(error: Error) -> Self {
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        Self
    }
}

/// Repeats what comes to nothing if a hold is over too soon, with a new one. A machine does not stand
/// still each time.
pub(crate) async fn in_time(attempt: impl AsyncFn() -> Result<(), Over>) {
    for _ in 0..20 {
        if attempt().await.is_ok() {
            return;
        }
    }
    panic!("the hold is over each time");
}

/// That a guard is sure of its hold.
pub(crate) fn holds(guard: &Guard) -> Result<(), Over> {
    match guard.state() {
        GuardState::Held => Ok(()),
        GuardState::Uncertain => Err(Over),
        GuardState::Lost => Err(over(guard)),
    }
}

/// That it was over when it was lost: as long as it could be relied on, nothing is a reason to give it up.
pub(crate) fn over(guard: &Guard) -> Over {
    if let Some(end) = guard.trusted_until() {
        assert!(end <= Instant::now(), "it is given up too soon");
    }
    Over
}

/// Returns when all holds have been kept alive again, or one of them is over.
pub(crate) async fn are_kept_alive(session: &Session) -> Result<(), Over> {
    let now = session.ask("select clock_timestamp()::text").await;
    let outcome = format!(
        "select case when count(*) = 0 or bool_or(expires_at < clock_timestamp()) then 'over' \
                     when count(*) filter (where captured_since <= '{now}') = 0 then 'kept' end \
         from pgmutex.mutex_model"
    );
    let outcome = must(session.ask_until(&outcome, |_| true)).await;
    match outcome.as_str() {
        "kept" => Ok(()),
        _ => Err(Over),
    }
}

/// Another process, which runs a test of this program; killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Runs this test, with these words in its environment.
    pub(crate) fn run(test: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([test, "--exact"])
            .envs(environment.iter().copied())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.0.id();
        let kill = format!("kill -{name} {process}");
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
