//! Calls about the audit.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use tokio_postgres::{GenericClient, Row, types::Type};

use super::{
    super::row::{self, Unreadable},
    Repository,
};
use crate::domain::{
    AuditEvent, AuditKept, AuditQuery, AuditedDeed, Error, FencingToken, MutexId, MutexOwner,
};

impl Repository {
    /// Calls `enable_audit`, and says whether that is new.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`] for any role but the owner of the schema; all others that the
    /// database can answer with.
    pub async fn enable_audit<C: GenericClient + Sync>(&self, client: &C) -> Result<bool, Error> {
        let call = self.call(client, "enable_audit", None);
        let row = call.one_row(&self.statements.enable_audit, &[]).await?;
        call.read(row.try_get(0))
    }

    /// Calls `disable_audit`, and says whether that is new.
    ///
    /// # Errors
    /// As [`enable_audit`](Self::enable_audit).
    pub async fn disable_audit<C: GenericClient + Sync>(&self, client: &C) -> Result<bool, Error> {
        let call = self.call(client, "disable_audit", None);
        let row = call.one_row(&self.statements.disable_audit, &[]).await?;
        call.read(row.try_get(0))
    }

    /// Calls `keep_audit`.
    ///
    /// # Errors
    /// As [`enable_audit`](Self::enable_audit).
    pub async fn keep_audit<C: GenericClient + Sync>(
        &self,
        client: &C,
        retention: Duration,
    ) -> Result<AuditKept, Error> {
        let call = self.call(client, "keep_audit", None);
        let seconds = retention.as_secs_f64();
        let row = call
            .one_row(&self.statements.keep_audit, &[(&seconds, Type::FLOAT8)])
            .await?;
        let count = |column: usize| -> Result<u32, Error> {
            let number: i32 = call.read(row.try_get(column))?;
            Ok(u32::try_from(number).unwrap_or(0))
        };
        let moved: i64 = call.read(row.try_get(1))?;
        Ok(AuditKept::new(
            count(0)?,
            u64::try_from(moved).unwrap_or(0),
            count(2)?,
        ))
    }

    /// Reads events of the audit.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn audit<C: GenericClient + Sync>(
        &self,
        client: &C,
        query: &AuditQuery,
    ) -> Result<Vec<AuditEvent>, Error> {
        let call = self.call(client, "audit", None);
        let mutex = query.mutex.as_ref();
        let group = query.group.as_deref();
        let rows = call
            .rows(
                &self.statements.audit,
                &[
                    (&mutex.map(MutexId::group), Type::TEXT),
                    (&mutex.map(MutexId::mode), Type::TEXT),
                    (&mutex.map(MutexId::id), Type::TEXT),
                    (&group, Type::TEXT),
                    (&query.since.map(micros), Type::INT8),
                    (&query.until.map(micros), Type::INT8),
                    (&query.after.map(|(at, _)| micros(at)), Type::INT8),
                    (&query.after.map(|(_, number)| number), Type::INT8),
                    (&query.page_size.map(i64::from), Type::INT8),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let word: &str = call.read(row.try_get(2))?;
                let deed = AuditedDeed::from_word(word)
                    .ok_or_else(|| call.senseless(format!("event {word:?}")))?;
                call.read(event(row, deed))
            })
            .collect()
    }

    pub(super) fn audit_statement(in_schema: &str) -> String {
        let time =
            |place: u8| format!("(timestamptz 'epoch' + ${place} * interval '1 microsecond')");
        let (since, until, after) = (time(5), time(6), time(7));
        format!(
            "select at, number, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token, \
             owner_session, owner_host, owner_id, owner_login, owner_name, \
             reason, database_role, client_address, application_name \
             from {in_schema}.audit \
             where ($1 is null or (mutex_group, mutex_mode, mutex_id) = ($1, $2, $3)) \
             and ($4 is null or mutex_group = $4) \
             and ($5 is null or at >= {since}) and ($6 is null or at < {until}) \
             and ($7 is null or at >= {after} and (at, number) > ({after}, $8)) \
             order by at, number limit $9"
        )
    }
}

/// Microseconds of Unix time, of the years that the server can add them up for.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
        .clamp(-62_135_596_800_000_000, 253_402_300_799_999_999)
}

fn event(row: &Row, deed: AuditedDeed) -> Result<AuditEvent, Unreadable> {
    let permit: i32 = row.try_get(6)?;
    Ok(AuditEvent {
        at: row::time(row, 0)?,
        number: row.try_get(1)?,
        deed,
        id: MutexId::from_row(row.try_get(3)?, row.try_get(4)?, row.try_get(5)?),
        permit: u32::try_from(permit).unwrap_or(0),
        fencing_token: FencingToken::new(row.try_get(7)?),
        owner: MutexOwner::from_row(
            row.try_get(8)?,
            row.try_get(10)?,
            row.try_get(12)?,
            row.try_get(11)?,
            row.try_get(9)?,
        ),
        reason: row.try_get(13)?,
        database_role: row.try_get(14)?,
        client_address: row.try_get::<_, Option<IpAddr>>(15)?,
        application_name: row.try_get(16)?,
    })
}
