use std::time::Duration;

use super::{
    PostgresBackend,
    operation::{Audit, DisableAudit, EnableAudit, KeepAudit},
};
use crate::domain::{AuditEvent, AuditKept, AuditQuery, Error};

/// The audit, which is a matter of the database alone.
impl PostgresBackend {
    pub(crate) async fn enable_audit(&self) -> Result<bool, Error> {
        self.call(EnableAudit).await
    }

    pub(crate) async fn disable_audit(&self) -> Result<bool, Error> {
        self.call(DisableAudit).await
    }

    pub(crate) async fn keep_audit(&self, retention: Duration) -> Result<AuditKept, Error> {
        self.call(KeepAudit(retention)).await
    }

    pub(crate) async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEvent>, Error> {
        self.call(Audit(query)).await
    }
}
