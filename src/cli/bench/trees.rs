//! Captures of paths with seven others above.

use std::time::{Duration, Instant};

use super::{
    Failure,
    floors::{Floors, Kind},
    ours::{OURS, Pair, in_tasks, owners},
    part::{Part, tasks_in_words},
    plan::Scenario,
    race::{Contender, Work},
    run::Run,
};
use crate::{domain::MutexOwner, mutexes::Mutexes};

/// What lies above.
const ABOVE: [&str; 7] = ["region", "site", "hall", "row", "rack", "shelf", "board"];

/// More than this many tasks would measure the same as fewer.
pub(super) const MOST_TASKS: usize = 16;

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let mutexes = run.place.mutexes().await?;
    let floors = Floors::connect(run, MOST_TASKS).await?;
    let mut parts = Vec::new();
    let counts = run.plan.tasks.iter().copied();
    for tasks in counts
        .filter(|tasks| *tasks <= MOST_TASKS)
        .collect::<Vec<_>>()
    {
        let least = run.plan.least_in_a_slice().div_ceil(tasks);
        let paths = Paths {
            mutexes: mutexes.clone(),
            owners: owners(tasks)?,
        };
        let entrants = vec![
            floors.entrant(Kind::Raw, tasks, least),
            Pair::entrant(OURS, &mutexes, tasks, least)?.base(),
            in_tasks("path, 8 deep", paths, tasks, least),
        ];
        let setting = tasks_in_words(tasks);
        let part = Part::raced(run, Scenario::Trees, setting, run.plan.rounds, entrants).await?;
        parts.push(part.with_tasks(tasks));
    }
    Ok(parts)
}

struct Paths {
    mutexes: Mutexes,
    owners: Vec<MutexOwner>,
}

impl Contender for Paths {
    fn once<'a>(&'a self, task: usize, name: &'a str) -> Work<'a, Duration> {
        Box::pin(async move {
            let segments = ABOVE.into_iter().chain([name]);
            let path = self.mutexes.tree("bench").path(segments)?;
            let owner = &self.owners[task];
            let began = Instant::now();
            path.capture().owner(owner.clone()).await?;
            path.release().owner(owner.clone()).await?;
            Ok(began.elapsed())
        })
    }
}
