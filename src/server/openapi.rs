//! The description of all routes, made from the types that they use.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{health, locker};

/// What went wrong, as RFC 9457 says. Problems of some types have more members: `holder` (a hold),
/// `observed_at`, `waited_seconds`, `field`, `parameters`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemDetails {
    /// `urn:pgmutex:problem:` and its kind.
    #[serde(rename = "type")]
    #[schema(example = "urn:pgmutex:problem:busy")]
    kind: String,
    /// The kind, for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What went wrong this time, for people.
    detail: String,
    /// The number of the request, as in the header `X-Request-Id` and in the server's log.
    instance: String,
}

/// The description that `/openapi.json` gives.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "pgmutex",
        description = "Locks as rows in PostgreSQL: mutexes, read/write locks, semaphores and trees of resources.",
    ),
    paths(
        health::healthz, health::readyz, health::metrics, openapi,
        locker::canhaz, locker::canhaz_root, locker::nowant, locker::nowant_root, locker::dohaz, locker::dohaz_root,
    ),
    components(schemas(ProblemDetails)),
    modifiers(&Bearer),
    security(("bearer" = [])),
)]
pub(super) struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn openapi() -> Response {
    let kind = HeaderValue::from_static("application/json");
    match Description::openapi().to_json() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the description cannot be written");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
