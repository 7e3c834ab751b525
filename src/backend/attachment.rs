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
        *self.ended.borrow() || self.trusted.is_over()
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
        let window = Self {
            origin: since,
            until: AtomicU64::new(0),
        };
        window.extend(since, length);
        window
    }

    /// A window that does not end by itself.
    pub fn endless() -> Self {
        Self {
            origin: Instant::now(),
            until: AtomicU64::new(u64::MAX),
        }
    }

    /// Makes it end this long after something began, unless it ends later already.
    pub fn extend(&self, since: Instant, length: Duration) {
        let until = since.saturating_duration_since(self.origin) + length;
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.until.fetch_max(nanos, Ordering::Relaxed);
    }

    /// When it ends; `None`: not by itself.
    pub fn end(&self) -> Option<Instant> {
        match self.until.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => self.origin.checked_add(Duration::from_nanos(nanos)),
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.end().is_some_and(|end| Instant::now() >= end)
    }
}
