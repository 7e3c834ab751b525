use std::time::Duration;

use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{
    asker::{Asker, OwnerGiven},
    name::Name,
    rule::{self, RuleGiven},
    wish,
};
use crate::{
    domain::{CaptureOutcome, Captured, Error, Mutex, MutexId, MutexOwner, Wish},
    json::Hold,
    mutexes::Mutexes,
    server::{
        admission::Place,
        app::SharedApp,
        body::{self, Json},
        listener::Peer,
        openapi::ProblemDetails,
        parcel::Undelivered,
        principal::Principal,
        problem::Problem,
    },
};

/// A mutex to be captured.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Capture {
    mutex: Name,
    owner: Option<OwnerGiven>,
    /// Says that this request is the same one as an earlier: it gets the same hold. Also as the header
    /// `Idempotency-Key`. Without it, and without an owner's session, the server makes one up.
    request_id: Option<String>,
    /// `exclusive` (the default) or `shared`.
    access: Option<String>,
    /// How many may share it: a semaphore.
    permits: Option<u32>,
    /// Whether the paths above this one are locked with it (default: yes). Of trees only.
    lock_parents: Option<bool>,
    /// Whether the paths below this one are locked with it (default: yes). Of trees only.
    lock_children: Option<bool>,
    /// Seconds after which the hold is over unless it is refreshed. Default: 300.
    timeout_seconds: Option<u64>,
    /// Another rule than a timeout.
    auto_release: Option<RuleGiven>,
    /// Free text.
    status_data: Option<String>,
    /// Seconds to wait in line, at most 60. Default: not at all.
    wait_seconds: Option<f64>,
}

/// A mutex that was captured.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct CapturedNow {
    /// `captured`, `refreshed` (the owner had it already), or `evicted` (a hold that was over made way).
    outcome: &'static str,
    /// With it (and the owner's session, if there was one) the hold is refreshed and released.
    request_id: Option<String>,
    hold: Hold,
}

impl CapturedNow {
    pub(super) fn new(captured: &Captured, request_id: Option<String>) -> Self {
        Self {
            outcome: match &captured.outcome {
                CaptureOutcome::Captured => "captured",
                CaptureOutcome::Refreshed => "refreshed",
                CaptureOutcome::Evicted(_) => "evicted",
            },
            request_id,
            hold: Hold::from(&captured.mutex),
        }
    }
}

/// Captures a mutex, or refreshes the hold that its owner already has.
#[utoipa::path(post, path = "/v1/capture", tag = "v1", request_body = Capture,
    responses(
        (status = 200, description = "It is held now", body = CapturedNow),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "Someone else holds it, also after waiting", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn capture(
    State(app): State<SharedApp>,
    Extension(place): Extension<Place>,
    Extension(principal): Extension<Principal>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Json(wish): Json<Capture>,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(peer)| peer);
    let asker = Asker::of_capture(&principal, &headers, peer, wish.owner, wish.request_id)?;
    let mut mutex = wish.mutex.wish(&app)?;
    mutex.reach = wish::reach(&mutex, wish.lock_parents, wish.lock_children)?;
    mutex.access = wish::access(wish.access.as_deref(), wish.permits)?;
    let rule = rule::asked_for(&app.limits, wish.timeout_seconds, wish.auto_release)?;
    let wait = wish::wait(&app.limits, wish.wait_seconds)?;

    let undelivered = {
        let (app, id, owner) = (app.clone(), mutex.id.clone(), asker.owner.clone());
        let place = place.clone();
        move || {
            let give_back = give_back(app.mutexes.clone(), id, owner, place);
            Undelivered::new(&app.errands, give_back)
        }
    };
    let (mutexes, owner) = (app.mutexes.clone(), asker.owner.clone());
    let wanted = mutex.clone();
    let capture = async move {
        let mut capture = mutexes.capture(mutex).owner(owner);
        if let Some(rule) = rule {
            capture = capture.auto_release(rule);
        }
        if let Some(status_data) = wish.status_data {
            capture = capture.status_data(status_data);
        }
        if !wait.is_zero() {
            capture = capture.wait(wait);
        }
        capture.await
    };
    // Who has named the request can ask again, and gets the hold; it must then be there.
    let (captured, undelivered) = if asker.is_known_to_nobody && wait.is_zero() {
        let (captured, undelivered) = undelivered().capture(capture).await?;
        (captured, Some(undelivered))
    } else {
        if !wait.is_zero() {
            place.wait_instead(&app)?;
        }
        // Before it waits: what it may have captured without learning it is given back, too.
        let undelivered = asker.is_known_to_nobody.then(undelivered);
        let mut answer = app.unless_stopping(capture).await?;
        if let Err(Error::Timeout { holder, .. }) = &mut answer
            && holder.is_none()
        {
            *holder = in_the_way(&app, wanted, &asker.owner).await;
        }
        match undelivered {
            Some(undelivered) => {
                let (captured, undelivered) = undelivered.outcome(answer)?;
                (captured, Some(undelivered))
            }
            None => (answer?, None),
        }
    };
    let text = body::written(&CapturedNow::new(&captured, asker.request_id))?;
    Ok(body::json(match undelivered {
        Some(undelivered) => undelivered.told_in(text),
        None => text.into(),
    }))
}

/// How long it may take to find out who was in the way, when the time is up: the database may be busy.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// Whoever is in this owner's way, where the time was up before that was known.
async fn in_the_way(app: &SharedApp, wanted: Wish, owner: &MutexOwner) -> Option<Box<Mutex>> {
    let look = timeout(AFTERWARDS, app.mutexes.holder_in_the_way(wanted, owner));
    // That the time is up is true whatever comes of it. And somebody in line has no token: it would be
    // taken for a hold.
    let holder = app.unless_stopping(look).await.ok()?.ok()?.ok()??;
    (holder.fencing_token.get() != 0).then(|| Box::new(holder))
}

/// Releases what nobody knows how to release. Until then it counts as at work, also if its client is
/// gone: clients that come and go cannot pile up more than is allowed.
async fn give_back(mutexes: Mutexes, id: MutexId, owner: MutexOwner, _place: Place) {
    match mutexes.release(&id).owner(owner).await {
        // It had not been captured after all.
        Ok(_) | Err(Error::Busy { .. }) => {}
        Err(error) => {
            tracing::warn!(%error, mutex = ?id, "a hold whose client is gone could not be released");
        }
    }
}
