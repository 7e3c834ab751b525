//! Pools of sessions: accounts, proxies or devices that many workers share, each used by one at a
//! time and not too often.

mod checkout;
mod gate;
#[cfg(feature = "server")]
mod lease;
mod session_pool;

pub use checkout::{CheckedOutSession, Checkout};
pub use session_pool::{GetSession, SessionPool, SessionUpdate};

#[cfg(feature = "server")]
pub(crate) use lease::{LEASES, LeaseRequest};
