//! From the moment at which a holder begins to release until the next one has it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use super::{
    Failure,
    ours::{Captures, id},
    part::Part,
    plan::Scenario,
    race::{Entrant, Slice, Turns, Work},
    random::Random,
    run::Run,
};
use crate::{
    domain::MutexId,
    mutexes::Mutexes,
    postgres::{SchemaName, Workbench},
};

pub(super) const UNCONTENDED: &str = "uncontended capture";

/// How many take over in one turn, where fewer than these wait in line.
const IN_A_TURN: usize = 40;
/// A line takes its time to be joined and to be served, beside what is counted.
const LONGER: u32 = 4;
/// Nobody gives up.
const PATIENCE: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(1);

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let mutexes = run.place.mutexes().await?;
    let least = run.plan.least.div_ceil(run.plan.lines);
    let mut entrants = vec![Captures::entrant(UNCONTENDED, &mutexes, least)?.base()];
    for &waiters in &run.plan.waiters {
        let line = Line {
            mutexes: mutexes.clone(),
            workbench: Arc::clone(&run.place.workbench),
            schema: run.place.schema()?,
            waiters,
            counted: counted(waiters),
            times: (IN_A_TURN.min(run.plan.least) / counted(waiters)).max(1),
        };
        // The server is at work on those who join the line and on the rest of it, too.
        entrants.push(Entrant::new(name(waiters), line).uncounted().taking(LONGER));
    }
    let setting = "the first tenth of a line is served".to_owned();
    let lines = run.plan.lines;
    let part = Part::raced(run, Scenario::HandOver, setting, lines, entrants).await?;
    Ok(vec![part])
}

/// The contender in which so many wait.
pub(super) fn name(waiters: usize) -> String {
    match waiters {
        1 => "1 waiter".to_owned(),
        waiters => format!("{waiters} waiters"),
    }
}

/// How many take over while the line has about as many as it is named after.
fn counted(waiters: usize) -> usize {
    waiters.div_ceil(10)
}

/// A line, each of whom makes way for the next at once.
struct Line {
    mutexes: Mutexes,
    workbench: Arc<Workbench>,
    schema: SchemaName,
    waiters: usize,
    counted: usize,
    times: usize,
}

impl Turns for Line {
    fn turn<'a>(&'a mut self, _: Duration, random: &'a mut Random) -> Work<'a, Slice> {
        Box::pin(async move {
            let mut slice = Slice::default();
            for _ in 0..self.times {
                self.serve(&id(&random.name())?, &mut slice).await?;
            }
            Ok(slice)
        })
    }
}

impl Line {
    async fn serve(&self, id: &MutexId, slice: &mut Slice) -> Result<(), Failure> {
        let first = self.mutexes.lock(id).await?;
        let last_release = Arc::new(LastRelease::default());
        let mut waiting = JoinSet::new();
        for _ in 0..self.waiters {
            let lock = self.mutexes.lock(id).wait(PATIENCE);
            let last_release = Arc::clone(&last_release);
            waiting.spawn(async move {
                let guard = lock.await?;
                let took = last_release.took_until_now();
                last_release.begins();
                guard.release().await?;
                Ok::<_, Failure>(took)
            });
        }
        let waiters = self.waiters as u64;
        while self.workbench.in_line(&self.schema, id.id()).await? < waiters {
            if let Some(ended) = waiting.try_join_next() {
                ended.map_err(|error| error.to_string())??;
                return Err("a task has what another holds".into());
            }
            sleep(SOON).await;
        }
        last_release.begins();
        first.release().await?;
        let mut all = Vec::new();
        while let Some(ended) = waiting.join_next().await {
            all.extend(ended.map_err(|error| error.to_string())??);
        }
        all.sort_unstable_by_key(|(turn, _)| *turn);
        let took = all.into_iter().take(self.counted).map(|(_, took)| took);
        for took in took {
            slice.elapsed += took;
            slice.took.push(took);
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct LastRelease(Mutex<Option<(usize, Instant)>>);

impl LastRelease {
    fn begins(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = last.map_or(0, |(turn, _)| turn + 1);
        *last = Some((turn, Instant::now()));
    }

    /// Whose turn it was, and how long ago that began.
    fn took_until_now(&self) -> Option<(usize, Duration)> {
        let began = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        began.map(|(turn, began)| (turn, began.elapsed()))
    }
}
