//! Holding a mutex for as long as work takes: waiting in line for it, keeping it alive, knowing when
//! it is lost, and giving it back.

mod acquire;
mod adopt;
mod change;
mod give_back;
mod handle;
mod keeper;
mod kept;
mod leader;
mod lock;
mod lock_all;
mod parts;
mod scope;
mod settings;
mod state;
mod ward;

pub use change::Upgrade;
pub use handle::Guard;
pub use leader::{Leader, Leadership};
pub use lock::{AtOnce, Lock, TryLock, TryLocked, Waiting};
pub use lock_all::{LockAll, TryLockAll};
pub use parts::GuardParts;
pub use state::GuardState;

pub(crate) use acquire::{Asker, Request, Wait, acquire};
pub(crate) use adopt::adopt;
pub(crate) use keeper::Keeper;
pub(crate) use scope::held_here;
pub(crate) use ward::Ward;
