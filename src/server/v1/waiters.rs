use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer, list};
use crate::server::{
    app::SharedApp,
    hold::Owner,
    openapi::ProblemDetails,
    parameters::Parameters,
    problem::Problem,
    tree_face::{Trees, Waiter},
};

/// Who waits, those who came first in front.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Waiters {
    waiters: Vec<InLine>,
}

/// Someone's place in a line.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct InLine {
    group: String,
    mode: String,
    id: String,
    /// 1 is the first.
    place: u32,
    /// `exclusive` or `shared`.
    access: &'static str,
    permits: Option<u32>,
    owner: Owner,
    queued_since: DateTime<Utc>,
    ticket: i64,
    /// Whom it waits for: the holder in the way.
    behind_owner_session: Option<String>,
    behind_owner_name: Option<String>,
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
            behind_owner_session: waiter.behind_owner_session.clone(),
            behind_owner_name: waiter.behind_owner_name.clone(),
            lock_parents: waiter.lock_parents,
            lock_children: waiter.lock_children,
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
        ("user_id" = Option<String>, Query, description = "Its user id"),
        ("login" = Option<String>, Query, description = "Its login"),
        ("limit" = Option<u32>, Query, description = "Most waiters in the answer: from 1 to 1000, else 100")),
    responses(
        (status = 200, description = "Those who wait", body = Waiters),
        (status = 400, description = "It cannot be read", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn waiters(
    State(app): State<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(&query.unwrap_or_default())?;
    let query = list::filters(&app, &mut parameters)?;
    parameters.done()?;
    let waiters = app.mutexes.waiters(&query).await?;
    answer(&Waiters {
        waiters: waiters.iter().map(InLine::from).collect(),
    })
}
