//! The program while it is at work.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::program::{Ended, pgmutex};

/// The program at work, until this is gone.
pub(crate) struct Running {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    said: BufReader<ChildStderr>,
}

/// Begins the program, with this database.
pub(crate) fn running(url: &str, arguments: &[&str]) -> Running {
    let mut child = pgmutex(arguments)
        .env("DATABASE_URL", url)
        .env("LOGNAME", "ada")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().map(BufReader::new);
    let said = BufReader::new(child.stderr.take().unwrap());
    Running {
        child,
        output,
        said,
    }
}

impl Running {
    /// The next line that it prints; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let output = self.output.as_mut().expect("it is read");
        output.read_line(&mut line).unwrap();
        line
    }

    /// The next line that it says on standard error; empty at the end.
    pub(crate) fn word(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &process]).status();
        assert!(kill.unwrap().success());
    }

    /// Nobody reads any more what it prints.
    pub(crate) fn stop_reading(&mut self) {
        self.output = None;
    }

    /// What became of it, and what it printed last.
    pub(crate) fn ended(mut self) -> Ended {
        let (mut output, mut said) = (String::new(), String::new());
        if let Some(reader) = &mut self.output {
            reader.read_to_string(&mut output).unwrap();
        }
        self.said.read_to_string(&mut said).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended { code, output, said }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns when something has become true; fails if it never does.
pub(crate) async fn eventually(mut is_true: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), looking)
        .await
        .expect("it never happens");
}
