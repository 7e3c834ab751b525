//! What this library does, as an application calls it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Failure,
    race::{Contender, Entrant, Slice, Tasks, Turns, Work, is_over},
    random::Random,
};
use crate::{
    domain::{MutexId, MutexOwner},
    mutexes::Mutexes,
};

pub(super) const OURS: &str = "pgmutex";
pub(super) const GUARDS: &str = "pgmutex, guards";

/// As long as a form is open: not refreshed while it is measured.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn id(name: &str) -> Result<MutexId, Failure> {
    Ok(MutexId::new("bench", "pair", name)?)
}

pub(super) fn owners(tasks: usize) -> Result<Vec<MutexOwner>, Failure> {
    let owner = |task| Ok(MutexOwner::new(format!("bench-{task}"))?);
    (0..tasks).map(owner).collect()
}

/// Capture and release by the verbs.
pub(super) struct Pair {
    mutexes: Mutexes,
    owners: Vec<MutexOwner>,
}

impl Pair {
    pub(super) fn entrant(
        name: &str,
        mutexes: &Mutexes,
        tasks: usize,
        least: usize,
    ) -> Result<Entrant, Failure> {
        let pair = Self {
            mutexes: mutexes.clone(),
            owners: owners(tasks)?,
        };
        Ok(in_tasks(name, pair, tasks, least))
    }
}

/// So many tasks that do it.
pub(super) fn in_tasks(
    name: &str,
    contender: impl Contender + 'static,
    count: usize,
    least: usize,
) -> Entrant {
    let tasks = Tasks {
        contender: Arc::new(contender),
        count,
        least,
    };
    Entrant::new(name, tasks)
}

impl Contender for Pair {
    fn once<'a>(&'a self, task: usize, name: &'a str) -> Work<'a, Duration> {
        Box::pin(async move {
            let (id, owner) = (id(name)?, &self.owners[task]);
            let began = Instant::now();
            let capture = self.mutexes.capture(&id).owner(owner.clone());
            capture.timeout(TIMEOUT).await?;
            self.mutexes.release(&id).owner(owner.clone()).await?;
            Ok(began.elapsed())
        })
    }
}

/// Captures by the verb, one after the other; they are released together once nobody counts any more.
pub(super) struct Captures {
    mutexes: Mutexes,
    owner: MutexOwner,
    least: usize,
}

impl Captures {
    pub(super) fn entrant(name: &str, mutexes: &Mutexes, least: usize) -> Result<Entrant, Failure> {
        let captures = Self {
            mutexes: mutexes.clone(),
            owner: MutexOwner::new("bench-captures")?,
            least,
        };
        Ok(Entrant::new(name, captures))
    }
}

impl Turns for Captures {
    fn turn<'a>(&'a mut self, length: Duration, random: &'a mut Random) -> Work<'a, Slice> {
        Box::pin(async move {
            let mut slice = Slice::default();
            let all = Instant::now();
            while !is_over(all.elapsed(), length, slice.took.len(), self.least) {
                let id = id(&random.name())?;
                let began = Instant::now();
                let capture = self.mutexes.capture(&id).owner(self.owner.clone());
                capture.timeout(TIMEOUT).await?;
                slice.took.push(began.elapsed());
            }
            slice.elapsed = all.elapsed();
            Ok(slice)
        })
    }

    fn after(&mut self) -> Work<'_, ()> {
        Box::pin(async move {
            self.mutexes.release_owner(&self.owner).await?;
            Ok(())
        })
    }
}

/// A guard, and its release.
pub(super) struct Guarded(pub(super) Mutexes);

impl Contender for Guarded {
    fn once<'a>(&'a self, _: usize, name: &'a str) -> Work<'a, Duration> {
        Box::pin(async move {
            let id = id(name)?;
            let began = Instant::now();
            self.0.lock(&id).await?.release().await?;
            Ok(began.elapsed())
        })
    }
}
