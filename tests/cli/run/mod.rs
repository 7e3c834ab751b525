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
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::program::{Ended, pgmutex};

/// The mutex of the tests, each of which has a database of its own.
const MUTEX: &str = "tests/run/1";

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
        Self {
            input: child.stdin.take(),
            output,
            child,
        }
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it has ended")
    }

    /// The next line that the command prints.
    async fn line(&mut self) -> String {
        must(self.output.next_line())
            .await
            .unwrap()
            .expect("the command prints no more")
    }

    /// The numbers in it.
    async fn numbers(&mut self) -> Vec<u32> {
        let line = self.line().await;
        let numbers = line.split_whitespace().map(|number| number.parse());
        numbers
            .collect::<Result<_, _>>()
            .unwrap_or_else(|_| panic!("{line}"))
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
        let mut errors = self.child.stderr.take().unwrap();
        must(errors.read_to_end(&mut said)).await.unwrap();
        let status = must(self.child.wait()).await.unwrap();
        Ended::from(Output {
            status,
            stdout: output.into_bytes(),
            stderr: said,
        })
    }
}

/// Sends a signal by its name.
fn signal(process: u32, name: &str) {
    let kill = format!("kill -{name} {process}");
    let sent = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status()
        .unwrap();
    assert!(sent.success(), "{kill}");
}

/// Whether a process is there; one that is only waited for is not.
fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !(state.is_empty() || state.starts_with(['Z', 'X']))
}

/// A folder of a test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgmutex-run-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
