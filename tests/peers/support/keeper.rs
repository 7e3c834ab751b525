use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

/// A server that runs in a temporary folder. It goes with this program.
pub(crate) struct Keeper {
    shell: Child,
    log: Option<BufReader<ChildStdout>>,
    pub(crate) folder: String,
}

impl Keeper {
    /// Runs a program, of a Debian package.
    pub(crate) fn start(package: &str, program: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", include_str!("keeper.sh"), "keeper"])
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(shell.stdout.take().unwrap());
        let mut first = String::new();
        log.read_line(&mut first).unwrap();
        if first == "missing\n" {
            panic!("{} is not installed: apt-get install {package}", program[0]);
        }
        Self {
            shell,
            log: Some(log),
            folder: first.trim_end().to_owned(),
        }
    }

    /// Returns when the server's log has a line with one of these words, or gives the log if it ends
    /// before.
    pub(crate) fn until_it_says(&mut self, words: &[&str]) -> Result<(), String> {
        let mut log = self.log.take().unwrap();
        let mut said = String::new();
        loop {
            let length = said.len();
            if log.read_line(&mut said).unwrap() == 0 {
                return Err(said);
            }
            let line = said[length..].to_lowercase();
            if words.iter().any(|words| line.contains(words)) {
                break;
            }
        }
        // Nobody reads the rest, but it has to go somewhere.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The folder is gone then.
        let _ = self.shell.wait();
    }
}
