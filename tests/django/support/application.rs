use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command as Program, Output, Stdio},
};

use serde_json::{Value, json};

use super::{Database, database::server, python::python};

/// A command to a process: what it does, with what, and before which step of the package it stops.
pub(crate) type Command = Value;

/// How the application deals with times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) use_tz: bool,
    pub(crate) time_zone: &'static str,
}

impl Clock {
    /// As the package needs it: times without time zones.
    pub(crate) const NAIVE: Self = Self {
        use_tz: false,
        time_zone: "Asia/Tokyo",
    };
}

/// A process of the application, which goes with this.
pub(crate) struct Application {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Application {
    pub(crate) fn start(database: &Database, clock: Clock) -> Self {
        let mut child = program(database, clock)
            .arg("process.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Has a command carried out, and gives the answer.
    pub(crate) fn ask(&mut self, command: &Command) -> Value {
        self.tell(command);
        self.answer()
    }

    /// Begins a command.
    pub(crate) fn tell(&mut self, command: &Command) {
        writeln!(self.input, "{command}").unwrap();
    }

    /// Waits for the answer.
    pub(crate) fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Begins a command that goes as far as this step of the package's.
    pub(crate) fn stop_before(&mut self, step: &str, mut command: Command) {
        command["stop_before"] = json!(step);
        assert_eq!(self.ask(&command), json!({ "stopped": step }));
    }

    /// Lets it go on, to its end.
    pub(crate) fn go_on(&mut self) -> Value {
        writeln!(self.input).unwrap();
        self.answer()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs one of Django's own commands.
pub(crate) fn manage(database: &Database, arguments: &[&str]) -> Output {
    program(database, Clock::NAIVE)
        .args(["-m", "django"])
        .args(arguments)
        .args(["--settings", "settings"])
        .output()
        .unwrap()
}

fn program(database: &Database, clock: Clock) -> Program {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/django/application");
    let mut program = Program::new(python());
    program
        .current_dir(&folder)
        .env("PYTHONPATH", &folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("APPLICATION_DATABASE_HOST", server().socket_dir())
        .env("APPLICATION_DATABASE_PORT", server().port().to_string())
        .env("APPLICATION_DATABASE_NAME", database.name())
        .env(
            "APPLICATION_USE_TZ",
            if clock.use_tz { "yes" } else { "no" },
        )
        .env("APPLICATION_TIME_ZONE", clock.time_zone);
    program
}
