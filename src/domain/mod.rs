//! What a mutex is: names, owners, holds, rules and errors. Pure values, no input or output.

mod access;
mod auto_release;
mod diagnosis;
mod error;
mod fencing_token;
mod limits;
mod mutex;
mod mutex_id;
mod mutex_owner;
mod mutex_query;
mod outcome;
mod path;
mod pooled_session;
mod reach;
mod session_filter;
mod waiter;
mod wish;

pub use access::Access;
pub use auto_release::{AutoRelease, AutoReleaseRule};
pub use diagnosis::{Diagnosis, Finding, Verdict};
pub use error::{Error, Result};
pub use fencing_token::FencingToken;
pub(crate) use limits::check_status_data;
pub use mutex::{Mutex, MutexState};
pub use mutex_id::MutexId;
pub use mutex_owner::MutexOwner;
pub use mutex_query::{MutexQuery, Page, PagePosition};
pub use outcome::{CaptureOutcome, Captured, Evicted, ForceReleased, Released};
pub(crate) use path::{is_above, is_path, join as join_path, locks_of, split as split_path};
pub(crate) use pooled_session::check_json;
pub use pooled_session::{Period, PoolIndex, PoolStatistics, PooledSession};
pub use reach::Reach;
pub use session_filter::SessionFilter;
pub use waiter::{Waiter, WaiterQuery};
pub use wish::Wish;
