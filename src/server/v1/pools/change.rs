use axum::{extract::State, response::Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{super::answer, not_repeatable, pool, seconds, session::Session};
use crate::{
    domain::FencingToken,
    pool::SessionUpdate,
    server::{app::SharedApp, body::Json, openapi::ProblemDetails, problem::Problem},
};

/// Which session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct SessionGiven {
    /// The pool.
    collection: String,
    /// The session's number.
    id: i64,
}

/// A session that did what it was taken for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Success {
    /// The pool.
    collection: String,
    /// The session's number.
    id: i64,
    /// How many successes. Default: 1.
    count_success: Option<u64>,
    /// Seconds from now on for which nobody gets it. Default: as it was.
    next_use_delay_seconds: Option<f64>,
    /// Only under the lease with this token.
    fencing_token: Option<i64>,
}

/// A session that is not to be used for a while.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct NotFor {
    /// The pool.
    collection: String,
    /// The session's number.
    id: i64,
    /// For how long, in seconds. Default: ten minutes to lock, a day to block.
    period_seconds: Option<f64>,
    /// Only under the lease with this token.
    fencing_token: Option<i64>,
}

/// A session to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Add {
    /// The pool.
    collection: String,
    /// What workers need of it.
    #[schema(value_type = Object)]
    payload: Value,
}

/// Changes of a payload, by dotted paths: everything beside them stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Update {
    /// The pool.
    collection: String,
    /// The session's number.
    id: i64,
    /// The values at these paths, such as `{"session.phone": "1"}`.
    #[serde(default)]
    #[schema(value_type = Object)]
    set: Map<String, Value>,
    /// There are no values at these paths any more.
    #[serde(default)]
    unset: Vec<String>,
}

/// Counts successes. Asked twice, it counts twice.
#[utoipa::path(post, path = "/v1/pools/success", tag = "pools", request_body = Success,
    responses(
        (status = 200, description = "The session, as it is now", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session, or the lease is another", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn success(
    State(app): State<SharedApp>,
    Json(wish): Json<Success>,
) -> Result<Response, Problem> {
    let token = wish.fencing_token.map(FencingToken::new);
    let (count, delay) = (
        wish.count_success.unwrap_or(1),
        seconds(wish.next_use_delay_seconds),
    );
    let pool = pool(&app, wish.collection);
    let counted = pool.count_success(wish.id, count, delay, token).await;
    answer(&Session::from(counted.map_err(not_repeatable)?))
}

/// Keeps a session from being used for a while. A lease of it lasts on.
#[utoipa::path(post, path = "/v1/pools/lock", tag = "pools", request_body = NotFor,
    responses(
        (status = 200, description = "The session, as it is now", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session, or the lease is another", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn lock(
    State(app): State<SharedApp>,
    Json(wish): Json<NotFor>,
) -> Result<Response, Problem> {
    let token = wish.fencing_token.map(FencingToken::new);
    let pool = pool(&app, wish.collection);
    let period = seconds(wish.period_seconds).unwrap_or(pool.lock_time());
    answer(&Session::from(pool.lock_for(wish.id, period, token).await?))
}

/// Keeps a session from being used for long. A lease of it lasts on.
#[utoipa::path(post, path = "/v1/pools/block", tag = "pools", request_body = NotFor,
    responses(
        (status = 200, description = "The session, as it is now", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session, or the lease is another", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn block(
    State(app): State<SharedApp>,
    Json(wish): Json<NotFor>,
) -> Result<Response, Problem> {
    let token = wish.fencing_token.map(FencingToken::new);
    let pool = pool(&app, wish.collection);
    let period = seconds(wish.period_seconds).unwrap_or(pool.block_time());
    answer(&Session::from(
        pool.block_for(wish.id, period, token).await?,
    ))
}

/// Takes a session out of use, until somebody activates it.
#[utoipa::path(post, path = "/v1/pools/inactive", tag = "pools", request_body = SessionGiven,
    responses(
        (status = 200, description = "The session, as it is now", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn inactive(
    State(app): State<SharedApp>,
    Json(given): Json<SessionGiven>,
) -> Result<Response, Problem> {
    let pool = pool(&app, given.collection);
    answer(&Session::from(pool.session_inactive(given.id).await?))
}

/// Puts a session into use again.
#[utoipa::path(post, path = "/v1/pools/activate", tag = "pools", request_body = SessionGiven,
    responses(
        (status = 200, description = "The session, as it is now", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn activate(
    State(app): State<SharedApp>,
    Json(given): Json<SessionGiven>,
) -> Result<Response, Problem> {
    let pool = pool(&app, given.collection);
    answer(&Session::from(pool.session_activate(given.id).await?))
}

/// Adds a session, ready to be used. Asked twice, it adds two.
#[utoipa::path(post, path = "/v1/pools/add", tag = "pools", request_body = Add,
    responses(
        (status = 200, description = "The session", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn add(
    State(app): State<SharedApp>,
    Json(wish): Json<Add>,
) -> Result<Response, Problem> {
    let added = pool(&app, wish.collection).add(&wish.payload).await;
    answer(&Session::from(added.map_err(not_repeatable)?))
}

/// Changes a session's payload at some dotted paths.
#[utoipa::path(post, path = "/v1/pools/update", tag = "pools", request_body = Update,
    responses(
        (status = 200, description = "The session, as it is now", body = Session),
        (status = 400, description = "It cannot be read, or a path leads nowhere", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn update(
    State(app): State<SharedApp>,
    Json(wish): Json<Update>,
) -> Result<Response, Problem> {
    let set = wish.set.into_iter();
    let update = set.fold(SessionUpdate::new(), |update, (path, value)| {
        update.set(path, value)
    });
    let update = wish.unset.into_iter().fold(update, SessionUpdate::unset);
    let pool = pool(&app, wish.collection);
    answer(&Session::from(pool.session_update(wish.id, update).await?))
}

/// Removes a session, and gives it as it was. A lease of it lasts on.
#[utoipa::path(post, path = "/v1/pools/delete", tag = "pools", request_body = SessionGiven,
    responses(
        (status = 200, description = "The session, as it was", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn delete(
    State(app): State<SharedApp>,
    Json(given): Json<SessionGiven>,
) -> Result<Response, Problem> {
    let pool = pool(&app, given.collection);
    answer(&Session::from(pool.session_delete(given.id).await?))
}
