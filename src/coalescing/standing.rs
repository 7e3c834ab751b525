//! Who is under way on a runtime, and who is in the queue.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::runtime::Id;

/// How many travel, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// As many calls are under way and waited for at once: whoever comes then queues.
    pub(super) flights: usize,
    /// As many travel together at most.
    pub(super) most: usize,
    /// For how long calls that are under way are waited for. One may be slow, because another
    /// transaction has its mutex; or nobody drives it, because the application does something else
    /// between two looks at its future. Those in the queue go without it then.
    pub(super) patience: Duration,
    /// As many calls are under way at once at most, also if nobody waits for them any more: while the
    /// database does not answer, those who come queue here, where they can go together.
    pub(super) at_most: usize,
}

/// How the runtimes stand. Each is by itself: those of one travel together, and one that the
/// application blocks does not hold up the others.
pub(super) struct Standings<E> {
    /// Over all runtimes and times, so that nobody takes another's place.
    last_number: u64,
    of: HashMap<Id, Standing<E>>,
}

/// How one runtime stands. There is nobody in the queue unless as many as may be are under way.
struct Standing<E> {
    under_way: usize,
    /// Those of them that left before this era, and are not waited for any more.
    passed_over: usize,
    /// Goes up when patience is lost.
    era: u64,
    queue: BTreeMap<u64, E>,
}

impl<E> Standings<E> {
    pub(super) fn new() -> Self {
        Self {
            last_number: 0,
            of: HashMap::new(),
        }
    }

    /// The era in which one leaves, if it may without queueing.
    pub(super) fn leave_at_once(&mut self, runtime: Id, limits: Limits) -> Option<u64> {
        let standing = self.of.entry(runtime).or_insert_with(|| Standing {
            under_way: 0,
            passed_over: 0,
            era: 0,
            queue: BTreeMap::new(),
        });
        (standing.queue.is_empty() && standing.may_leave(limits)).then(|| standing.leave())
    }

    /// Puts one who may not leave at once in the queue.
    pub(super) fn enqueue(&mut self, runtime: Id, entry: E) -> Option<u64> {
        self.last_number += 1;
        let standing = self.of.get_mut(&runtime)?;
        standing.queue.insert(self.last_number, entry);
        Some(self.last_number)
    }

    /// Takes one out of the queue who will not travel.
    pub(super) fn give_up(&mut self, runtime: Id, number: u64) -> Option<E> {
        self.of.get_mut(&runtime)?.queue.remove(&number)
    }

    /// Takes those out of the queue who go next, in their order, with the era in which they leave.
    pub(super) fn next(&mut self, runtime: Id, limits: Limits) -> Option<(u64, Vec<E>)> {
        let standing = self.of.get_mut(&runtime)?;
        if standing.queue.is_empty() || !standing.may_leave(limits) {
            return None;
        }
        let together = std::iter::from_fn(|| standing.queue.pop_first().map(|(_, entry)| entry));
        let together = together.take(limits.most.max(1)).collect();
        Some((standing.leave(), together))
    }

    /// Waits no longer for those under way, if this one is still in the queue; says whether it is.
    pub(super) fn lose_patience(&mut self, runtime: Id, number: u64, limits: Limits) -> bool {
        let Some(standing) = self.of.get_mut(&runtime) else {
            return false;
        };
        if standing.under_way < limits.at_most {
            standing.era += 1;
            standing.passed_over = standing.under_way;
        }
        standing.queue.contains_key(&number)
    }

    /// One is back that left in this era.
    pub(super) fn come_back(&mut self, runtime: Id, era: u64) {
        let Some(standing) = self.of.get_mut(&runtime) else {
            return;
        };
        standing.under_way -= 1;
        if era != standing.era {
            standing.passed_over -= 1;
        }
        if standing.under_way == 0 && standing.queue.is_empty() {
            self.of.remove(&runtime);
        }
    }

    /// How many are under way and waited for, and how many in the queue.
    pub(super) fn count(&self) -> (usize, usize) {
        self.of.values().fold((0, 0), |(away, queued), standing| {
            let waited_for = standing.under_way - standing.passed_over;
            (away + waited_for, queued + standing.queue.len())
        })
    }
}

impl<E> Standing<E> {
    fn may_leave(&self, limits: Limits) -> bool {
        self.under_way - self.passed_over < limits.flights && self.under_way < limits.at_most
    }

    fn leave(&mut self) -> u64 {
        self.under_way += 1;
        self.era
    }
}
