//! The keeper of a server: a shell that starts the server, and that tidies up after it when this
//! program lets go of the pipe between them, which even a SIGKILL makes it do.
//!
//! What a keeper does is written down in `keeper.sh`.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::account::Account;
use super::error::{PrivateServerError, Result};
use super::folder::{self, Claim, PrivateFolder};

const SCRIPT: &str = include_str!("keeper.sh");

#[derive(Debug)]
pub(super) struct Keeper {
    shell: Child,
    /// `std` closes this end in every program that is started, so nobody else can hold the pipe
    /// open. None once the keeper was let go.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    run: PathBuf,
    /// On the run folder. Released after the keeper is done, or with this program.
    claim: Option<Claim>,
}

/// What a keeper has to know.
#[derive(Debug)]
pub(super) struct Household<'a> {
    pub(super) folder: &'a PrivateFolder,
    pub(super) bin_dir: &'a Path,
    /// Where the data lies that outlives the server.
    pub(super) kept_data: Option<&'a Path>,
    pub(super) template: &'a Path,
    pub(super) server_arguments: &'a [String],
}

impl Keeper {
    /// Makes a run folder and nothing else yet. From here on, nothing is left behind.
    pub(super) fn start(household: &Household<'_>, account: &Account) -> Result<Self> {
        let mut shell = account
            .shell(SCRIPT)
            .arg(household.folder.path())
            .arg(household.bin_dir)
            .arg(household.kept_data.map_or(OsStr::new(""), Path::as_os_str))
            .arg(household.template)
            .args(household.server_arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A Ctrl-C reaches the processes of the terminal's group: this program, which then lets
            // go, but neither the keeper nor the server.
            .process_group(0)
            .spawn()
            .map_err(account.cannot_run("/bin/sh"))?;
        let stdout = shell.stdout.take().ok_or(PrivateServerError::KeeperGone)?;
        let mut keeper = Self {
            orders: shell.stdin.take(),
            answers: BufReader::new(stdout),
            shell,
            run: PathBuf::new(),
            claim: None,
        };
        let folder = household.folder.path();
        let name = answer(&mut keeper.answers)?.map_err(|reason| {
            let (folder, user) = (folder.to_owned(), account.name.clone());
            PrivateServerError::FolderNotCreated {
                folder,
                user,
                reason,
            }
        })?;
        keeper.run = folder.join(name);
        keeper.claim = Some(folder::claim(&keeper.run)?);
        Ok(keeper)
    }

    /// The folder that goes when the keeper goes. The server's socket lies there.
    pub(super) fn run_folder(&self) -> &Path {
        &self.run
    }

    /// What `initdb` and the copying said.
    pub(super) fn preparation_log(&self) -> PathBuf {
        self.run.join("initdb.log")
    }

    /// Fills the data folder. `synced`: so that a power cut loses nothing of it. False when that
    /// failed.
    pub(super) fn initdb(&mut self, synced: bool) -> Result<bool> {
        Ok(self
            .order(if synced { "initdb" } else { "initdb-unsynced" })?
            .is_ok())
    }

    /// Makes the data folder a copy of the template. False when that failed.
    pub(super) fn copy_template(&mut self) -> Result<bool> {
        Ok(self.order("copy")?.is_ok())
    }

    /// Starts the postmaster and tells its process id.
    pub(super) fn start_postmaster(&mut self) -> Result<u32> {
        let answer = self.order("start")?;
        answer
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or(PrivateServerError::KeeperGone)
    }

    /// To be told when the postmaster has ended, so that it is not looked after any more.
    pub(super) fn reap_postmaster(&mut self) -> Result<()> {
        self.order("reap").map(drop)
    }

    fn order(&mut self, order: &str) -> Result<Result<String, String>> {
        let orders = self.orders.as_mut().ok_or(PrivateServerError::KeeperGone)?;
        writeln!(orders, "{order}").map_err(|_| PrivateServerError::KeeperGone)?;
        answer(&mut self.answers)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Bounded: the keeper kills what does not stop. Only then are the server and its folder
        // gone.
        let _ = self.shell.wait();
        drop(self.claim.take());
    }
}

/// "done TEXT" or "failed TEXT"
fn answer(answers: &mut impl BufRead) -> Result<Result<String, String>> {
    let mut line = String::new();
    answers
        .read_line(&mut line)
        .map_err(|_| PrivateServerError::KeeperGone)?;
    match line
        .trim_end()
        .split_once(' ')
        .unwrap_or((line.trim_end(), ""))
    {
        ("done", text) => Ok(Ok(text.to_owned())),
        ("failed", text) => Ok(Err(text.to_owned())),
        _ => Err(PrivateServerError::KeeperGone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood_and_silence_means_the_keeper_is_gone() {
        let mut answers = "done 42\nfailed for a reason\ndone \n".as_bytes();
        assert_eq!(answer(&mut answers).unwrap(), Ok("42".to_owned()));
        assert_eq!(
            answer(&mut answers).unwrap(),
            Err("for a reason".to_owned())
        );
        assert_eq!(answer(&mut answers).unwrap(), Ok(String::new()));
        assert!(matches!(
            answer(&mut answers),
            Err(PrivateServerError::KeeperGone)
        ));
    }
}
