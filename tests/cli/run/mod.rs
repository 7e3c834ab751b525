//! `pgmutex run`: a command under a lock.

mod contention;
mod ending;
mod exits;
mod losing;
mod signals;
mod standing;
mod terminal;

use std::{
    ffi::OsStr,
    fs,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    metrics_file::Folder,
    program::{Ended, pgmutex},
};

/// The mutex of the tests, each of which has a database of its own.
const MUTEX: &str = "tests/run/1";

/// How often a test is begun at the most that a machine which stands still for some seconds keeps from
/// finding anything out.
const ATTEMPTS: usize = 10;

/// Waits for what must come, and fails if it does not. Not a measure of anything.
async fn must<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(120), future)
        .await
        .expect("it hangs")
}

/// Returns when something has become true; fails if it never does.
async fn eventually(mut is_true: impl FnMut() -> bool) {
    must(async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// `pgmutex run`, killed when this is dropped. Its command can be told to go on by the end of its
/// input.
struct Run {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    said: BufReader<ChildStderr>,
}

impl Run {
    /// With these arguments after `run`.
    fn of<A: AsRef<OsStr>>(url: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = pgmutex(&["run"]);
        command.args(arguments).env("DATABASE_URL", url);
        Self::started(command)
    }

    /// Runs a script for `sh`, with these options.
    fn script(url: &str, options: &[&str], script: &str) -> Self {
        let command = [MUTEX, "--", "sh", "-c", script];
        Self::of(url, options.iter().copied().chain(command))
    }

    fn started(command: std::process::Command) -> Self {
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = BufReader::new(child.stderr.take().unwrap());
        Self {
            input: child.stdin.take(),
            output,
            said,
            child,
        }
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it has ended")
    }

    /// The next line that the command prints.
    async fn line(&mut self) -> String {
        let line = self.line_unless_over().await;
        line.expect("the command prints no more")
    }

    /// The same; `None` if the command ends without one.
    async fn line_unless_over(&mut self) -> Option<String> {
        must(self.output.next_line()).await.unwrap()
    }

    /// The numbers in the next line.
    async fn numbers(&mut self) -> Vec<u32> {
        numbers(&self.line().await)
    }

    /// The next line that the program says.
    async fn word(&mut self) -> String {
        let mut word = String::new();
        must(self.said.read_line(&mut word)).await.unwrap();
        assert_ne!(word, "", "the program says no more");
        word
    }

    fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Ends the command's input.
    fn let_go(&mut self) {
        self.input = None;
    }

    async fn ended(mut self) -> Ended {
        let mut output = String::new();
        while let Some(line) = must(self.output.next_line()).await.unwrap() {
            output.push_str(&line);
            output.push('\n');
        }
        let mut said = Vec::new();
        must(self.said.read_to_end(&mut said)).await.unwrap();
        let status = must(self.child.wait()).await.unwrap();
        Ended::from(Output {
            status,
            stdout: output.into_bytes(),
            stderr: said,
        })
    }
}

fn numbers(line: &str) -> Vec<u32> {
    let numbers = line.split_whitespace().map(|number| number.parse());
    numbers
        .collect::<Result<_, _>>()
        .unwrap_or_else(|_| panic!("{line}"))
}

/// Whether a run has ended because no heartbeat came in time: as it should where the machine stands still.
fn was_not_kept(ended: &Ended) -> bool {
    let reasons = [
        "because the database could not be reached",
        "before the command was started",
    ];
    ended.code == Some(79) && reasons.iter().any(|reason| ended.said.contains(reason))
}

/// Sends a signal by its name.
fn signal(process: u32, name: &str) {
    assert!(signal_if_there(process, name), "{name}: no such process");
}

/// The same; whether there was such a process.
fn signal_if_there(process: u32, name: &str) -> bool {
    let kill = format!("kill -{name} {process}");
    let sent = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status();
    sent.unwrap().success()
}

/// Whether a process is there; one that is only waited for is not.
fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !(state.is_empty() || state.starts_with(['Z', 'X']))
}
