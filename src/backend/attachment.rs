use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// A database session of this process that holds can be attached to: they are over when it ends.
#[derive(Clone, Debug)]
pub struct Attachment {
    session: u64,
    trusted: Arc<TrustWindow>,
    ended: watch::Receiver<bool>,
}

impl Attachment {
    /// The session with this number, trusted as long as the window says and `ended` does not say
    /// otherwise.
    pub fn new(session: u64, trusted: Arc<TrustWindow>, ended: watch::Receiver<bool>) -> Self {
        Self {
            session,
            trusted,
            ended,
        }
    }

    /// The number that a rule [`Connection`](crate::AutoRelease::Connection) names.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Whether the session must be taken for gone.
    pub fn has_ended(&self) -> bool {
        // Nobody left to say so: the session was closed.
        *self.ended.borrow() || self.ended.has_changed().is_err() || self.trusted.is_over()
    }

    /// Returns when the session must be taken for gone.
    pub async fn ended(&mut self) {
        // An error: the session was closed, and so it has ended.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

/// Until when something that was last known to be good may be relied on, by this process's own
/// monotonic clock: never counted from the arrival of a reply, always from before the question.
#[derive(Debug)]
pub struct TrustWindow {
    origin: Instant,
    /// Nanoseconds after `origin`.
    until: AtomicU64,
}

impl TrustWindow {
    /// A window that ends this long after something began.
    pub fn new(since: Instant, length: Duration) -> Self {
        Self {
            origin: since,
            until: AtomicU64::new(nanos(length)),
        }
    }

    /// A window that does not end by itself.
    pub fn endless() -> Self {
        Self {
            origin: Instant::now(),
            until: AtomicU64::new(u64::MAX),
        }
    }

    /// Makes it end this long after something began, unless it ends later already. One that has
    /// ended stays so, for whoever has seen that must not be contradicted; says whether it goes on.
    pub fn extend(&self, since: Instant, length: Duration) -> bool {
        let until = nanos(since.saturating_duration_since(self.origin) + length);
        let extended = |end| match self.at(end) {
            Some(end) if Instant::now() >= end => None,
            _ => Some(until.max(end)),
        };
        self.until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, extended)
            .is_ok()
    }

    /// When it ends; `None`: not by itself.
    pub fn end(&self) -> Option<Instant> {
        self.at(self.until.load(Ordering::Relaxed))
    }

    fn at(&self, nanos: u64) -> Option<Instant> {
        match nanos {
            u64::MAX => None,
            nanos => self.origin.checked_add(Duration::from_nanos(nanos)),
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.end().is_some_and(|end| Instant::now() >= end)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
