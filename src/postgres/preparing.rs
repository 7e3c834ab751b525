//! Whether calls are sent as prepared statements: where each connection has a session of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{ClientWrapper, StatementCache};
use tokio::time::timeout;

use super::{Repository, dedicated::Way, own_session::not_opened, pooler::lends_sessions};
use crate::{background::Background, domain::Error};

/// Whether the calls made most often (capture, refresh, release, alone or many together) are sent as
/// prepared statements, which saves the server the work of parsing and planning each time.
///
/// A prepared statement belongs to one session of the server. A pooler in transaction mode lends the
/// sessions of others, whose statements may have the same names. So each of these statements asks for
/// a mark of its own before it does anything, and an answer that does not come from the right one
/// ends the preparing for the life of the backend; the call is made again, as a statement that is
/// not prepared. (An answer to many in which nobody is named is no such sign: then each asks on its
/// own, and those calls find out.) That protects against statements of this library's. A statement of *another*
/// program's that happens to have the same name and as many parameters would be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreparedStatements {
    /// Where connections are found to lead straight to the server. After 256 calls it is looked, in
    /// the background and on two connections beside the pool, whether two connections are lent the
    /// same session. Until then, and where they are, nothing is prepared.
    #[default]
    WhereDirect,
    /// From the first call on. Only for connections that lead straight to the server, or through a
    /// pooler in session mode.
    Always,
    /// Never.
    Never,
}

/// After how many calls it is looked the first time: opening two connections costs the server about
/// as much as so many prepared statements save. If looking fails, it is repeated after twice as many.
const FIRST_LOOK: u32 = 256;

/// How long looking may take.
const LOOKING: Duration = Duration::from_secs(10);

const UNKNOWN: u8 = 0;
const PREPARES: u8 = 1;
const DOES_NOT: u8 = 2;
/// Unknown as well, and somebody is looking.
const LOOKS: u8 = 3;

/// What a backend has found out about preparing, for good.
#[derive(Debug)]
pub(super) struct Preparing {
    state: AtomicU8,
    calls: AtomicU32,
}

/// The statements that are prepared on one connection.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) cache: Arc<StatementCache>,
    preparing: Arc<Preparing>,
}

impl Prepared {
    /// Something answered that is not what was prepared.
    pub(super) fn distrust(&self, reason: &str) {
        if self.preparing.state.swap(DOES_NOT, Ordering::Relaxed) != DOES_NOT {
            tracing::warn!(
                reason,
                "prepared statements do not stay with their connection: nothing is prepared any more"
            );
        }
    }
}

impl Preparing {
    pub(super) fn new(wanted: PreparedStatements) -> Self {
        Self {
            state: AtomicU8::new(match wanted {
                PreparedStatements::WhereDirect => UNKNOWN,
                PreparedStatements::Always => PREPARES,
                PreparedStatements::Never => DOES_NOT,
            }),
            calls: AtomicU32::new(0),
        }
    }

    /// What is prepared on this connection, if anything may be.
    pub(super) fn on(self: &Arc<Self>, connection: &ClientWrapper) -> Option<Prepared> {
        (self.state.load(Ordering::Relaxed) == PREPARES).then(|| Prepared {
            cache: Arc::clone(&connection.statement_cache),
            preparing: Arc::clone(self),
        })
    }

    /// Counts a call, and has it looked if it is time to.
    pub(super) fn count_call(
        self: &Arc<Self>,
        background: &Background,
        repository: &Repository,
        way: impl FnOnce() -> Way,
    ) {
        if self.state.load(Ordering::Relaxed) != UNKNOWN {
            return;
        }
        let calls = self.calls.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let is_time = calls >= FIRST_LOOK && calls.is_power_of_two();
        if is_time && self.becomes(LOOKS, UNKNOWN) {
            let (this, repository, way) = (Arc::clone(self), repository.clone(), way());
            background.spawn(async move { this.look(&repository, &way).await });
        }
    }

    /// Nothing that was found out meanwhile is forgotten.
    fn becomes(&self, state: u8, instead_of: u8) -> bool {
        let ordering = Ordering::Relaxed;
        let changed = self
            .state
            .compare_exchange(instead_of, state, ordering, ordering);
        changed.is_ok()
    }

    async fn look(&self, repository: &Repository, way: &Way) {
        // Also if this is dropped with its runtime.
        let looking = scopeguard::guard((), |()| {
            self.becomes(UNKNOWN, LOOKS);
        });
        let looked = timeout(LOOKING, leads_through_a_pooler(repository, way)).await;
        let found = match looked {
            Ok(Ok(true)) => DOES_NOT,
            Ok(Ok(false)) => PREPARES,
            Ok(Err(error)) => return tracing::debug!(%error, "cannot look for a pooler now"),
            Err(error) => return tracing::debug!(%error, "cannot look for a pooler now"),
        };
        tracing::debug!(prepares = found == PREPARES, "looked for a pooler");
        self.becomes(found, LOOKS);
        drop(looking);
    }
}

async fn leads_through_a_pooler(repository: &Repository, way: &Way) -> Result<bool, Error> {
    let open = async || {
        let opened = way.open(Arc::new(|_| {})).await;
        opened.map_err(|error| not_opened(way, error))
    };
    let (first, mut second) = (open().await?, open().await?);
    let process_id = repository.process_id(&*first).await?;
    lends_sessions(repository, &first, process_id, &mut second).await
}
