//! What a waiting task and an idle guard take of this process's memory.

use std::{fs, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use super::{
    Failure, guards,
    ours::id,
    part::{Figure, Part},
    plan::Scenario,
    run::Run,
};
use crate::{domain::Error, guard::Guard, mutexes::Mutexes};

pub(super) const PER_WAITING_TASK: &str = "per waiting task";
pub(super) const PER_IDLE_GUARD: &str = "per idle guard";

const PATIENCE: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(5);
/// What everybody needs once is there after so many.
const FIRST: usize = guards::TOGETHER;
/// How many queue at once: more would have to wait for a connection longer than a call may take.
const TOGETHER: usize = 500;

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let mutexes = run.place.mutexes().await?;
    let (waiting, count) = (run.plan.waiting, run.plan.guards);

    // Nothing is given back before all is measured: what was free would be used again, and not grow.
    let first = guards::lock(&mutexes, 0..FIRST, |lock| lock.attached()).await?;
    let line = Line::of(run, &mutexes, waiting).await?;
    let before = resident();
    let numbers = FIRST..FIRST + count;
    let guards = guards::lock(&mutexes, numbers, |lock| lock.attached()).await?;
    let per_guard = grown(before, count);
    let per_task = line.per_task;
    guards::release(&mutexes, guards).await?;
    guards::release(&mutexes, first).await?;
    line.leave(&mutexes).await?;
    let figures = vec![
        Figure {
            name: PER_WAITING_TASK,
            unit: "bytes",
            value: per_task,
        },
        Figure {
            name: PER_IDLE_GUARD,
            unit: "bytes",
            value: per_guard,
        },
    ];
    let setting = format!("{waiting} waiting tasks, {count} attached guards");
    Ok(vec![Part::of_figures(Scenario::Memory, setting, figures)])
}

/// Tasks that wait for what one guard holds.
struct Line {
    holder: Guard,
    tasks: JoinSet<Result<(), Error>>,
    per_task: Option<f64>,
}

impl Line {
    async fn of(run: &mut Run<'_>, mutexes: &Mutexes, count: usize) -> Result<Self, Failure> {
        let id = id("memory")?;
        let schema = run.place.schema()?;
        let holder = mutexes.lock(&id).await?;
        let mut tasks = JoinSet::new();
        let mut before = None;
        while tasks.len() < FIRST + count {
            if tasks.len() == FIRST {
                before = resident();
            }
            let until = match tasks.len() {
                so_far if so_far < FIRST => FIRST.min(so_far + TOGETHER),
                so_far => (FIRST + count).min(so_far + TOGETHER),
            };
            while tasks.len() < until {
                let lock = mutexes.lock(&id).wait(PATIENCE);
                tasks.spawn(async move { lock.await.map(drop) });
            }
            while run.place.workbench.in_line(&schema, id.id()).await? < until as u64 {
                if let Some(ended) = tasks.try_join_next() {
                    ended.map_err(|error| error.to_string())??;
                    return Err("a task has what another holds".into());
                }
                sleep(SOON).await;
            }
        }
        Ok(Self {
            holder,
            tasks,
            per_task: grown(before, count),
        })
    }

    async fn leave(mut self, mutexes: &Mutexes) -> Result<(), Failure> {
        self.tasks.shutdown().await;
        self.holder.release().await?;
        mutexes.shutdown().await;
        Ok(())
    }
}

fn grown(before: Option<f64>, count: usize) -> Option<f64> {
    let grown = resident()? - before?;
    Some(grown / count as f64)
}

/// Bytes of this process that are in memory, where the system says so.
fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024.0)
}
