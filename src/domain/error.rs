use std::{error::Error as StdError, time::Duration};

use chrono::{DateTime, Utc};

use super::{FencingToken, Mutex, MutexId};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure underneath: of the driver, the network, the file system.
type Source = Box<dyn StdError + Send + Sync>;

/// What can go wrong, with the data to act on it.
///
/// A refusal ([`Busy`](Self::Busy)) is a normal outcome, not a fault. [`is_busy`](Self::is_busy),
/// [`is_transient`](Self::is_transient) and [`is_outcome_unknown`](Self::is_outcome_unknown) answer
/// what callers mostly ask.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Someone else holds the mutex; or the caller does and is still writing behind its fence.
    #[error("mutex {id} is held by {} since {}{}", .holder.owner, second(.holder.held_since), until(.holder))]
    Busy {
        /// The mutex.
        id: MutexId,
        /// The hold that is in the way.
        holder: Box<Mutex>,
        /// The database's time of this answer.
        observed_at: DateTime<Utc>,
    },

    /// The time that a request was willing to wait is up. It is out of the line again.
    #[error("waited {:.1} s for mutex {id} in vain{}", .waited.as_secs_f64(), in_the_way(.holder))]
    Timeout {
        /// The mutex, or the first of several.
        id: MutexId,
        /// For how long.
        waited: Duration,
        /// A hold that was in the way when last asked.
        holder: Option<Box<Mutex>>,
    },

    /// No session of a pool can be taken now: all are in use, locked or inactive, or there is none.
    #[error("no session of pool {collection:?} is available{}", after(.waited))]
    NoneAvailable {
        /// The pool.
        collection: String,
        /// How long this call has waited for one.
        waited: Duration,
    },

    /// There is no such session in this pool. Nothing was changed.
    #[error("there is no session {id} in pool {collection:?}, or another lease has it by now")]
    UnknownSession {
        /// The pool.
        collection: String,
        /// The session's number.
        id: i64,
    },

    /// Waiting could never end: whoever holds the mutex waits, directly or through others, for the
    /// one who asks. Nobody has joined a line.
    #[error("{circle}; release what you hold and begin again, or lock all of them at once")]
    WaitCircle {
        /// The mutex that was asked for.
        id: MutexId,
        /// Who waits for whom, in words.
        circle: String,
    },

    /// There is no database session of this process's own, which the rule `connection` needs.
    #[error(
        "holds cannot be attached to a database session: {reason}; name a URL that leads straight to PostgreSQL (MutexesBuilder::direct_url), or use a timeout"
    )]
    NoSession {
        /// Why not.
        reason: String,
    },

    /// The hold is gone: it was over, was released, or never was.
    #[error("mutex {id} is no longer held{}; capture it again before you go on", of_token(.token))]
    Lost {
        /// The mutex.
        id: MutexId,
        /// The token of the hold that was meant, if one was named.
        token: Option<FencingToken>,
    },

    /// Another transaction has been deciding about this mutex for longer than the 5 seconds that a
    /// call waits: most likely it captured the mutex and is still open. Nothing was changed.
    #[error(
        "another transaction has been deciding about mutex {id} for more than 5 s and is still open; look for it in pg_locks, or try again"
    )]
    Contended {
        /// The mutex.
        id: MutexId,
    },

    /// Two transactions waited for each other's mutexes and the database ended this one. Roll back
    /// and begin again.
    #[error(
        "deadlock: this transaction and another waited for each other's mutexes; roll back and begin again, capturing in one order everywhere"
    )]
    Deadlock {
        /// The database's account of it.
        #[source]
        source: Source,
    },

    /// A name that no mutex can have.
    #[error("{field} {reason}")]
    InvalidId {
        /// The part: `mutex_group`, `mutex_mode` or `mutex_id`.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// An owner that cannot hold a mutex.
    #[error("{field} {reason}")]
    InvalidOwner {
        /// The field, under its column's name.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// A rule that could not end a hold as it is meant to.
    #[error("auto-release rule: {reason}")]
    InvalidRule {
        /// What is wrong with it.
        reason: String,
    },

    /// Another value that cannot be accepted.
    #[error("{field} {reason}")]
    InvalidInput {
        /// What the value was for.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// The database refused an argument. Nothing was changed.
    #[error("refused by the database: {reason}")]
    Refused {
        /// The database's reason.
        reason: String,
    },

    /// The caller's transaction is repeatable read or serializable: its snapshot may be older than
    /// the lock, and a decision made on it could make two holders.
    #[error(
        "mutexes cannot be decided about in this transaction: {reason}; begin it with isolation level read committed"
    )]
    IsolationLevel {
        /// The database's reason.
        reason: String,
    },

    /// The server is a standby, or the transaction is read-only.
    #[error(
        "mutexes cannot be changed here: {reason}; connect to the primary (target_session_attrs=read-write) and use a transaction that may write"
    )]
    ReadOnly {
        /// The database's reason.
        reason: String,
    },

    /// The schema, or a function in it, is missing.
    #[error(
        "schema {schema:?} is not installed, or not completely ({reason}): call migrate() first"
    )]
    NotMigrated {
        /// The schema looked in.
        schema: String,
        /// The database's reason.
        reason: String,
    },

    /// The schema was migrated by a newer version of this library.
    #[error(
        "schema {schema:?} is at version {found}, this program knows versions up to {expected}: deploy a newer version of the program; nothing was changed"
    )]
    SchemaVersion {
        /// The schema.
        schema: String,
        /// The version found in the database.
        found: i64,
        /// The newest version that this program knows.
        expected: i64,
    },

    /// A migration failed. It was rolled back as a whole.
    #[error("migration failed, nothing of it was kept: {reason}")]
    Migration {
        /// What failed, and why.
        reason: String,
        /// The failure underneath.
        #[source]
        source: Option<Source>,
    },

    /// The database role may not do this.
    #[error("permission denied by the database: {reason}")]
    PermissionDenied {
        /// The database's reason.
        reason: String,
    },

    /// A connection URL that cannot be used.
    #[error("connection URL: {reason}")]
    InvalidUrl {
        /// What is wrong with it; never the password.
        reason: String,
    },

    /// The database could not be reached, or no pooled connection came free. Nothing was sent, so
    /// nothing was changed.
    #[error("the database is unavailable: {source}")]
    Unavailable {
        /// The failure underneath.
        #[source]
        source: Source,
    },

    /// The connection broke, or the call took too long, after the request was sent: it may have
    /// been carried out or not. Repeating it with the same owner is safe and tells.
    #[error(
        "the outcome of {operation} is unknown ({source}): it may have been carried out; repeat it with the same owner to find out"
    )]
    OutcomeUnknown {
        /// What was asked.
        operation: &'static str,
        /// The failure underneath.
        #[source]
        source: Source,
    },

    /// Any other error of the database.
    #[error("database error {sqlstate}: {reason}")]
    Database {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its message.
        reason: String,
        /// The failure underneath.
        #[source]
        source: Source,
    },

    /// A per-request mutex was asked about where no request is being served.
    #[error(
        "no request is being served here: wrap its future in SessionBackend::scope (spawned tasks are outside of it)"
    )]
    OutsideScope,

    /// An answer that this library does not understand: another program has changed the functions
    /// or the table.
    #[error("the database's answer to {operation} makes no sense: {reason}")]
    Protocol {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
}

