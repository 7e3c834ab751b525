use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::state::{GuardState, WatchedState};
use crate::{
    backend::{Attachment, TrustWindow},
    domain::Mutex,
};

/// A hold that is being kept, as its guard and the keeper see it.
pub(crate) struct KeptHold {
    /// For the keeper to tell it apart.
    pub(super) number: u64,
    pub(super) mutex: Mutex,
    /// After which time without a heartbeat it is over.
    pub(super) beat: Option<Duration>,
    pub(super) attachment: Option<Attachment>,
    pub(super) captured_at: Instant,
    /// Not kept beyond this.
    pub(super) not_after: Option<Instant>,
    trusted: TrustWindow,
    /// Shared by all that a guard's hold has been: who watches it watches the guard. It tells of
    /// each time that the hold was kept alive, too.
    state: Arc<WatchedState>,
}

static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// How much earlier than the database the holder takes a hold for over: its clock may be slower.
fn margin(length: Duration) -> Duration {
    length / 10
}

impl KeptHold {
    /// A hold that was asked for at this moment, and lasts for as long as `beat` unless it is kept,
    /// or for as long as `left`.
    pub(super) fn new(
        mutex: Mutex,
        asked: Instant,
        beat: Option<Duration>,
        left: Option<Duration>,
        attachment: Option<Attachment>,
        max_hold: Option<Duration>,
    ) -> Self {
        let trusted = match beat.or(left) {
            Some(length) => TrustWindow::new(asked, length - margin(length)),
            None => TrustWindow::endless(),
        };
        Self {
            number: LAST_NUMBER.fetch_add(1, Ordering::Relaxed),
            mutex,
            beat,
            attachment,
            captured_at: asked,
            not_after: max_hold.and_then(|most| asked.checked_add(most - margin(most))),
            trusted,
            state: Arc::default(),
        }
    }

    /// The same hold after a change that was asked for at this moment, and made its time start again.
    pub(super) fn changed(&self, mutex: Mutex, asked: Instant) -> Self {
        let trusted = match (self.beat, self.trusted.end()) {
            (Some(beat), _) => TrustWindow::new(asked, beat - margin(beat)),
            (None, Some(end)) => TrustWindow::new(asked, end.saturating_duration_since(asked)),
            (None, None) => TrustWindow::endless(),
        };
        let changed = Self {
            number: LAST_NUMBER.fetch_add(1, Ordering::Relaxed),
            mutex,
            beat: self.beat,
            attachment: self.attachment.clone(),
            captured_at: self.captured_at,
            not_after: self.not_after,
            trusted,
            state: Arc::clone(&self.state),
        };
        changed.state.become_unless_lost(GuardState::Held);
        changed
    }

    /// How sure it is, at this moment: by the time that is up too, should nobody have noticed yet.
    pub(super) fn state(&self) -> GuardState {
        let may_be_over = self.trusted.is_over()
            || self.attachment.as_ref().is_some_and(Attachment::has_ended)
            || self.not_after.is_some_and(|end| Instant::now() >= end);
        if may_be_over {
            GuardState::Lost
        } else {
            self.state.get()
        }
    }

    /// When it must be taken for lost if nothing happens.
    pub(super) fn end(&self) -> Option<Instant> {
        [self.trusted.end(), self.not_after]
            .into_iter()
            .flatten()
            .min()
    }

    /// How long it is relied on from now on if nothing keeps it alive.
    pub(super) fn trust_left(&self, now: Instant) -> Option<Duration> {
        let end = self.trusted.end()?;
        Some(end.saturating_duration_since(now))
    }

    /// It was kept alive by a question asked at this moment. Says whether that was in time: who has
    /// seen that the time was up must not see it held again.
    pub(super) fn kept(&self, asked: Instant) -> bool {
        let in_time = self
            .beat
            .is_none_or(|beat| self.trusted.extend(asked, beat - margin(beat)));
        if in_time {
            self.state.was_kept();
        }
        in_time
    }

    pub(super) fn doubt(&self) {
        self.state.become_unless_lost(GuardState::Uncertain);
    }

    /// Says that it is lost; whether that is news.
    pub(super) fn lose(&self) -> bool {
        self.state.lose()
    }

    /// For whoever watches the guard.
    pub(super) fn watched(&self) -> &Arc<WatchedState> {
        &self.state
    }
}

impl fmt::Debug for KeptHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptHold")
            .field("mutex", &self.mutex)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
