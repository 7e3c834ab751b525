use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    answer,
    asker::{Asker, OwnerGiven},
    capture::CapturedNow,
    name::Name,
    rule::{self, RuleGiven},
    wish,
};
use crate::server::{
    admission::Place, app::SharedApp, body::Json, listener::Peer, openapi::ProblemDetails,
    parameters::invalid, principal::Principal, problem::Problem,
};

/// One of several mutexes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct One {
    mutex: Name,
    /// `exclusive` (the default) or `shared`.
    access: Option<String>,
    /// How many may share it: a semaphore.
    permits: Option<u32>,
    /// Whether the paths above this one are locked with it (default: yes). Of trees only.
    lock_parents: Option<bool>,
    /// Whether the paths below this one are locked with it (default: yes). Of trees only.
    lock_children: Option<bool>,
}

/// Mutexes to be captured together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct CaptureAll {
    /// At most 100, in any order.
    mutexes: Vec<One>,
    owner: Option<OwnerGiven>,
    /// As for `/v1/capture`; here it must be said, or else the owner's session.
    request_id: Option<String>,
    /// As for `/v1/capture`.
    timeout_seconds: Option<u64>,
    /// As for `/v1/capture`.
    auto_release: Option<RuleGiven>,
    /// Free text.
    status_data: Option<String>,
    /// Seconds to wait in all lines, at most 60. Default: not at all.
    wait_seconds: Option<f64>,
}

/// Mutexes that were captured.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct AllCaptured {
    /// In the order in which they were named.
    captured: Vec<CapturedNow>,
}

/// Captures several mutexes for one owner, all or none.
#[utoipa::path(post, path = "/v1/capture-all", tag = "v1", request_body = CaptureAll,
    responses(
        (status = 200, description = "All are held now", body = AllCaptured),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "Someone else holds one of them, and none was captured", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn capture_all(
    State(app): State<SharedApp>,
    Extension(place): Extension<Place>,
    Extension(principal): Extension<Principal>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Json(wish): Json<CaptureAll>,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(peer)| peer);
    let asker = Asker::of_capture(&principal, &headers, peer, wish.owner, wish.request_id)?;
    if asker.is_known_to_nobody {
        let reason = "is missing: with it the request can be repeated, and its holds be released";
        return Err(invalid("request_id", reason));
    }
    let most = app.limits.batch;
    if wish.mutexes.is_empty() || wish.mutexes.len() > most {
        return Err(invalid("mutexes", format!("are from 1 to {most}")));
    }
    let mut wishes = Vec::new();
    for one in wish.mutexes {
        let mut wish = one.mutex.wish(&app)?;
        wish.reach = wish::reach(&wish, one.lock_parents, one.lock_children)?;
        wish.access = wish::access(one.access.as_deref(), one.permits)?;
        wishes.push(wish);
    }
    let rule = rule::asked_for(&app.limits, wish.timeout_seconds, wish.auto_release)?;
    let wait = wish::wait(&app.limits, wish.wait_seconds)?;

    let mut capture = app.mutexes.capture_all(wishes).owner(asker.owner);
    if let Some(rule) = rule {
        capture = capture.auto_release(rule);
    }
    if let Some(status_data) = wish.status_data {
        capture = capture.status_data(status_data);
    }
    if !wait.is_zero() {
        place.wait_instead(&app)?;
        capture = capture.wait(wait);
    }
    let captured = app.unless_stopping(capture.into_future()).await??;
    let request_id = asker.request_id;
    let captured = captured
        .iter()
        .map(|captured| CapturedNow::new(captured, request_id.clone()));
    answer(&AllCaptured {
        captured: captured.collect(),
    })
}
