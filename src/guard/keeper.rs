//! The heartbeats of a process: one statement for all guards whose time has come, on the background
//! thread, so that blocking code of the application's does not end its holds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::kept::KeptHold;
use crate::{
    backend::{HoldToKeep, MutexBackend},
    background::Background,
    observe,
};

/// A hold is kept alive this many times before it would be over.
const BEATS: u32 = 3;

/// How soon an attempt that failed is repeated, at the latest.
const RETRY: Duration = Duration::from_secs(1);

/// Bounds of how long one attempt may take.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);
const LONGEST_ATTEMPT: Duration = Duration::from_secs(10);

/// Keeps the holds of one backend.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    backend: Arc<dyn MutexBackend>,
    background: Background,
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    holds: Mutex<Holds>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Holds {
    /// Whether someone sees to them.
    served: bool,
    /// By the moment at which something is to be done about each.
    by_time: BTreeMap<(Instant, u64), Entry>,
    times: HashMap<u64, Instant>,
    /// Those attached to a session, by its number. A session that is here, be it without holds, is
    /// watched.
    attached: HashMap<u64, HashMap<u64, Weak<KeptHold>>>,
}

/// A hold that is seen to.
#[derive(Debug)]
struct Entry {
    hold: Arc<KeptHold>,
    /// An attempt to keep it alive is under way: all there is to do about it is to say that it is
    /// lost, should its time be up meanwhile.
    is_beating: bool,
}

impl Keeper {
    pub(crate) fn new(backend: Arc<dyn MutexBackend>, background: Background) -> Self {
        Self {
            backend,
            background,
            kept: Arc::default(),
        }
    }

    /// Keeps a hold, asked for at this moment, until it is told to forget it.
    pub(super) fn keep(&self, hold: &Arc<KeptHold>, asked: Instant) {
        if let Some(attachment) = &hold.attachment {
            let session = attachment.session();
            let mut holds = self.kept.lock();
            let is_watched = holds.attached.contains_key(&session);
            let attached = holds.attached.entry(session).or_default();
            attached.insert(hold.number, Arc::downgrade(hold));
            drop(holds);
            if !is_watched {
                let (mut attachment, kept) = (attachment.clone(), Arc::downgrade(&self.kept));
                self.background.spawn(async move {
                    attachment.ended().await;
                    if let Some(kept) = kept.upgrade() {
                        kept.session_ended(session);
                    }
                });
            }
        }
        let Some(time) = next_time(hold, asked) else {
            return;
        };
        let mut holds = self.kept.lock();
        holds.put(time, Arc::clone(hold), false);
        let is_served = std::mem::replace(&mut holds.served, true);
        drop(holds);
        if !is_served {
            let serve = serve(Arc::clone(&self.backend), Arc::clone(&self.kept));
            self.background.spawn(serve);
        }
        self.kept.changed.notify_one();
    }

    /// Lets a hold be.
    pub(super) fn forget(&self, hold: &KeptHold) {
        let mut holds = self.kept.lock();
        holds.take(hold.number);
        if let Some(attachment) = &hold.attachment {
            let session = attachment.session();
            if let Some(attached) = holds.attached.get_mut(&session) {
                attached.remove(&hold.number);
            }
        }
        drop(holds);
        self.kept.changed.notify_one();
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session_ended(&self, session: u64) {
        let gone = self.lock().attached.remove(&session).unwrap_or_default();
        for hold in gone.values().filter_map(Weak::upgrade) {
            self.lock().take(hold.number);
            lose(&hold, "its database session has ended");
        }
    }
}

impl Holds {
    fn put(&mut self, time: Instant, hold: Arc<KeptHold>, is_beating: bool) {
        let number = hold.number;
        self.times.insert(number, time);
        let entry = Entry { hold, is_beating };
        self.by_time.insert((time, number), entry);
    }

    fn take(&mut self, number: u64) -> Option<Arc<KeptHold>> {
        let time = self.times.remove(&number)?;
        let entry = self.by_time.remove(&(time, number))?;
        Some(entry.hold)
    }

    fn soonest(&self) -> Option<Instant> {
        self.by_time.keys().next().map(|(time, _)| *time)
    }

    /// Takes those whose time is up.
    fn take_over(&mut self, now: Instant) -> Vec<Arc<KeptHold>> {
        let is_over = |hold: &KeptHold| hold.end().is_some_and(|end| end <= now);
        let over: Vec<u64> = self
            .by_time
            .range(..=(now, u64::MAX))
            .filter(|(_, entry)| is_over(&entry.hold))
            .map(|((_, number), _)| *number)
            .collect();
        over.into_iter()
            .filter_map(|number| self.take(number))
            .collect()
    }

