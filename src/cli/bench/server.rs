//! What the server spends: what it writes, and the time of its processors.

use std::{collections::BTreeMap, fs};

use super::Failure;
use crate::postgres::{Surroundings, Workbench, Written};

/// Looks at the server from outside.
pub(super) struct Server<'a> {
    workbench: &'a Workbench,
    processes: Option<&'a Processes>,
}

/// What it has spent until a moment.
pub(super) struct Reading {
    written: Written,
    cpu: Option<BTreeMap<u32, f64>>,
}

/// What it has spent from one moment to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spent {
    /// Bytes of the log.
    pub(super) wal: f64,
    /// Transactions that wrote.
    pub(super) transactions: f64,
    /// Seconds of user and system time; `None` where that cannot be seen.
    pub(super) cpu: Option<f64>,
}

impl Reading {
    pub(super) fn written(&self) -> Written {
        self.written
    }
}

impl<'a> Server<'a> {
    pub(super) fn new(workbench: &'a Workbench, processes: Option<&'a Processes>) -> Self {
        Self {
            workbench,
            processes,
        }
    }

    pub(super) async fn reading(&self) -> Result<Reading, Failure> {
        Ok(Reading {
            written: self.workbench.written().await?,
            cpu: self.processes.and_then(Processes::seconds),
        })
    }

    pub(super) async fn since(&self, before: &Reading) -> Result<Spent, Failure> {
        let after = self.reading().await?;
        let cpu = match (&before.cpu, &after.cpu) {
            (Some(before), Some(after)) => Some(between(before, after)),
            _ => None,
        };
        Ok(Spent {
            wal: (after.written.wal - before.written.wal) as f64,
            transactions: (after.written.transactions - before.written.transactions) as f64,
            cpu,
        })
    }
}

impl Spent {
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            wal: self.wal + more.wal,
            transactions: self.transactions + more.transactions,
            cpu: self.cpu.zip(more.cpu).map(|(one, other)| one + other),
        }
    }
}

/// What a process that is gone had spent last is not known any more.
fn between(before: &BTreeMap<u32, f64>, after: &BTreeMap<u32, f64>) -> f64 {
    let spent = after
        .iter()
        .map(|(process, seconds)| seconds - before.get(process).unwrap_or(&0.0));
    spent.sum()
}

/// The processes of a server on this machine.
#[derive(Debug)]
pub(super) struct Processes {
    first: u32,
    /// The one that answers to whoever measures.
    own: u32,
}

impl Processes {
    /// `None` if the server is elsewhere, or in a container that counts its processes differently.
    pub(super) fn of(surroundings: &Surroundings) -> Option<Self> {
        let own = u32::try_from(surroundings.process).ok()?;
        let title = fs::read_to_string(format!("/proc/{own}/cmdline")).ok()?;
        let is_it = surroundings.is_local
            && is_postgres(own)
            && title.contains(surroundings.database.as_str());
        let first = parent(&fs::read_to_string(format!("/proc/{own}/stat")).ok()?)?;
        (is_it && is_postgres(first)).then_some(Self { first, own })
    }

    fn seconds(&self) -> Option<BTreeMap<u32, f64>> {
        let first = self.first;
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).ok()?;
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        let others = children.filter(|process| *process != self.own);
        let seconds = others.filter_map(|process| Some((process, seconds_of(process)?)));
        Some(seconds.collect())
    }
}

fn is_postgres(process: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process}/comm"));
    name.is_ok_and(|name| name.trim() == "postgres")
}

/// To the nanosecond where the kernel says so, else to the hundredth of a second.
fn seconds_of(process: u32) -> Option<f64> {
    let fine = fs::read_to_string(format!("/proc/{process}/schedstat")).ok();
    let nanoseconds = fine.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    match nanoseconds {
        Some(nanoseconds) if nanoseconds > 0.0 => Some(nanoseconds / 1e9),
        _ => user_and_system(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?),
    }
}

/// The fields of `stat` behind the name, which may have anything in it.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

fn parent(stat: &str) -> Option<u32> {
    fields(stat)?.get(1)?.parse().ok()
}

fn user_and_system(stat: &str) -> Option<f64> {
    let fields = fields(stat)?;
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    // Linux tells programs of hundredths, whatever it counts in.
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4711 (a (b) c) S 42 4711 4711 0 -1 4194304 100 0 0 0 250 50 7 8 20 0 1 0 99";

    #[test]
    fn a_process_is_read() {
        assert_eq!(parent(STAT), Some(42));
        assert_eq!(user_and_system(STAT), Some(3.0));
        assert_eq!(parent("nothing"), None);
    }

    #[test]
    fn what_processes_spend_is_added_whoever_comes_and_goes() {
        let before = BTreeMap::from([(1, 10.0), (2, 5.0)]);
        let after = BTreeMap::from([(1, 10.5), (3, 0.25)]);
        assert_eq!(between(&before, &after), 0.75);
    }
}
