use chrono::{DateTime, Utc};
use tokio_postgres::GenericClient;

use super::{super::Repository, Operation};
use crate::{
    backend::{
        CaptureRequest, ForceReleaseRequest, Observed, RefreshRequest, ReleaseRequest, StateRequest,
    },
    domain::{
        Captured, Error, FencingToken, ForceReleased, Mutex, MutexId, MutexQuery, MutexState, Page,
        Released,
    },
};

pub(in super::super) struct Capture<'a>(pub(in super::super) &'a CaptureRequest);

impl Operation for Capture<'_> {
    type Output = Captured;
    const NAME: &'static str = "capture";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Captured, Error> {
        repository.capture(client, self.0).await
    }
}

pub(in super::super) struct Refresh<'a>(pub(in super::super) &'a RefreshRequest);

impl Operation for Refresh<'_> {
    type Output = Mutex;
    const NAME: &'static str = "refresh";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Mutex, Error> {
        repository.refresh(client, self.0).await
    }
}

pub(in super::super) struct Release<'a>(pub(in super::super) &'a ReleaseRequest);

impl Operation for Release<'_> {
    type Output = Released;
    const NAME: &'static str = "release";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        callers_transaction: bool,
    ) -> Result<Released, Error> {
        repository
            .release(client, self.0, callers_transaction)
            .await
    }
}

pub(in super::super) struct Request<'a>(pub(in super::super) &'a StateRequest);

impl Operation for Request<'_> {
    type Output = Observed<MutexState>;
    const NAME: &'static str = "request";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Observed<MutexState>, Error> {
        repository.request(client, self.0).await
    }
}

pub(in super::super) struct HolderInTheWay<'a>(pub(in super::super) &'a CaptureRequest);

impl Operation for HolderInTheWay<'_> {
    type Output = Observed<Option<Mutex>>;
    const NAME: &'static str = "holder_in_the_way";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Observed<Option<Mutex>>, Error> {
        repository.holder_in_the_way(client, self.0).await
    }
}

pub(in super::super) struct List<'a>(pub(in super::super) &'a MutexQuery);

impl Operation for List<'_> {
    type Output = Page;
    const NAME: &'static str = "list";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Page, Error> {
        repository.list(client, self.0).await
    }
}

pub(in super::super) struct Count<'a>(pub(in super::super) &'a MutexQuery);

impl Operation for Count<'_> {
    type Output = u64;
    const NAME: &'static str = "count";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<u64, Error> {
        repository.list_count(client, self.0).await
    }
}

pub(in super::super) struct Evict<'a>(
    pub(in super::super) &'a MutexId,
    pub(in super::super) FencingToken,
);

impl Operation for Evict<'_> {
    type Output = bool;
    const NAME: &'static str = "evict";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<bool, Error> {
        repository.evict(client, self.0, self.1).await
    }
}

pub(in super::super) struct ForceRelease<'a>(pub(in super::super) &'a ForceReleaseRequest);

impl Operation for ForceRelease<'_> {
    type Output = ForceReleased;
    const NAME: &'static str = "force_release";

    /// Without a token it would hit whoever has captured the mutex since.
    fn is_repeatable(&self) -> bool {
        self.0.token.is_some()
    }

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<ForceReleased, Error> {
        repository.force_release(client, self.0).await
    }
}

pub(in super::super) struct Sweep;

impl Operation for Sweep {
    type Output = u64;
    const NAME: &'static str = "sweep";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<u64, Error> {
        repository.sweep(client).await
    }
}

pub(in super::super) struct Now;

impl Operation for Now {
    type Output = DateTime<Utc>;
    const NAME: &'static str = "reading the clock";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<DateTime<Utc>, Error> {
        repository.now(client).await
    }
}

pub(in super::super) struct EnsureGeneration;

impl Operation for EnsureGeneration {
    type Output = u64;
    const NAME: &'static str = "connecting";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<u64, Error> {
        repository.ensure_generation(client).await
    }
}
