use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{super::answer, pool, seconds, session::Session};
use crate::{
    domain::SessionFilter,
    server::{
        app::SharedApp, body::Json, openapi::ProblemDetails, principal::Principal,
        problem::Problem, v1::asker::Asker,
    },
};

/// A session to be taken without a lease.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct GetSession {
    /// The pool.
    collection: String,
    /// Says that this request is the same one as an earlier: it gets the same session, until that is
    /// taken again. Also as the header `Idempotency-Key`.
    request_id: Option<String>,
    /// As how many uses it counts. Default: 1.
    count_use: Option<u64>,
    /// Seconds for which nobody else gets it. Default: 3.
    next_use_delay_seconds: Option<f64>,
    /// Conditions that must all hold, such as `{"path": "country", "test": "equal", "value": "DE"}`.
    #[schema(value_type = Option<Vec<Object>>)]
    filter: Option<SessionFilter>,
}

/// Takes the session that comes next. Nobody leases it: it is locked for a few seconds.
#[utoipa::path(post, path = "/v1/pools/get-session", tag = "pools", request_body = GetSession,
    responses(
        (status = 200, description = "The session", body = Session),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "None can be taken now", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn get_session(
    State(app): State<SharedApp>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    Json(wish): Json<GetSession>,
) -> Result<Response, Problem> {
    let asker = Asker::of_capture(&principal, &headers, None, None, wish.request_id)?;
    let pool = pool(&app, wish.collection);
    // Of this client only, and not that of a lease.
    let request_id = format!("get-{}", asker.owner.session_id());
    let mut get_session = pool.get_session().request_id(request_id);
    if let Some(count_use) = wish.count_use {
        get_session = get_session.count_use(count_use);
    }
    if let Some(delay) = seconds(wish.next_use_delay_seconds) {
        get_session = get_session.next_use_delay(delay);
    }
    if let Some(filter) = wish.filter {
        get_session = get_session.filter(filter);
    }
    answer(&Session::from(get_session.await?))
}
