use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer, cursor::Cursor, list};
use crate::{
    domain::{MutexId, Waiter, WaiterQuery},
    server::{
        app::SharedApp, hold::Owner, openapi::ProblemDetails, parameters::Parameters,
        problem::Problem,
    },
};

/// Who waits, ordered by mutex and place in line.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Waiters {
    waiters: Vec<InLine>,
    /// For the parameter `after`: where the next page begins; null at the end.
    next: Option<String>,
}

/// Someone's place in a line.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct InLine {
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

/// Lists those who wait in line.
#[utoipa::path(get, path = "/v1/waiters", tag = "v1",
    params(
        ("group" = Option<String>, Query, description = "The group, or the tree's name"),
        ("mode" = Option<String>, Query, description = "The mode; `tree` for paths of trees"),
        ("id" = Option<String>, Query, description = "The id"),
        ("prefix" = Option<String>, Query, description = "How the id begins"),
        ("owner_session" = Option<String>, Query, description = "The session of the one who waits"),
        ("limit" = Option<u32>, Query, description = "Most waiters in the answer: from 1 to 1000, else 100"),
        ("after" = Option<String>, Query, description = "The `next` of the page before")),
    responses(
        (status = 200, description = "Those who wait", body = Waiters),
        (status = 400, description = "It cannot be read", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn waiters(
    State(app): State<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(&query.unwrap_or_default())?;
    type Filter = fn(WaiterQuery, String) -> WaiterQuery;
    let known: [(&str, Filter); 5] = [
        ("group", WaiterQuery::group),
        ("mode", WaiterQuery::mode),
        ("id", WaiterQuery::mutex_id),
        ("prefix", WaiterQuery::mutex_id_prefix),
        ("owner_session", WaiterQuery::session_id),
    ];
    let limit = list::limit(&app, &mut parameters)?;
    let mut query = WaiterQuery::all().page_size(limit);
    for (name, filter) in known {
        if let Some(value) = list::filter_text(&mut parameters, name)? {
            query = filter(query, value);
        }
    }
    if let Some(Cursor((id, ticket))) = parameters.take_as::<Cursor<(MutexId, i64)>>("after")? {
        query = query.after(id, ticket);
    }
    parameters.done()?;
    let waiters = app.mutexes.waiters(&query).await?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| waiters.len() >= limit);
    let last = waiters.last().filter(|_| is_full);
    answer(&Waiters {
        next: last.and_then(|last| Cursor((&last.id, last.ticket)).written()),
        waiters: waiters.iter().map(InLine::from).collect(),
    })
}
