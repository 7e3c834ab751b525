//! The program on a terminal: a pseudo terminal made by `script`, of which this reads what a person
//! would see.

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Fails if nothing has happened for so long.
const HUNG: Duration = Duration::from_secs(60);

pub(crate) struct OnTerminal {
    child: Child,
    keys: ChildStdin,
    written: Arc<Mutex<Vec<u8>>>,
    /// Columns and lines.
    size: (usize, usize),
}

impl OnTerminal {
    /// Starts the program, with these arguments, on a terminal of this size.
    pub(crate) fn start(url: &str, arguments: &str, columns: u16, lines: u16) -> Self {
        let program = env!("CARGO_BIN_EXE_pgmutex");
        // What the settings of the terminal are before and after is compared by the shell in between.
        let command = format!(
            "stty cols {columns} rows {lines}; before=$(stty -g); sh -c 'echo process $$, ; exec {program} {arguments}'; code=$?; \
             test \"$before\" = \"$(stty -g)\" && echo \"as before, code $code\""
        );
        let mut child = Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .env("DATABASE_URL", url)
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .env_remove("COLUMNS")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{error}: the tests need script (Debian: apt-get install bsdutils)")
            });
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut output, kept) = (child.stdout.take().unwrap(), Arc::clone(&written));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            keys: child.stdin.take().unwrap(),
            child,
            written,
            size: (columns.into(), lines.into()),
        }
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let said = self.written();
        let process = said
            .split("process ")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let process = process.unwrap().trim();
        let kill = Command::new("kill").args([signal, process]).status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Everything that the terminal was sent.
    pub(crate) fn written(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }

    /// What the terminal shows: it knows no more than the program uses, which is going to a place and
    /// clearing.
    pub(crate) fn screen(&self) -> String {
        let (columns, lines) = self.size;
        let mut cells = vec![vec![' '; columns]; lines];
        let (mut line, mut column) = (0, 0);
        let written = self.written();
        let mut rest = written.chars();
        while let Some(c) = rest.next() {
            match c {
                '\u{1b}' if rest.next() == Some('[') => {
                    let mut numbers = String::new();
                    let last = rest.by_ref().find(|c| {
                        numbers.push(*c);
                        c.is_ascii_alphabetic()
                    });
                    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit());
                    let mut number = || numbers.next().and_then(|number| number.parse().ok());
                    match last {
                        Some('H') => {
                            line = number().unwrap_or(1) - 1;
                            column = number().unwrap_or(1) - 1;
                        }
                        Some('J') => cells = vec![vec![' '; columns]; lines],
                        _ => {}
                    }
                }
                '\u{1b}' => {}
                '\r' => column = 0,
                '\n' => line += 1,
                c => {
                    if let Some(cell) = cells.get_mut(line).and_then(|line| line.get_mut(column)) {
                        *cell = c;
                    }
                    column += 1;
                }
            }
        }
        let lines = cells.into_iter().map(|line| line.into_iter().collect());
        lines.collect::<Vec<String>>().join("\n")
    }

    /// Returns when the terminal shows this.
    pub(crate) fn shows(&self, text: &str) {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return;
            }
            assert!(begun.elapsed() < HUNG, "{text:?} is not in {screen}");
            thread::yield_now();
        }
    }

    /// Returns when the program has ended; fails if it does not.
    pub(crate) fn ends(mut self) -> String {
        self.child.wait().unwrap();
        let begun = Instant::now();
        while !self.written().contains("as before, code ") {
            assert!(begun.elapsed() < HUNG, "{:?}", self.written());
            thread::yield_now();
        }
        self.written()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
