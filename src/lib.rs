#![doc = include_str!("../README.md")]

mod backend;
mod background;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod coalescing;
#[cfg(any(feature = "cli", feature = "server"))]
mod collected;
mod current_owner;
mod domain;
mod guard;
#[cfg(any(feature = "cli", feature = "server"))]
mod json;
mod mutexes;
mod observe;
mod pool;
mod postgres;
#[cfg(all(unix, feature = "private-server"))]
pub mod private_server;
mod random;
mod rules;
mod semaphore_service;
#[cfg(feature = "server")]
pub mod server;
mod session;

pub use backend::{
    Attachment, BackendFuture, CaptureAllRequest, CaptureRequest, CapturedAll, ForceReleaseRequest,
    HoldToKeep, MutexBackend, NotKept, Observed, RefreshRequest, ReleaseRequest, ReleasedEach,
    StateRequest, Ticket, TrustWindow,
};
pub use coalescing::Coalescing;
pub use current_owner::{current_owner, with_owner};
pub use domain::{
    Access, AuditEvent, AuditKept, AuditQuery, AuditedDeed, AutoRelease, AutoReleaseRule,
    CaptureOutcome, Captured, Diagnosis, Error, Evicted, FencingToken, Finding, ForceReleased,
    GrantedRole, M3MutexImport, M3MutexOutcome, M3MutexRow, Mutex, MutexId, MutexOwner, MutexQuery,
    MutexState, MutexStatistics, Page, PagePosition, Period, PoolIndex, PoolStatistics,
    PooledSession, Reach, Released, Result, Role, SessionFilter, Verdict, Waiter, WaiterQuery,
    Wish,
};
pub use guard::{
    AtOnce, Guard, GuardParts, GuardState, Leader, Leadership, Lock, LockAll, TryLock, TryLockAll,
    TryLocked, Upgrade, Waiting,
};
pub use mutexes::{
    Capture, CaptureAll, CaptureEach, ForceRelease, InTransaction, Mutexes, MutexesBuilder,
    Refresh, Release, ReleaseEach, Tree, TreePath,
};
pub use pool::{CheckedOutSession, Checkout, GetSession, SessionPool, SessionUpdate};
pub use postgres::{
    MigrationReport, PostgresBackend, PostgresSettings, PreparedStatements, Repository, SchemaName,
    SchemaStatus, TransactionBackend, embedded_migrations, pool_for_url, run_migrations,
};
pub use semaphore_service::{IsolatedWork, SemaphoreInfo, SemaphoreService, SemaphoreStatus};
pub use session::SessionBackend;

// The crates whose types are part of this one's face, in the versions that fit.
#[cfg(feature = "server")]
pub use axum;
pub use chrono;
pub use deadpool_postgres;
pub use refinery;
pub use tokio_postgres;
