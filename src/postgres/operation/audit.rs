use std::time::Duration;

use tokio_postgres::GenericClient;

use super::{super::Repository, Operation};
use crate::domain::{AuditEvent, AuditKept, AuditQuery, Error};

pub(in super::super) struct EnableAudit;

impl Operation for EnableAudit {
    type Output = bool;
    const NAME: &'static str = "enable_audit";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<bool, Error> {
        repository.enable_audit(client).await
    }
}

pub(in super::super) struct DisableAudit;

impl Operation for DisableAudit {
    type Output = bool;
    const NAME: &'static str = "disable_audit";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<bool, Error> {
        repository.disable_audit(client).await
    }
}

pub(in super::super) struct KeepAudit(pub(in super::super) Duration);

impl Operation for KeepAudit {
    type Output = AuditKept;
    const NAME: &'static str = "keep_audit";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<AuditKept, Error> {
        repository.keep_audit(client, self.0).await
    }
}

pub(in super::super) struct Audit<'a>(pub(in super::super) &'a AuditQuery);

impl Operation for Audit<'_> {
    type Output = Vec<AuditEvent>;
    const NAME: &'static str = "audit";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Vec<AuditEvent>, Error> {
        repository.audit(client, self.0).await
    }
}
