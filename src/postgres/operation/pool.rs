use tokio_postgres::GenericClient;

use super::{super::Repository, Operation};
use crate::{
    backend::{CheckedOut, CheckoutRequest, PoolAnswer, PoolCall, PoolRequest},
    domain::Error,
};

pub(in super::super) struct AboutPool<'a>(pub(in super::super) &'a PoolRequest);

impl Operation for AboutPool<'_> {
    type Output = PoolAnswer;
    const NAME: &'static str = "a call about a pool";

    /// What counts, adds, or finds for itself what it changes, would do it once more.
    fn is_repeatable(&self) -> bool {
        !matches!(
            self.0.call,
            PoolCall::Success { .. }
                | PoolCall::Add(_)
                | PoolCall::FindOneAndUpdate { .. }
                | PoolCall::DeleteOne(_)
        )
    }

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<PoolAnswer, Error> {
        repository.pool(client, self.0).await
    }
}

pub(in super::super) struct Checkout<'a> {
    pub(in super::super) request: &'a CheckoutRequest,
    pub(in super::super) listener: Option<i64>,
}

impl Operation for Checkout<'_> {
    type Output = CheckedOut;
    const NAME: &'static str = "checkout";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<CheckedOut, Error> {
        repository
            .pool_checkout(client, self.request, self.listener)
            .await
    }
}
