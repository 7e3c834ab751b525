use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Owner;
use crate::domain::Waiter;

/// Someone's place in a line.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct InLine {
    group: String,
    mode: String,
    id: String,
    /// 1 is the first.
    place: u64,
    /// `exclusive` or `shared`.
    access: &'static str,
    permits: Option<u32>,
    owner: Owner,
    queued_since: DateTime<Utc>,
    ticket: i64,
    /// The session of who is directly before it: the waiter ahead, or a holder.
    behind_session: Option<String>,
    behind_name: Option<String>,
    lock_parents: bool,
    lock_children: bool,
}

impl From<&Waiter> for InLine {
    fn from(waiter: &Waiter) -> Self {
        Self {
            group: waiter.id.group().to_owned(),
            mode: waiter.id.mode().to_owned(),
            id: waiter.id.id().to_owned(),
            place: waiter.place,
            access: match waiter.access.is_shared() {
                true => "shared",
                false => "exclusive",
            },
            permits: waiter.access.permits(),
            owner: Owner::from(&waiter.owner),
            queued_since: waiter.queued_since,
            ticket: waiter.ticket,
            behind_session: waiter.behind_session.clone(),
            behind_name: waiter.behind_name.clone(),
            lock_parents: waiter.reach.parents,
            lock_children: waiter.reach.children,
        }
    }
}