fn after(waited: &Duration) -> String {
    match waited.is_zero() {
        true => String::new(),
        false => format!(", after {:.1} s of waiting", waited.as_secs_f64()),
    }
}

/// To the second: enough for people.
fn second(time: DateTime<Utc>) -> impl std::fmt::Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}

fn in_the_way(holder: &Option<Box<Mutex>>) -> String {
    holder.as_ref().map_or_else(String::new, |holder| {
        format!(
            ": held by {} since {}",
            holder.owner,
            second(holder.held_since)
        )
    })
}

fn until(holder: &Mutex) -> String {
    match holder.expires_at {
        Some(end) if end < DateTime::<Utc>::MAX_UTC => {
            format!(", until {} unless refreshed", second(end))
        }
        _ => String::new(),
    }
}

fn of_token(token: &Option<FencingToken>) -> String {
    token.map_or_else(String::new, |token| format!(" under token {token}"))
}

impl Error {
    /// Whether someone else simply was first: try again later, or tell the user who.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// Whether the same call may well succeed if it is repeated after a moment. `Busy` is not among
    /// them: how long a holder holds is not for this library to guess.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Contended { .. }
            | Self::Deadlock { .. }
            | Self::WaitCircle { .. }
            | Self::Unavailable { .. }
            | Self::OutcomeUnknown { .. } => true,
            // Serialization failures, shortages (too many connections, memory, locks), a query that
            // was cancelled.
            Self::Database { sqlstate, .. } => {
                sqlstate.starts_with("40") || sqlstate.starts_with("53") || sqlstate == "57014"
            }
            _ => false,
        }
    }

    /// Whether the request may have been carried out although no answer came.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }

    pub(crate) fn of_an_id(self) -> Self {
        match self {
            Self::InvalidInput { field, reason } => Self::InvalidId { field, reason },
            other => other,
        }
    }

    pub(crate) fn of_an_owner(self) -> Self {
        match self {
            Self::InvalidInput { field, reason } => Self::InvalidOwner { field, reason },
            other => other,
        }
    }

    pub(crate) fn of_a_rule(self) -> Self {
        match self {
            Self::InvalidInput { field, reason } => Self::InvalidRule {
                reason: format!("{field} {reason}"),
            },
            other => other,
        }
    }
}
