use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::PooledSession;

/// A session of a pool. All times are the database's.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Session {
    /// The pool that it belongs to.
    collection: String,
    /// Its number.
    id: i64,
    /// What workers need of it.
    #[schema(value_type = Object)]
    payload: Value,
    /// Whether it may be used at all; false until somebody activates it.
    active: bool,
    /// Not to be used before; null: it never was locked.
    next_use: Option<DateTime<Utc>>,
    /// When it was taken last.
    last_use: Option<DateTime<Utc>>,
    /// How often it was used, by the word of those who took it.
    use_count: u64,
    /// How often with success.
    success_count: u64,
    /// When it was added.
    created_at: DateTime<Utc>,
    /// When anything about it was changed last.
    updated_at: DateTime<Utc>,
}

impl From<PooledSession> for Session {
    fn from(session: PooledSession) -> Self {
        Self {
            collection: session.collection,
            id: session.id,
            payload: session.payload,
            active: session.active,
            next_use: session.next_use,
            last_use: session.last_use,
            use_count: session.use_count,
            success_count: session.success_count,
            created_at: session.created_at,
            updated_at: session.updated_at,
        }
    }
}
