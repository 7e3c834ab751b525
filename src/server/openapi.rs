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

use super::{health, locker, page, v1};

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
        v1::capture::capture, v1::capture_all::capture_all, v1::refresh::refresh, v1::release::release,
        v1::request::request, v1::list::list, v1::waiters::waiters, v1::force_release::force_release,
        v1::pools::take::get_session, v1::pools::lease::checkout, v1::pools::lease::refresh, v1::pools::lease::give_back,
        v1::pools::change::success, v1::pools::change::lock, v1::pools::change::block, v1::pools::change::inactive,
        v1::pools::change::activate, v1::pools::change::add, v1::pools::change::update, v1::pools::change::delete,
        v1::pools::look::statistics, v1::pools::look::sessions,
        page::events,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{
        mutexes::Mutexes,
        server::{Server, routes::Routes},
        session::SessionBackend,
    };

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = serde_json::to_value(Description::openapi()).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mutexes = Mutexes::builder().backend(SessionBackend::new());
        let routes = Routes::all(&Server::new(mutexes).app());
        let routed = routes.listed().iter();
        let routed: BTreeSet<String> = routed
            .map(|(method, path)| format!("{method} {path}"))
            .collect();
        assert_eq!(described, routed);
    }
}
