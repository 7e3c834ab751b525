//! At a terminal: who has it, and what its keys do. The terminal is one of `script`'s (util-linux).

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{Folder, MUTEX, must};
use crate::{program::pgmutex, support::Database};

/// A shell script at a terminal of its own, in which `run` is `pgmutex run` with a mutex.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Terminal {
    fn running(url: &str, script: &str) -> Self {
        let run = format!("'{}' run {MUTEX} --", env!("CARGO_BIN_EXE_pgmutex"));
        let mut command = std::process::Command::new("script");
        command
            .args(["--quiet", "--return", "--command"])
            .arg(script.replace("RUN", &run))
            .arg("/dev/null")
            .env("SHELL", "/bin/sh");
        for (name, value) in pgmutex(&[]).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = Command::from(command)
            .env("DATABASE_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script is needed: apt-get install util-linux (bsdutils)");
        Self {
            keys: child.stdin.take().unwrap(),
            screen: child.stdout.take().unwrap(),
            child,
            seen: String::new(),
        }
    }

    /// Returns when this is on the screen, below of what was seen before.
    async fn shows(&mut self, text: &str) {
        let mut bytes = [0; 1024];
        loop {
            if let Some((_, rest)) = self.seen.split_once(text) {
                self.seen = rest.to_owned();
                return;
            }
            let count = must(self.screen.read(&mut bytes)).await.unwrap();
            assert!(count > 0, "{:?} without {text:?}", self.seen);
            self.seen += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    async fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.unwrap();
    }

    /// What else is shown, and the code with which the script ends.
    async fn ended(mut self) -> (String, Option<i32>) {
        let mut rest = Vec::new();
        must(self.screen.read_to_end(&mut rest)).await.unwrap();
        let code = must(self.child.wait()).await.unwrap().code();
        (self.seen + &String::from_utf8_lossy(&rest), code)
    }
}

const CTRL_C: &str = "\u{3}";
const CTRL_Z: &str = "\u{1a}";

#[tokio::test]
async fn a_command_can_read_from_the_terminal_and_the_caller_again_after_it() {
    let database = Database::fresh().await;
    let script = r#"RUN sh -c 'echo ready; read x; echo "command: $x"; read x; echo "again: $x"'; read y; echo "caller: $y""#;
    let mut terminal = Terminal::running(database.url(), script);
    terminal.shows("ready").await;
    terminal.press("one\n").await;
    terminal.shows("command: one").await;
    terminal.press("two\n").await;
    terminal.shows("again: two").await;
    terminal.press("three\n").await;
    let (rest, code) = terminal.ended().await;
    assert!(rest.contains("caller: three"), "{rest:?}");
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn ctrl_c_reaches_the_command_once_and_the_caller_too() {
    let database = Database::fresh().await;
    // A command that has not asked for the terminal, and one that has.
    for asks in ["", "read x;"] {
        let script = format!(
            "trap 'echo caller; exit 9' INT; RUN sh -c '{asks} trap \"echo command; trap - INT; kill -INT $$\" INT; echo ready; while :; do sleep 0.01; done'; echo never"
        );
        let mut terminal = Terminal::running(database.url(), &script);
        if !asks.is_empty() {
            terminal.press("x\n").await;
        }
        terminal.shows("ready").await;
        terminal.press(CTRL_C).await;
        let (rest, code) = terminal.ended().await;
        assert_eq!(rest.matches("command").count(), 1, "{rest:?}");
        assert_eq!(rest.matches("caller").count(), 1, "{rest:?}");
        assert!(!rest.contains("never"), "{rest:?}");
        assert_eq!(code, Some(9));
    }
}

#[tokio::test]
async fn a_hold_is_not_suspended() {
    let database = Database::fresh().await;
    for asks in ["", "read x;"] {
        let script = format!("RUN sh -c '{asks} echo ready; read x; echo \"command: $x\"'");
        let mut terminal = Terminal::running(database.url(), &script);
        if !asks.is_empty() {
            terminal.press("x\n").await;
        }
        terminal.shows("ready").await;
        terminal.press(CTRL_Z).await;
        terminal.shows("not suspended").await;
        terminal.press("on\n").await;
        let (rest, code) = terminal.ended().await;
        assert!(rest.contains("command: on"), "{rest:?}");
        assert_eq!(code, Some(0));
    }
}

#[tokio::test]
async fn others_of_the_same_pipeline_keep_the_terminal() {
    let database = Database::fresh().await;
    let folder = Folder::new("pipeline");
    let answered = folder.file("answered");
    // The second part reads from the terminal while the command runs.
    let script = format!(
        "RUN sh -c 'echo ready; while [ ! -e {answered} ]; do sleep 0.01; done' |
         {{ read line; read answer </dev/tty; echo \"$line: $answer\"; touch {answered}; }}"
    );
    let mut terminal = Terminal::running(database.url(), &script);
    terminal.press("yes\n").await;
    terminal.shows("ready: yes").await;
    assert_eq!(terminal.ended().await.1, Some(0));
}
