use std::{future::IntoFuture, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{SessionPool, check::check_filter};
use crate::{
    backend::{BackendFuture, PoolCall},
    domain::{Error, Period, PooledSession, Result, SessionFilter},
    random,
};

/// A request for the session that comes next, in the making: say more, then await it. See
/// [`SessionPool::get_session`].
#[derive(Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct GetSession<'a, T = Value> {
    pub(super) pool: &'a SessionPool<T>,
    pub(super) count_use: u64,
    pub(super) next_use_delay: Period,
    pub(super) request_id: Option<String>,
    pub(super) filter: SessionFilter,
}

impl<'a, T: Serialize + DeserializeOwned + Send + Sync> GetSession<'a, T> {
    /// As how many uses it counts. Default: 1.
    pub fn count_use(mut self, count_use: u64) -> Self {
        self.count_use = count_use;
        self
    }

    /// For how long it is not to be used again. Default: the pool's.
    pub fn next_use_delay(mut self, delay: impl Into<Period>) -> Self {
        self.next_use_delay = delay.into();
        self
    }

    /// Asking again with the same request id gives the same session, until that is taken again; up to
    /// 400 bytes. Default: one of its own for each call, for when an answer is lost.
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request_id = Some(request_id.into());
        self
    }

    /// Only sessions that this filter lets through, beside the pool's default filter.
    pub fn filter(mut self, filter: SessionFilter) -> Self {
        self.filter = self.filter.and(filter);
        self
    }

    async fn run(self) -> Result<PooledSession<T>> {
        check_filter(&self.filter)?;
        let unique = || format!("{:032x}", u128::from_ne_bytes(random::bytes()));
        let call = PoolCall::GetSession {
            count_use: self.count_use,
            next_use_delay: self.next_use_delay.in_seconds("next_use_delay")?,
            request_id: self.request_id.unwrap_or_else(unique),
            filter: self.filter,
        };
        self.pool
            .optional(call)
            .await?
            .ok_or_else(|| Error::NoneAvailable {
                collection: self.pool.collection().to_owned(),
                waited: Duration::ZERO,
            })
    }
}

impl<'a, T: Serialize + DeserializeOwned + Send + Sync + 'a> IntoFuture for GetSession<'a, T> {
    type Output = Result<PooledSession<T>>;
    type IntoFuture = BackendFuture<'a, PooledSession<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
