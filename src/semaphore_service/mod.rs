//! Named semaphores with owners and statuses, for programs that know a semaphore service: the same
//! rows as all other mutexes, behind its verbs.

mod info;
mod isolated_work;
mod service;

pub use info::{SemaphoreInfo, SemaphoreStatus};
pub use isolated_work::IsolatedWork;
pub use service::SemaphoreService;
