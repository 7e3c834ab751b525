use tokio_postgres::GenericClient;

use super::{
    super::{Repository, lines::Look},
    Operation,
};
use crate::{
    backend::{HoldToKeep, NotKept},
    domain::{Error, MutexId, MutexOwner, Waiter, WaiterQuery},
};

pub(in super::super) struct LeaveLine<'a> {
    pub(in super::super) id: &'a MutexId,
    pub(in super::super) owner: &'a MutexOwner,
}

impl Operation for LeaveLine<'_> {
    type Output = bool;
    const NAME: &'static str = "leave_line";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<bool, Error> {
        repository.leave_line(client, self.id, self.owner).await
    }
}

pub(in super::super) struct ListWaiting<'a>(pub(in super::super) &'a WaiterQuery);

impl Operation for ListWaiting<'_> {
    type Output = Vec<Waiter>;
    const NAME: &'static str = "waiters";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Vec<Waiter>, Error> {
        repository.list_waiting(client, self.0).await
    }
}

pub(in super::super) struct Keep<'a> {
    pub(in super::super) holds: &'a [HoldToKeep],
}

impl Operation for Keep<'_> {
    type Output = Vec<NotKept>;
    const NAME: &'static str = "keep";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Vec<NotKept>, Error> {
        repository.keep(client, self.holds).await
    }
}

pub(in super::super) struct LookAtLines<'a> {
    pub(in super::super) listener: i64,
    pub(in super::super) tickets: Option<&'a [i64]>,
}

impl Operation for LookAtLines<'_> {
    type Output = Vec<Look>;
    const NAME: &'static str = "look_at_lines";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Vec<Look>, Error> {
        repository
            .look_at_lines(client, self.listener, false, self.tickets)
            .await
    }
}
