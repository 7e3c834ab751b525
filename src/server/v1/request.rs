use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer, name::Name};
use crate::{
    domain::{MutexOwner, MutexQuery},
    json::Hold,
    server::{
        app::SharedApp, openapi::ProblemDetails, parameters::Parameters, problem::Problem,
        secret::Secret,
    },
};

/// How a mutex stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Standing {
    /// `free` or `captured`.
    state: &'static str,
    /// Its holds: one, or those that share it; not more than the server's page.
    holds: Vec<Hold>,
    /// The hold that an exclusive capture would be refused for; at a path of a tree perhaps one of a
    /// path above or below. With token 0, somebody who waits for it and came before.
    in_the_way: Option<Hold>,
}

/// Says how a mutex stands.
#[utoipa::path(get, path = "/v1/request", tag = "v1",
    params(
        ("group" = Option<String>, Query, description = "The mutex's group"),
        ("mode" = Option<String>, Query, description = "Its mode"),
        ("id" = Option<String>, Query, description = "Its id"),
        ("tree" = Option<String>, Query, description = "Instead: a tree"),
        ("path" = Option<String>, Query, description = "A path in it, as `/rack1/board3`, with `/` and `%` inside a segment as `%2F` and `%25`")),
    responses(
        (status = 200, description = "How it stands", body = Standing),
        (status = 400, description = "It cannot be read", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn request(
    State(app): State<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(&query.unwrap_or_default())?;
    let name = Name::of_query(&mut parameters)?;
    parameters.done()?;
    let wish = name.wish(&app)?;
    let id = &wish.id;
    // A request of the library removes what is over; a list does not, and leaves it out.
    let query = MutexQuery::all()
        .group(id.group())
        .mode(id.mode())
        .mutex_id(id.id())
        .page_size(app.limits.page);
    let page = app.mutexes.list(&query).await?;
    let somebody = MutexOwner::new(Secret::random().reveal())?;
    let in_the_way = app.mutexes.holder_in_the_way(wish, &somebody).await?;
    answer(&Standing {
        state: match page.mutexes.is_empty() {
            true => "free",
            false => "captured",
        },
        holds: page.mutexes.iter().map(Hold::from).collect(),
        in_the_way: in_the_way.as_ref().map(Hold::from),
    })
}
