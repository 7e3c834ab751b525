//! A session of a pool, printed: with its payload only where that was asked for.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{Failure, Output, duration, printable::printable},
    domain::PooledSession,
    mutexes::Mutexes,
    pool::SessionPool,
};

/// A session, named on the command line.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The pool
    collection: String,
    /// The session's number
    id: i64,
}

impl Named {
    pub(super) fn pool(&self, mutexes: &Mutexes) -> (SessionPool, i64) {
        (SessionPool::new(mutexes, &self.collection), self.id)
    }
}

/// What is shown of it.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Shown {
    /// Show payloads, which may be secrets
    #[arg(long)]
    payload: bool,
}

#[derive(Serialize)]
struct Session<'a> {
    collection: &'a str,
    id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
    active: bool,
    next_use: Option<DateTime<Utc>>,
    last_use: Option<DateTime<Utc>>,
    use_count: u64,
    success_count: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Shown {
    pub(super) const NOTHING: Self = Self { payload: false };

    pub(super) fn json(self, session: &PooledSession) -> impl Serialize {
        Session {
            collection: &session.collection,
            id: session.id,
            payload: self.payload.then_some(&session.payload),
            active: session.active,
            next_use: session.next_use,
            last_use: session.last_use,
            use_count: session.use_count,
            success_count: session.success_count,
            created_at: session.created_at,
            updated_at: session.updated_at,
        }
    }

    pub(super) fn header(self) -> Vec<&'static str> {
        let mut header = vec!["ID", "STATE", "USES", "SUCCESSES", "LAST USE", "NEXT USE"];
        header.extend(self.payload.then_some("PAYLOAD"));
        header
    }

    pub(super) fn row(self, session: &PooledSession, now: DateTime<Utc>) -> Vec<String> {
        let mut row = vec![
            session.id.to_string(),
            state(session, now).to_owned(),
            session.use_count.to_string(),
            session.success_count.to_string(),
            session
                .last_use
                .map(|time| format!("{} ago", duration::spoken(now - time)))
                .unwrap_or_default(),
            session
                .next_use
                .filter(|time| *time > now)
                .map(|time| format!("in {}", duration::spoken(time - now)))
                .unwrap_or_default(),
        ];
        if self.payload {
            row.push(printable(&session.payload.to_string()));
        }
        row
    }

    /// Prints what became of a session.
    pub(super) fn print(
        self,
        output: &mut Output,
        session: &PooledSession,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        if output.is_json {
            return output.json(&self.json(session));
        }
        output.line(&format!(
            "{} {}",
            printable(&session.collection),
            session.id
        ))?;
        let (header, row) = (self.header(), self.row(session, now));
        let names: Vec<String> = header
            .iter()
            .skip(1)
            .map(|name| name.to_lowercase())
            .collect();
        let fields: Vec<(&str, String)> = names
            .iter()
            .map(String::as_str)
            .zip(row.into_iter().skip(1))
            .collect();
        output.fields(&fields)
    }
}

/// Whether somebody leases it is not among what a session has.
fn state(session: &PooledSession, now: DateTime<Utc>) -> &'static str {
    match session.next_use {
        _ if !session.active => "inactive",
        Some(next_use) if next_use > now => "locked",
        _ => "active",
    }
}
