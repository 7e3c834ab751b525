//! Whether the server lives, and whether it can be of use.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    app::SharedApp,
    gauges,
    problem::{NOT_FOUND, NOT_READY, Problem, STOPPING},
};
use crate::domain::Error;

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "The process answers", body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers, and its schema is the one that this server needs.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()),
    responses(
        (status = 200, description = "Requests can be served", body = String, content_type = "text/plain"),
        (status = 503, description = "Not now", body = super::openapi::ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn readyz(State(app): State<SharedApp>) -> Result<&'static str, Problem> {
    if *app.stopping.borrow() {
        return Err(Problem::new(STOPPING, "no new requests, please").retry_after(1));
    }
    match app.mutexes.verify().await {
        Ok(()) => Ok("ok\n"),
        Err(error @ (Error::Unavailable { .. } | Error::NotMigrated { .. })) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "not ready");
            let detail = "the database is not as this server needs it; its log says why";
            Err(Problem::new(NOT_READY, detail).retry_after(30))
        }
    }
}

/// Counters and histograms for Prometheus, and how the locks in the database stand.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses(
        (status = 200, description = "Prometheus's text format", body = String, content_type = "text/plain"),
        (status = 404, description = "They are not collected by this server", body = super::openapi::ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn metrics(State(app): State<SharedApp>) -> Response {
    match &app.metrics {
        Some(collected) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            let database = gauges::of_database(&app.mutexes).await;
            let text = collected.render() + &database;
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        None => {
            let detail = "the program that this server is a part of collects them in its own way";
            Problem::new(NOT_FOUND, detail).into_response()
        }
    }
}