    /// Those that are to be kept alive now; they stay here meanwhile, until their time is up.
    /// Heartbeats that would come soon come with them: all holds with one timeout soon beat together.
    fn begin_due(&mut self, now: Instant) -> Vec<Arc<KeptHold>> {
        let is_due = |(time, _): &(Instant, u64), entry: &Entry| !entry.is_beating && *time <= now;
        let mut until_now = self.by_time.range(..=(now, u64::MAX));
        if !until_now.any(|(key, entry)| is_due(key, entry)) {
            return Vec::new();
        }
        let longest_interval = Duration::from_secs(60);
        let due: Vec<u64> = self
            .by_time
            .range(..(now + longest_interval, 0))
            .filter(|((time, _), entry)| {
                let early = entry.hold.beat.map(|beat| beat / BEATS / 2);
                !entry.is_beating && early.is_some_and(|early| *time <= now + early)
            })
            .map(|((_, number), _)| *number)
            .collect();
        let begun: Vec<_> = due
            .into_iter()
            .filter_map(|number| self.take(number))
            .collect();
        for hold in &begun {
            if let Some(end) = hold.end() {
                self.put(end, Arc::clone(hold), true);
            }
        }
        begun
    }
}

/// When something is to be done about a hold that was last known to be good when this was asked.
fn next_time(hold: &KeptHold, asked: Instant) -> Option<Instant> {
    let beat = hold.beat.map(|beat| asked + beat / BEATS);
    [beat, hold.end()].into_iter().flatten().min()
}

fn lose(hold: &KeptHold, reason: &str) {
    if hold.lose() {
        let mutex = &hold.mutex;
        tracing::warn!(mutex = %mutex.id, token = %mutex.fencing_token, reason, "hold lost");
        observe::lost();
    }
}

/// Sees to the holds until there are none.
async fn serve(backend: Arc<dyn MutexBackend>, kept: Arc<Kept>) {
    let mut service = Service {
        kept: &kept,
        is_over: false,
    };
    let mut beats = JoinSet::new();
    loop {
        let soonest = {
            let mut holds = kept.lock();
            let soonest = holds.soonest();
            holds.served = soonest.is_some();
            soonest
        };
        let Some(soonest) = soonest else {
            service.is_over = true;
            return;
        };
        tokio::select! {
            () = sleep_until(soonest.into()) => {}
            () = kept.changed.notified() => {}
            Some(_) = beats.join_next(), if !beats.is_empty() => {}
        }
        let now = Instant::now();
        for hold in kept.lock().take_over(now) {
            lose(&hold, "it was not kept alive in time");
        }
        let due = kept.lock().begin_due(now);
        if !due.is_empty() {
            beats.spawn(beat(Arc::clone(&backend), Arc::clone(&kept), due));
        }
    }
}

/// If the runtime goes while there are holds, whoever comes next has them seen to on another.
struct Service<'a> {
    kept: &'a Kept,
    is_over: bool,
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.kept.lock().served = false;
        }
    }
}

async fn beat(backend: Arc<dyn MutexBackend>, kept: Arc<Kept>, holds: Vec<Arc<KeptHold>>) {
    let asked = Instant::now();
    // So that there is time for a second attempt.
    let limit = holds
        .iter()
        .filter_map(|hold| hold.trust_left(asked))
        .min()
        .map_or(LONGEST_ATTEMPT, |left| left / 2)
        .clamp(SHORTEST_ATTEMPT, LONGEST_ATTEMPT);
    let to_keep: Vec<HoldToKeep> = holds
        .iter()
        .map(|hold| HoldToKeep {
            id: hold.mutex.id.clone(),
            token: hold.mutex.fencing_token,
        })
        .collect();
    let answer = match timeout(limit, backend.keep(&to_keep)).await {
        Ok(Ok(not_kept)) => Ok(not_kept),
        Ok(Err(error)) => Err(error.to_string()),
        Err(elapsed) => Err(elapsed.to_string()),
    };
    if let Err(error) = &answer {
        tracing::warn!(%error, holds = holds.len(), "heartbeat failed; it is tried again");
    }
    let not_kept: HashMap<i64, bool> = answer
        .iter()
        .flatten()
        .map(|not_kept| (not_kept.token.get(), not_kept.is_lost))
        .collect();
    let now = Instant::now();
    let again = |hold: &KeptHold| {
        hold.doubt();
        let interval = hold.beat.unwrap_or(RETRY) / BEATS / 4;
        let retry = now + interval.min(RETRY).max(Duration::from_millis(50));
        Some(hold.end().map_or(retry, |end| end.min(retry)))
    };
    for hold in holds {
        // Whoever was let be meanwhile, or lost, is not there any more: the answer is not about it.
        let mut kept = kept.lock();
        if kept.take(hold.number).is_none() {
            continue;
        }
        let token = hold.mutex.fencing_token.get();
        let next = match (&answer, not_kept.get(&token)) {
            (Ok(_), None) if hold.kept(asked) => next_time(&hold, asked),
            (Ok(_), None) => {
                lose(&hold, "it was not kept alive in time");
                None
            }
            (Ok(_), Some(true)) => {
                lose(&hold, "the database has it no longer");
                None
            }
            (Ok(_), Some(false)) | (Err(_), _) => again(&hold),
        };
        if let Some(time) = next {
            kept.put(time, hold, false);
        }
    }
}
