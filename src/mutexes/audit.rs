use std::time::Duration;

use super::Mutexes;
use crate::domain::{AuditEvent, AuditKept, AuditQuery, Result};

/// The audit: who had which mutex when. It belongs to the database, not to this process: it records
/// what any program does with the mutexes there, in the transaction in which it does it.
impl Mutexes {
    /// Has every beginning and end of a hold recorded from now on, and says whether that is new. It
    /// waits up to 2 seconds for transactions that are open and have captured something. That it is not
    /// new may also mean that the connection broke and the call was repeated.
    ///
    /// Call [`keep_audit`](Self::keep_audit) now and then from now on.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied) for any role but the owner of the schema; [`Error::Database`](crate::Error::Database)
    /// with SQLSTATE 55P03 if it waited in vain; [`Error::Unavailable`](crate::Error::Unavailable), also if there is no
    /// PostgreSQL behind these mutexes; [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown): call it again.
    ///
    /// Cancel safety: dropping the future leaves the audit switched on, or as it was.
    pub async fn enable_audit(&self) -> Result<bool> {
        self.postgres()?.enable_audit().await
    }

    /// Records no more, and says whether that is new. What was recorded stays.
    ///
    /// # Errors
    /// As [`enable_audit`](Self::enable_audit).
    ///
    /// Cancel safety: dropping the future leaves the audit switched off, or as it was.
    pub async fn disable_audit(&self) -> Result<bool> {
        self.postgres()?.disable_audit().await
    }

    /// Makes room for the events of this month and the next three, and drops the months that have
    /// wholly passed for longer than `retention`: an event is kept for up to a month more. Any number
    /// of processes may call it, at any time; if nothing is to be done, it does nothing.
    ///
    /// # Errors
    /// As [`enable_audit`](Self::enable_audit); it waits for at most 2 seconds.
    ///
    /// Cancel safety: all of it is done or nothing; the call may still be carried out.
    pub async fn keep_audit(&self, retention: Duration) -> Result<AuditKept> {
        self.postgres()?.keep_audit(retention).await
    }

    /// Reads events of the audit, the oldest first. A standby may be asked, too.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied) for a role that may not read them; [`Error::Unavailable`](crate::Error::Unavailable), also
    /// if there is no PostgreSQL behind these mutexes; [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown): ask again.
    ///
    /// Cancel safe.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEvent>> {
        self.postgres()?.audit(query).await
    }
}
