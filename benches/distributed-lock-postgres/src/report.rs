use std::fmt;

use crate::{TASKS, contender::Contender};

/// What pgmutex shall do with so many tasks, in pairs for each of the other's.
const TARGET: (usize, f64) = (64, 3.0);

/// What each contender did in each round, with each number of tasks.
pub(crate) struct Report {
    names: Vec<String>,
    /// By row (contender), column (tasks) and round.
    pairs: Vec<[Vec<f64>; TASKS.len()]>,
}

impl Report {
    pub(crate) fn of(contenders: &[Contender]) -> Self {
        Self {
            names: contenders.iter().map(|one| one.name.clone()).collect(),
            pairs: vec![Default::default(); contenders.len()],
        }
    }

    pub(crate) fn add(&mut self, row: usize, column: usize, pairs: f64) {
        self.pairs[row][column].push(pairs);
    }

    /// Of the first contender to the best of the others: of each round, and of these the median, since
    /// what the machine did in a round is much the same for all.
    fn ratio(&self, column: usize) -> f64 {
        let best = (1..self.pairs.len())
            .max_by(|&a, &b| self.median(a, column).total_cmp(&self.median(b, column)))
            .unwrap_or(0);
        let ours = self.pairs[0][column].iter();
        let ratios = ours.zip(&self.pairs[best][column]);
        median(ratios.map(|(ours, theirs)| ours / theirs).collect())
    }

    fn median(&self, row: usize, column: usize) -> f64 {
        median(self.pairs[row][column].clone())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\npairs of capture and release a second (medians)\n")?;
        write!(f, "{:<28}", "")?;
        for tasks in TASKS {
            let word = if tasks == 1 { "task" } else { "tasks" };
            write!(f, "{:>12}", format!("{tasks} {word}"))?;
        }
        for (row, name) in self.names.iter().enumerate() {
            if row == 1 {
                write!(f, "\ndistributed-lock-postgres")?;
            }
            let indent = if row == 0 { "" } else { "  " };
            write!(f, "\n{:<28}", format!("{indent}{name}"))?;
            for column in 0..TASKS.len() {
                write!(f, "{:>12.0}", self.median(row, column))?;
            }
        }
        write!(f, "\n{:<28}", "pgmutex to the best of them")?;
        for column in 0..TASKS.len() {
            write!(f, "{:>12.2}", self.ratio(column))?;
        }
        let (tasks, target) = TARGET;
        writeln!(
            f,
            "    (target at {tasks} tasks: at least {target})\n\n{DIFFERENCES}"
        )
    }
}

/// What the numbers do not say.
const DIFFERENCES: &str = "\
They do not do the same. distributed-lock-postgres takes an advisory lock of a session:
nothing is stored and nothing waits for the disk, nobody can read who holds it since when,
there is no fencing token, and the lock ends with its connection, which it keeps for itself
as long as it is held: as many locks at once as connections. try_acquire asks once, in one
statement; acquire can wait, and sends five; to release takes one more. pgmutex stores a row
with owner, rule and token, and waits until the capture is on the disk; its connections (16
at most here) serve any number of holds.";

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
