//! Looking at processes and signalling them, with what `std` and every Unix have.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::account::Account;
use super::error::{PrivateServerError, Result};

/// How often a state is looked at that somebody waits for.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    id: u32,
    parent: u32,
    /// One letter: R, S, T (stopped), Z (ended, and its parent has not looked yet)…
    state: char,
}

impl Process {
    /// An ended process that its parent has not looked at yet counts as gone: where process 1 looks
    /// after no orphans, as in many containers, it stays for ever.
    fn is_running(self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

pub(super) fn is_running(id: u32) -> Result<bool> {
    Ok(find(id)?.is_some_and(Process::is_running))
}

/// Kills the process and everything it started, all at once, and returns when all of them are gone,
/// or false when they are not within the limit.
pub(super) fn kill_family(id: u32, account: &Account, limit: Duration) -> Result<bool> {
    // Stopped, it starts no more processes and sees none of its children die.
    signal("STOP", &[id], account)?;
    let deadline = Instant::now() + limit;
    let has_stopped = |process: Option<Process>| {
        process.is_none_or(|process| matches!(process.state, 'T' | 'Z' | 'X'))
    };
    while !has_stopped(find(id)?) && Instant::now() < deadline {
        sleep(LOOK_EVERY);
    }
    let family = family(id, &all()?);
    signal("KILL", &family, account)?;
    for member in family {
        while is_running(member)? {
            if Instant::now() > deadline {
                return Ok(false);
            }
            sleep(LOOK_EVERY);
        }
    }
    Ok(true)
}

/// The process and all its descendants.
fn family(id: u32, processes: &[Process]) -> Vec<u32> {
    let mut family = vec![id];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(
            processes
                .iter()
                .filter(|process| process.parent == parent)
                .map(|process| process.id),
        );
        next += 1;
    }
    family
}

/// One command for all of them: `kill` sends the signals one right after the other. Those already
/// gone are not an error.
pub(super) fn signal(name: &str, ids: &[u32], account: &Account) -> Result<()> {
    account
        .shell(r#"signal=$1; shift; kill -"$signal" "$@""#)
        .arg(name)
        .args(ids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status()
        .map_err(account.cannot_run("kill"))?;
    Ok(())
}

fn find(id: u32) -> Result<Option<Process>> {
    if !has_proc() {
        return Ok(ask_ps(&["-p", &id.to_string()])?.into_iter().next());
    }
    Ok(fs::read_to_string(format!("/proc/{id}/stat"))
        .ok()
        .and_then(|stat| parse_stat(&stat)))
}

fn all() -> Result<Vec<Process>> {
    if !has_proc() {
        return ask_ps(&["-A"]);
    }
    let entries = fs::read_dir("/proc").map_err(PrivateServerError::io("list", "/proc"))?;
    let stat = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).ok();
    Ok(entries
        .flatten()
        .filter_map(stat)
        .filter_map(|stat| parse_stat(&stat))
        .collect())
}

/// Linux has /proc, and need not have `ps`; elsewhere it is the other way round.
fn has_proc() -> bool {
    fs::exists("/proc/self/stat").unwrap_or(false)
}

fn ask_ps(selection: &[&str]) -> Result<Vec<Process>> {
    let cannot_run = |source: io::Error| PrivateServerError::Run {
        program: "ps".into(),
        user: "(current)".into(),
        source,
    };
    let output = Command::new("ps")
        .args(selection)
        .args(["-o", "pid=,ppid=,stat="])
        .output()
        .map_err(cannot_run)?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(parse_ps)
        .collect())
}

/// "123 (name) S 1 …", where the name can hold anything, parentheses and spaces included.
fn parse_stat(stat: &str) -> Option<Process> {
    let (id, rest) = stat.split_once(" (")?;
    let mut fields = rest[rest.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Process {
        id: id.parse().ok()?,
        parent: fields.next()?.parse().ok()?,
        state,
    })
}

/// "123 1 Ss+"
fn parse_ps(line: &str) -> Option<Process> {
    let mut fields = line.split_ascii_whitespace();
    let (id, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Process {
        id,
        parent,
        state: fields.next()?.chars().next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_process_lists_are_read() {
        let expected = Some(Process {
            id: 42,
            parent: 7,
            state: 'S',
        });
        assert_eq!(parse_stat("42 (a) b (c) S 7 42 42 0 -1\n"), expected);
        assert_eq!(parse_ps("   42     7 Ss+"), expected);
        assert_eq!(parse_ps(""), None);
    }

    #[test]
    fn a_family_is_a_process_with_its_descendants() {
        let process = |(id, parent)| Process {
            id,
            parent,
            state: 'S',
        };
        let processes = [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (6, 1)].map(process);
        assert_eq!(family(2, &processes), [2, 3, 4, 5]);
    }

    #[test]
    fn this_process_is_running_and_an_impossible_one_is_not() {
        assert!(is_running(std::process::id()).unwrap());
        assert!(!is_running(u32::MAX).unwrap());
    }
}
