//! The tickets of this process, and who tells them that their turn may have come.
//!
//! A wake-up cannot be lost, because nothing depends on it: a notification only hurries what is
//! going to happen anyway. About once a second one statement looks at all lines in which this
//! process stands, and names the tickets that could be served now, those whose place is gone (the
//! server has crashed, or they were taken for dead), and when the first of the holders' rules will
//! end. Where notifications cannot be heard the same statement is asked more often, with growing
//! pauses while nothing happens.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How often the lines are looked at while notifications are heard.
const LOOK: Duration = Duration::from_secs(1);

/// How soon after a ticket was added.
const SOON: Duration = Duration::from_millis(100);

/// How soon, and how late, while they are not.
const SHORTEST_POLL: Duration = Duration::from_millis(20);
const LONGEST_POLL: Duration = Duration::from_millis(500);

/// For how long a ticket counts as this process's that nobody waits for any more: longer than asking
/// for it may take.
const ASKING: Duration = Duration::from_secs(60);

/// How many notifications that nobody waited for yet are remembered: a ticket's may come before the
/// answer that gives its number.
const MOST_EARLY: usize = 1024;

/// The tickets that are waited for in this process.
#[derive(Debug, Default)]
pub(super) struct Lines {
    tickets: Mutex<Tickets>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Tickets {
    /// Whether someone looks at the lines.
    watched: bool,
    waiting: HashMap<i64, Arc<Notify>>,
    /// Those that were waited for until this moment: most of them are asked for just now.
    left: HashMap<i64, Instant>,
    early: VecDeque<i64>,
}

/// A ticket that is waited for; no longer when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    lines: Arc<Lines>,
    ticket: i64,
    come: Arc<Notify>,
}

/// What a look at the lines found out about one ticket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) ticket: i64,
    pub(super) is_my_turn: bool,
    pub(super) look_again_in: Option<Duration>,
}

impl Lines {
    /// Begins to wait for a ticket. If nobody looks at the lines yet, `watch` is to see to it.
    pub(super) fn wait(self: &Arc<Self>, ticket: i64, watch: impl FnOnce()) -> Turn {
        let mut tickets = self.lock();
        let come = Arc::clone(tickets.waiting.entry(ticket).or_default());
        if let Some(place) = tickets.early.iter().position(|early| *early == ticket) {
            tickets.early.remove(place);
            come.notify_one();
        }
        let is_watched = std::mem::replace(&mut tickets.watched, true);
        drop(tickets);
        if !is_watched {
            watch();
        }
        self.added.notify_one();
        Turn {
            lines: Arc::clone(self),
            ticket,
            come,
        }
    }

    /// Tells a ticket that its turn may have come.
    pub(super) fn wake(&self, ticket: i64) {
        let mut tickets = self.lock();
        match tickets.waiting.get(&ticket) {
            Some(come) => come.notify_one(),
            None => {
                if tickets.early.len() == MOST_EARLY {
                    tickets.early.pop_front();
                }
                tickets.early.push_back(ticket);
            }
        }
    }

    /// Whether the lines are still to be looked at; if not, the next who waits has it begun again.
    pub(super) fn go_on(&self) -> bool {
        let mut tickets = self.lock();
        tickets.watched = !tickets.waiting.is_empty();
        tickets.watched
    }

    /// To be kept by whoever looks at the lines, until it is told not to go on.
    pub(super) fn watching(&self) -> Watching<'_> {
        Watching(self)
    }

    /// Tells a ticket, if it is waited for.
    pub(super) fn wake_if_waiting(&self, ticket: i64) {
        if let Some(come) = self.lock().waiting.get(&ticket) {
            come.notify_one();
        }
    }

    /// The tickets of this process: those that are waited for, and those that may be asked for at
    /// this moment.
    pub(super) fn tickets(&self) -> Vec<i64> {
        let mut tickets = self.lock();
        tickets.left.retain(|_, since| since.elapsed() < ASKING);
        let known = tickets.waiting.keys().chain(tickets.left.keys());
        known.copied().collect()
    }

    /// Returns when a ticket has been added since the last time.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// If whoever looks at the lines is gone before it was told not to go on, because its runtime is, the
/// next who waits has it begun again.
#[derive(Debug)]
pub(super) struct Watching<'a>(&'a Lines);

impl Watching<'_> {
    pub(super) fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.lock().watched = false;
    }
}

impl Turn {
    /// Returns when the turn may have come.
    pub(super) async fn come(&self) {
        self.come.notified().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut tickets = self.lines.lock();
        // Another may wait with the same ticket.
        let last = Arc::strong_count(&self.come) <= 2;
        if last {
            tickets.waiting.remove(&self.ticket);
            tickets.left.insert(self.ticket, Instant::now());
        }
    }
}

/// When to look next.
#[derive(Debug)]
pub(super) struct Pace {
    listens: bool,
    poll: Duration,
    /// Whose turn it was at the last look.
    turns: Vec<i64>,
}

impl Pace {
    pub(super) fn new(listens: bool) -> Self {
        Self {
            listens,
            poll: SHORTEST_POLL,
            turns: Vec::new(),
        }
    }

    /// After a look with these results.
    pub(super) fn after(&mut self, looks: &[Look]) -> Duration {
        let longest = if self.listens {
            jittered(LOOK)
        } else {
            // One whose turn it seems to be again and again cannot be served yet: it waits for others
            // too, or for a write behind a fence.
            let turns: Vec<i64> = looks
                .iter()
                .filter(|look| look.is_my_turn)
                .map(|look| look.ticket)
                .collect();
            self.poll = if turns.is_empty() || turns == self.turns {
                (self.poll * 2).min(LONGEST_POLL)
            } else {
                SHORTEST_POLL
            };
            self.turns = turns;
            jittered(self.poll)
        };
        looks
            .iter()
            .filter_map(|look| look.look_again_in)
            .min()
            .map_or(longest, |end| longest.min(end + Duration::from_millis(1)))
    }

    /// After a ticket was added.
    pub(super) fn after_an_addition(&mut self) -> Duration {
        self.poll = SHORTEST_POLL;
        if self.listens { SOON } else { SHORTEST_POLL }
    }
}

/// A fifth more or less, so that processes do not go in step.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0) % 400;
    pause.mul_f64(0.8 + f64::from(u32::try_from(random).unwrap_or(200)) / 1000.0)
}
