use tokio_postgres::GenericClient;

use super::{super::Repository, Operation};
use crate::{
    backend::{CaptureAllRequest, CaptureRequest, CapturedAll, ReleaseRequest, ReleasedEach},
    domain::{Captured, Error, MutexOwner, Result},
};

pub(in super::super) struct CaptureEach<'a> {
    pub(in super::super) requests: &'a [CaptureRequest],
}

impl Operation for CaptureEach<'_> {
    type Output = Vec<Result<Captured>>;
    const NAME: &'static str = "capture_each";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Vec<Result<Captured>>, Error> {
        repository.capture_each(client, self.requests).await
    }
}

pub(in super::super) struct CaptureAll<'a> {
    pub(in super::super) request: &'a CaptureAllRequest,
    pub(in super::super) listener: Option<i64>,
}

impl Operation for CaptureAll<'_> {
    type Output = CapturedAll;
    const NAME: &'static str = "capture_all";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<CapturedAll, Error> {
        repository
            .capture_all(client, self.request, self.listener)
            .await
    }
}

pub(in super::super) struct ReleaseEach<'a> {
    pub(in super::super) requests: &'a [ReleaseRequest],
}

impl Operation for ReleaseEach<'_> {
    type Output = Vec<ReleasedEach>;
    const NAME: &'static str = "release_each";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        callers_transaction: bool,
    ) -> Result<Vec<ReleasedEach>, Error> {
        repository
            .release_each(client, self.requests, callers_transaction)
            .await
    }
}

pub(in super::super) struct ReleaseOwner<'a> {
    pub(in super::super) owner: &'a MutexOwner,
}

impl Operation for ReleaseOwner<'_> {
    type Output = Vec<ReleasedEach>;
    const NAME: &'static str = "release_owner";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Vec<ReleasedEach>, Error> {
        repository.release_owner(client, self.owner).await
    }
}
