use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{answer, asker::Asker, name::Name};
use crate::{
    domain::FencingToken,
    json::Hold,
    server::{
        app::SharedApp, body::Json, openapi::ProblemDetails, principal::Principal, problem::Problem,
    },
};

/// A hold to be refreshed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Refresh {
    mutex: Name,
    /// The owner's session, as it was sent with the capture.
    owner_session: Option<String>,
    /// As it was sent with the capture, or in its answer. Also as the header `Idempotency-Key`.
    request_id: Option<String>,
    /// Only the hold with this token.
    fencing_token: Option<i64>,
    /// A new text; without it, the hold keeps the one it has.
    status_data: Option<String>,
}

/// Makes the time of a hold start again. It never captures.
#[utoipa::path(post, path = "/v1/refresh", tag = "v1", request_body = Refresh,
    responses(
        (status = 200, description = "The hold, as it is now", body = Hold),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "Someone else holds it by now", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 410, description = "The hold is gone", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn refresh(
    State(app): State<SharedApp>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    Json(wish): Json<Refresh>,
) -> Result<Response, Problem> {
    let owner = Asker::of_hold(&principal, &headers, wish.owner_session, wish.request_id)?;
    let mutex = wish.mutex.wish(&app)?;
    let mut refresh = app.mutexes.refresh(&mutex.id).owner(owner);
    if let Some(token) = wish.fencing_token {
        refresh = refresh.token(FencingToken::new(token));
    }
    if let Some(status_data) = wish.status_data {
        refresh = refresh.status_data(status_data);
    }
    answer(&Hold::from(&refresh.await?))
}
