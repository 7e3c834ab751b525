//! What every answer has, whatever it says.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use super::{problem::Problem, secret::Secret};

/// Every request has a number, which is in its answer, in what a problem says of itself and in the
/// log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Nothing but the server's own page runs in a browser, from this origin alone, and in no frame.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

pub(super) async fn finish(request: Request, next: Next) -> Response {
    let id = Secret::random();
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    // Neither the path nor the query: they name what is locked, and hold Locker's tokens.
    let span = tracing::info_span!("request", id = id.reveal(), %method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let kept = std::mem::take(response.headers_mut());
        response = problem.written(id.reveal());
        for (name, value) in &kept {
            if name == header::ALLOW {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    add_headers(response.headers_mut(), id.reveal());
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(status, took = ?began.elapsed(), "answered"));
    let method = match method.as_str() {
        known @ ("GET" | "POST" | "HEAD") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let labels = [
        ("route", route.to_owned()),
        ("method", method),
        ("status", status.to_string()),
    ];
    metrics::counter!("pgmutex_http_requests_total", &labels).increment(1);
    metrics::histogram!("pgmutex_http_request_seconds", "route" => route.to_owned())
        .record(began.elapsed());
    response
}

fn add_headers(headers: &mut HeaderMap, id: &str) {
    for (name, value) in HEADERS {
        // What a handler says for itself counts.
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}
