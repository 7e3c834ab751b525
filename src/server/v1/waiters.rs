use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer, cursor::Cursor, list};
use crate::{
    domain::{MutexId, WaiterQuery},
    json::InLine,
    server::{app::SharedApp, openapi::ProblemDetails, parameters::Parameters, problem::Problem},
};

/// Who waits, ordered by mutex and place in line.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Waiters {
    waiters: Vec<InLine>,
    /// For the parameter `after`: where the next page begins; null at the end.
    next: Option<String>,
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
