use std::time::Duration;

use crate::domain::{Period, SessionFilter};

/// What the calls of a pool go by where they say nothing else.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) lock_time: Period,
    pub(super) block_time: Period,
    pub(super) next_use_delay: Period,
    pub(super) default_filter: SessionFilter,
    pub(super) projection: Vec<String>,
    pub(super) operation_timeout: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lock_time: Period::minutes(10.0),
            block_time: Period::days(1.0),
            next_use_delay: Period::seconds(3.0),
            default_filter: SessionFilter::all(),
            projection: Vec::new(),
            operation_timeout: None,
        }
    }
}
