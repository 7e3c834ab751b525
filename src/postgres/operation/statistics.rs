use tokio_postgres::GenericClient;

use super::{super::Repository, Operation};
use crate::domain::{Error, MutexStatistics};

pub(in super::super) struct Statistics;

impl Operation for Statistics {
    type Output = MutexStatistics;
    const NAME: &'static str = "statistics";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<MutexStatistics, Error> {
        repository.statistics(client).await
    }
}
