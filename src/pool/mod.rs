//! Pools of sessions: accounts, proxies or devices that many workers share, each used by one at a
//! time and not too often.

mod check;
mod checkout;
mod gate;
mod generic;
mod get_session;
#[cfg(feature = "server")]
mod lease;
mod session_pool;
mod settings;
mod update;

pub use checkout::{CheckedOutSession, Checkout};
pub use get_session::GetSession;
pub use session_pool::SessionPool;
pub use update::SessionUpdate;

#[cfg(feature = "server")]
pub(crate) use lease::{LEASES, LeaseRequest};
