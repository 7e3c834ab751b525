use tokio_postgres::GenericClient;

use super::{super::Repository, Operation};
use crate::{
    backend::{CaptureAllRequest, CapturedAll, RefreshRequest, ReleaseRequest},
    domain::{Error, Mutex, Released, Result},
};

// If the outcome of one of these is unknown, it is not repeated: while the first attempt is still
// under way it has its locks, so a repetition would leave all alone, which says nothing about the first
// one. And some of those who asked may be gone by then. Whoever is still there asks on its own, and
// such a repetition waits for the locks.

pub(in super::super) struct CaptureTogether<'a> {
    pub(in super::super) requests: &'a [CaptureAllRequest],
    pub(in super::super) listener: Option<i64>,
}

impl Operation for CaptureTogether<'_> {
    type Output = Vec<Option<Result<CapturedAll>>>;
    const NAME: &'static str = "capture_together";

    fn is_repeatable(&self) -> bool {
        false
    }

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Self::Output, Error> {
        repository
            .capture_together(client, self.requests, self.listener)
            .await
    }
}

pub(in super::super) struct RefreshTogether<'a> {
    pub(in super::super) requests: &'a [RefreshRequest],
}

impl Operation for RefreshTogether<'_> {
    type Output = Vec<Option<Result<Mutex>>>;
    const NAME: &'static str = "refresh_together";

    fn is_repeatable(&self) -> bool {
        false
    }

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Self::Output, Error> {
        repository.refresh_together(client, self.requests).await
    }
}

pub(in super::super) struct ReleaseTogether<'a> {
    pub(in super::super) requests: &'a [ReleaseRequest],
}

impl Operation for ReleaseTogether<'_> {
    type Output = Vec<Option<Result<Released>>>;
    const NAME: &'static str = "release_together";

    fn is_repeatable(&self) -> bool {
        false
    }

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        callers_transaction: bool,
    ) -> Result<Self::Output, Error> {
        repository
            .release_together(client, self.requests, callers_transaction)
            .await
    }
}
