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
        }
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: &str) {
        self.shows(",");
        let said = self.letters_from(0);
        let process = said.split("process ").nth(1).and_then(|rest| rest.split(',').next());
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

    /// The letters that the terminal was sent from a place on, without what moves and colours them.
    pub(crate) fn letters_from(&self, place: usize) -> String {
        let written = self.written();
        let mut letters = String::new();
        let mut rest = written.get(place..).unwrap_or_default().chars();
        while let Some(c) = rest.next() {
            match c {
                '\u{1b}' => {
                    // CSI: up to its last letter. Anything else that is sent has one letter.
                    if rest.next() == Some('[') {
                        rest.by_ref().find(char::is_ascii_alphabetic);
                    }
                }
                c => letters.push(c),
            }
        }
        letters
    }

    /// Returns when the terminal has been sent these letters, since a place.
    pub(crate) fn shows_since(&self, place: usize, letters: &str) {
        let begun = Instant::now();
        while !self.letters_from(place).contains(letters) {
            let so_far = self.letters_from(place);
            assert!(begun.elapsed() < HUNG, "{letters:?} is not in {so_far:?}");
            thread::yield_now();
        }
    }

    pub(crate) fn shows(&self, letters: &str) {
        self.shows_since(0, letters);
    }

    /// The end of what was written so far.
    pub(crate) fn place(&self) -> usize {
        self.written().len()
    }

    /// Returns when the program has ended; fails if it does not.
    pub(crate) fn ends(mut self) -> String {
        self.shows("as before, code ");
        self.child.wait().unwrap();
        self.written()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
