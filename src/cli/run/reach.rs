//! Who belongs to a command: its process group, and what its members have started.

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

/// The processes that end with a command: those of its group, and all others that descend from it
/// and are in the same session. A shell with job control and `timeout` make groups of their own; who
/// begins a session of its own (`setsid`, a daemon) has left for good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// They all descend from this one, which is none of them.
    root: Pid,
    group: Pid,
}

impl Reach {
    /// Those of a group that descend from this process: whoever loses its parent becomes a child of
    /// this process, so that none gets lost.
    pub(super) fn of_this_process(group: Pid) -> Self {
        #[cfg(target_os = "linux")]
        if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
            super::say(&format!("cannot adopt orphans: {error}"));
        }
        Self {
            root: Pid::this(),
            group,
        }
    }

    /// Tells all of them to end, and this process if it is in the group.
    pub(super) fn ask_to_end(&self) {
        self.send(Signal::SIGTERM);
        // Whoever is stopped could not heed it.
        self.send(Signal::SIGCONT);
    }

    /// Sends a signal to all of them, and to this process if it is in the group.
    pub(super) fn send(&self, signal: Signal) {
        for process in descendants(self.root).into_iter().flatten() {
            if process.group != self.group {
                let _ = kill(process.pid, signal);
            }
        }
        let _ = killpg(self.group, signal);
    }

    /// Kills all of them but this process.
    pub(super) fn kill_others(&self) {
        for process in descendants(self.root).into_iter().flatten() {
            let _ = kill(process.pid, Signal::SIGKILL);
        }
    }

    /// Who is still there, as far as the system says; `None`: it does not say.
    pub(super) fn living(&self) -> Option<Vec<Pid>> {
        let found = descendants(self.root)?;
        Some(found.into_iter().map(|process| process.pid).collect())
    }

    /// Whether anyone is still there, seen from outside of the group.
    pub(super) fn is_alive(&self) -> bool {
        match self.living() {
            Some(living) => !living.is_empty(),
            // Not even the right to send a signal means that there is someone.
            None => killpg(self.group, None) != Err(Errno::ESRCH),
        }
    }
}

#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "only Linux says who there is")
)]
#[derive(Debug)]
struct Process {
    pid: Pid,
    parent: Pid,
    group: Pid,
    session: Pid,
    is_dead: bool,
}

/// The living descendants of a process that are in its session.
#[cfg(target_os = "linux")]
fn descendants(root: Pid) -> Option<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").ok()? {
        let Ok(entry) = entry else { continue };
        // One that is gone by now does not count.
        if let Some(name) = entry.file_name().to_str()
            && name.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(stat) = std::fs::read_to_string(entry.path().join("stat"))
            && let Some(process) = Process::read(&stat)
        {
            all.push(process);
        }
    }
    let session = all.iter().find(|process| process.pid == root)?.session;
    let mut family = vec![root];
    let mut found = Vec::new();
    while let Some(parent) = family.pop() {
        let (children, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|process| process.parent == parent);
        all = others;
        for child in children {
            family.push(child.pid);
            if child.session == session && !child.is_dead {
                found.push(child);
            }
        }
    }
    Some(found)
}

#[cfg(not(target_os = "linux"))]
fn descendants(_root: Pid) -> Option<Vec<Process>> {
    None
}

impl Process {
    /// Reads a line of `/proc/PID/stat`. The second field is the program's name in parentheses, which
    /// may have any characters.
    #[cfg(any(target_os = "linux", test))]
    fn read(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let mut next = || Some(Pid::from_raw(fields.next()?.parse().ok()?));
        Some(Self {
            parent: next()?,
            group: next()?,
            session: next()?,
            pid: Pid::from_raw(pid.parse().ok()?),
            // A process goes on when its first thread has ended, and looks like a dead one but for this.
            is_dead: state == "X" || state == "Z" && threads(rest) <= 1,
        })
    }
}

/// How many threads there are: field 20 of all, the 18th after the name.
#[cfg(any(target_os = "linux", test))]
fn threads(behind_the_name: &str) -> u32 {
    let field = behind_the_name.split(' ').nth(17);
    field.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_look_like_fields() {
        let process = Process::read("17 (a) Z 1 (b) S 3 4 5 0 -1").unwrap();
        let numbers = [process.pid, process.parent, process.group, process.session];
        assert_eq!(numbers.map(Pid::as_raw), [17, 3, 4, 5]);
        assert!(!process.is_dead);
        assert!(Process::read("17 (zombie) Z 3 4 5 0").unwrap().is_dead);
        let stat = "17 (x) Z 3 4 5 0 -1 64 0 0 0 0 0 0 0 0 20 0 2 0 9";
        assert!(!Process::read(stat).unwrap().is_dead);
        let stat = "17 (x) Z 3 4 5 0 -1 64 0 0 0 0 0 0 0 0 20 0 1 0 9";
        assert!(Process::read(stat).unwrap().is_dead);
        assert!(Process::read("").is_none() && Process::read("17 (x) S 3").is_none());
    }
}
