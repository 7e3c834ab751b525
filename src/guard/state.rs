use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, futures::Notified};

/// How sure a guard is of its hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardState {
    /// The hold was there when last asked, and nothing says otherwise.
    Held,
    /// The last attempt to keep it alive failed, but it must still be there: its time is not up.
    Uncertain,
    /// It is over or gone, or may be: another may have the mutex.
    Lost,
}

/// The state of a guard, for any number of those who watch it. (There is one for each guard, and a
/// channel that does as much is eight times as large.)
#[derive(Debug, Default)]
pub(super) struct WatchedState {
    state: AtomicU8,
    news: Notify,
}

impl GuardState {
    const ALL: [Self; 3] = [Self::Held, Self::Uncertain, Self::Lost];
}

impl WatchedState {
    pub(super) fn get(&self) -> GuardState {
        let state = usize::from(self.state.load(Ordering::Acquire));
        GuardState::ALL
            .get(state)
            .copied()
            .unwrap_or(GuardState::Lost)
    }

    /// What is lost stays lost.
    pub(super) fn become_unless_lost(&self, new: GuardState) {
        if self.replace_unless_lost(new).is_some_and(|old| old != new) {
            self.news.notify_waiters();
        }
    }

    /// The hold was kept alive: that is news in itself.
    pub(super) fn was_kept(&self) {
        self.replace_unless_lost(GuardState::Held);
        self.news.notify_waiters();
    }

    /// Says whether it was not lost before.
    pub(super) fn lose(&self) -> bool {
        let is_new = self.replace_unless_lost(GuardState::Lost).is_some();
        if is_new {
            self.news.notify_waiters();
        }
        is_new
    }

    /// Returns when there are news, from this call on.
    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Returns when it is lost.
    pub(super) async fn lost(&self) {
        loop {
            let news = self.news();
            if self.get() == GuardState::Lost {
                return;
            }
            news.await;
        }
    }

    /// What was there, unless it was lost.
    fn replace_unless_lost(&self, new: GuardState) -> Option<GuardState> {
        let (lost, new) = (GuardState::Lost as u8, new as u8);
        let replaced = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state != lost).then_some(new)
            });
        let old = replaced.ok()?;
        GuardState::ALL.get(usize::from(old)).copied()
    }
}
