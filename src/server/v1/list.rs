use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer, cursor::Cursor};
use crate::{
    domain::MutexQuery,
    json::Hold,
    server::{
        app::{App, SharedApp},
        openapi::ProblemDetails,
        parameters::{Parameters, invalid},
        problem::Problem,
    },
};

/// How many holds an answer has if nothing is said.
const USUAL_PAGE: u32 = 100;

/// Some of the holds that fit, in the order of group, mode, id and permit.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct List {
    holds: Vec<Hold>,
    /// For the parameter `after`: where the next page begins; null at the end.
    next: Option<String>,
    /// How many holds fit, on all pages, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// Lists holds. Filters must all fit.
#[utoipa::path(get, path = "/v1/list", tag = "v1",
    params(
        ("group" = Option<String>, Query, description = "The group, or the tree's name"),
        ("mode" = Option<String>, Query, description = "The mode; `tree` for paths of trees"),
        ("id" = Option<String>, Query, description = "The id"),
        ("prefix" = Option<String>, Query, description = "How the id begins"),
        ("owner_session" = Option<String>, Query, description = "The owner's session, as lists show it"),
        ("user_id" = Option<String>, Query, description = "The owner's user id"),
        ("login" = Option<String>, Query, description = "The owner's login; of holds captured over HTTP, the name of the token"),
        ("rule" = Option<String>, Query, description = "The code of the auto-release rule"),
        ("limit" = Option<u32>, Query, description = "Most holds in the answer: from 1 to 1000, else 100"),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("count" = Option<bool>, Query, description = "`true`: count all that fit, too")),
    responses(
        (status = 200, description = "A page", body = List),
        (status = 400, description = "It cannot be read", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn list(
    State(app): State<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(&query.unwrap_or_default())?;
    let is_counted: bool = parameters.take_as("count")?.unwrap_or(false);
    let query = filters(&app, &mut parameters)?;
    parameters.done()?;
    let page = app.mutexes.list(&query).await?;
    let count = match is_counted {
        true => Some(app.mutexes.count(&query).await?),
        false => None,
    };
    answer(&List {
        holds: page.mutexes.iter().map(Hold::from).collect(),
        next: page.next.and_then(|next| Cursor(next).written()),
        count,
    })
}

fn filters(app: &App, parameters: &mut Parameters) -> Result<MutexQuery, Problem> {
    type Filter = fn(MutexQuery, String) -> MutexQuery;
    let known: [(&str, Filter); 8] = [
        ("group", MutexQuery::group),
        ("mode", MutexQuery::mode),
        ("id", MutexQuery::mutex_id),
        ("prefix", MutexQuery::mutex_id_prefix),
        ("owner_session", MutexQuery::session_id),
        ("user_id", MutexQuery::user_id),
        ("login", MutexQuery::login),
        ("rule", MutexQuery::auto_release_rule),
    ];
    let mut query = MutexQuery::all().page_size(limit(app, parameters)?);
    for (name, filter) in known {
        if let Some(value) = filter_text(parameters, name)? {
            query = filter(query, value);
        }
    }
    if let Some(Cursor(position)) = parameters.take_as("after")? {
        query = query.after(position);
    }
    Ok(query)
}

/// How many a page is to have.
pub(super) fn limit(app: &App, parameters: &mut Parameters) -> Result<u32, Problem> {
    let most = app.limits.page;
    let limit: u32 = parameters.take_as("limit")?.unwrap_or(USUAL_PAGE.min(most));
    if !(1..=most).contains(&limit) {
        return Err(invalid("limit", format!("is from 1 to {most}")));
    }
    Ok(limit)
}

/// A text to compare with. PostgreSQL cannot store NUL, so nothing would fit; nor can it be asked.
pub(super) fn filter_text(
    parameters: &mut Parameters,
    name: &str,
) -> Result<Option<String>, Problem> {
    match parameters.take(name)? {
        Some(value) if value.contains('\0') => Err(invalid(name, "contains the character NUL")),
        value => Ok(value),
    }
}
