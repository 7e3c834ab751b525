use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Given, answer, asker::Asker, name::Name};
use crate::{
    domain::{FencingToken, Released},
    server::{
        app::SharedApp, body::Json, openapi::ProblemDetails, principal::Principal, problem::Problem,
    },
};

/// A hold to be given back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Release {
    mutex: Name,
    /// The owner's session, as it was sent with the capture.
    owner_session: Option<String>,
    /// As it was sent with the capture, or in its answer. Also as the header `Idempotency-Key`.
    request_id: Option<String>,
    /// Only the hold with this token.
    fencing_token: Option<i64>,
}

/// Gives a mutex back.
#[utoipa::path(post, path = "/v1/release", tag = "v1", request_body = Release,
    responses(
        (status = 200, description = "It is not held by this owner any more", body = Given),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "Someone else holds it", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn release(
    State(app): State<SharedApp>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    Json(wish): Json<Release>,
) -> Result<Response, Problem> {
    let owner = Asker::of_hold(&principal, &headers, wish.owner_session, wish.request_id)?;
    let mutex = wish.mutex.wish(&app)?;
    let mut release = app.mutexes.release(&mutex.id).owner(owner);
    if let Some(token) = wish.fencing_token {
        release = release.token(FencingToken::new(token));
    }
    match release.await? {
        Released::Released(hold) => answer(&Given::back(&hold)),
        Released::NotHeld => answer(&Given::NOT_HELD),
    }
}
