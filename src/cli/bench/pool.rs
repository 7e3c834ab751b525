//! Sessions that are taken from a pool and given back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    Failure,
    floors::{Floors, Kind},
    ours::{OURS, Pair, in_tasks},
    part::{Part, tasks_in_words},
    plan::Scenario,
    race::{Contender, Work},
    run::Run,
    trees::MOST_TASKS,
};
use crate::{domain::Period, pool::SessionPool};

/// Enough for all tasks, and as many as somebody may have.
const SESSIONS: usize = 200;
/// Who comes too early waits: the next use of what was given back has a moment to pass.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let mutexes = run.place.mutexes().await?;
    let floors = Floors::connect(run, MOST_TASKS).await?;
    let pool = SessionPool::new(&mutexes, "bench").with_next_use_delay(Period::seconds(0.0));
    for number in 0..SESSIONS.min(run.plan.guards) {
        pool.add(&json!({ "login": format!("robot-{number}") }))
            .await?;
    }
    let mut parts = Vec::new();
    let counts = run.plan.tasks.iter().copied();
    for tasks in counts
        .filter(|tasks| *tasks <= MOST_TASKS)
        .collect::<Vec<_>>()
    {
        let least = run.plan.least_in_a_slice().div_ceil(tasks);
        let entrants = vec![
            floors.entrant(Kind::Raw, tasks, least),
            Pair::entrant(OURS, &mutexes, tasks, least)?.base(),
            in_tasks("checkout", Checkouts(pool.clone()), tasks, least),
        ];
        let setting = tasks_in_words(tasks);
        let part = Part::raced(run, Scenario::Pool, setting, run.plan.rounds, entrants).await?;
        parts.push(part.with_tasks(tasks));
    }
    Ok(parts)
}

struct Checkouts(SessionPool);

impl Contender for Checkouts {
    fn once<'a>(&'a self, _: usize, _: &'a str) -> Work<'a, Duration> {
        Box::pin(async move {
            let began = Instant::now();
            let session = self.0.checkout().wait(PATIENCE).await?;
            session.give_back().await?;
            Ok(began.elapsed())
        })
    }
}
