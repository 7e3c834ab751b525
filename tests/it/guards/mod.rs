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
    time::Duration,
};

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

/// Returns when all holds have been kept alive again.
pub(crate) async fn are_kept_alive(session: &Session) {
    let now = session.ask("select clock_timestamp()::text").await;
    let earlier =
        format!("select count(*)::text from pgmutex.mutex_model where captured_since <= '{now}'");
    must(session.ask_until(&earlier, |count| count == "0")).await;
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
