use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Given, answer,
        asker::{Asker, OwnerGiven},
        capture::CapturedNow,
        rule::{self, RuleGiven},
        wish,
    },
    pool, seconds,
    session::Session,
};
use crate::{
    domain::{FencingToken, Mutex, MutexOwner, MutexQuery, Released, SessionFilter},
    json::Hold,
    mutexes::Mutexes,
    pool::{LEASES, LeaseRequest},
    server::{
        admission::Place,
        app::{App, SharedApp},
        body::{self, Json},
        listener::Peer,
        openapi::ProblemDetails,
        parameters::invalid,
        parcel::Undelivered,
        principal::Principal,
        problem::{LOST, Problem},
    },
};

/// A session to be leased.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Checkout {
    /// The pool.
    collection: String,
    owner: Option<OwnerGiven>,
    /// Says that this request is the same one as an earlier: it gets the same session, as long as its
    /// lease lasts. Also as the header `Idempotency-Key`. Without it, and without an owner's
    /// session, the server makes one up.
    request_id: Option<String>,
    /// Seconds after which the lease is over unless it is refreshed. Default: 300.
    timeout_seconds: Option<u64>,
    /// Another rule than a timeout.
    auto_release: Option<RuleGiven>,
    /// Free text.
    status_data: Option<String>,
    /// As how many uses it counts. Default: 1.
    count_use: Option<u64>,
    /// Seconds for which nobody else gets it, from now on, though it may be given back earlier. Default: 3.
    next_use_delay_seconds: Option<f64>,
    /// Conditions that must all hold, such as `{"path": "country", "test": "equal", "value": "DE"}`.
    #[schema(value_type = Option<Vec<Object>>)]
    filter: Option<SessionFilter>,
    /// Seconds to wait in line, at most 60. Default: not at all.
    wait_seconds: Option<f64>,
}

/// A session that was leased.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct CheckedOut {
    #[serde(flatten)]
    captured: CapturedNow,
    session: Session,
}

/// Whose lease of which pool.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct LeaseGiven {
    /// The pool.
    collection: String,
    /// The owner's session, as it was sent with the checkout.
    owner_session: Option<String>,
    /// As it was sent with the checkout, or in its answer. Also as the header `Idempotency-Key`.
    request_id: Option<String>,
    /// Only the lease with this token.
    fencing_token: Option<i64>,
}

/// Leases the session that comes next: nobody else gets it until it is given back, or until its
/// time is up. `hold` is a hold like any other.
#[utoipa::path(post, path = "/v1/pools/checkout", tag = "pools", request_body = Checkout,
    responses(
        (status = 200, description = "It is leased now", body = CheckedOut),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "None can be taken now, also after waiting", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn checkout(
    State(app): State<SharedApp>,
    Extension(place): Extension<Place>,
    Extension(principal): Extension<Principal>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Json(wish): Json<Checkout>,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(peer)| peer);
    let asker = Asker::of_capture(&principal, &headers, peer, wish.owner, wish.request_id)?;
    let wait = wish::wait(&app.limits, wish.wait_seconds)?;
    let request = LeaseRequest {
        owner: asker.owner.clone(),
        is_known_to_nobody: asker.is_known_to_nobody,
        auto_release: rule::asked_for(&app.limits, wish.timeout_seconds, wish.auto_release)?,
        status_data: wish.status_data,
        count_use: wish.count_use.unwrap_or(1),
        next_use_delay: seconds(wish.next_use_delay_seconds),
        filter: wish.filter.unwrap_or_default(),
        wait,
    };
    if !wait.is_zero() {
        place.wait_instead(&app)?;
    }
    let pool = pool(&app, wish.collection);
    let (captured, session) = app.unless_stopping(pool.lease(request)).await??;
    let undelivered = asker.is_known_to_nobody.then(|| {
        Undelivered::new(
            &app.errands,
            give_everything_back(app.mutexes.clone(), asker.owner),
        )
    });
    let text = body::written(&CheckedOut {
        captured: CapturedNow::new(&captured, asker.request_id),
        session: session.into(),
    })?;
    Ok(body::json(match undelivered {
        Some(undelivered) => undelivered.told_in(text),
        None => text.into(),
    }))
}

/// Makes the time of a lease start again.
#[utoipa::path(post, path = "/v1/pools/refresh", tag = "pools", request_body = LeaseGiven,
    responses(
        (status = 200, description = "The hold, as it is now", body = Hold),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 410, description = "The lease is gone", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn refresh(
    State(app): State<SharedApp>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    Json(lease): Json<LeaseGiven>,
) -> Result<Response, Problem> {
    let Some((hold, owner)) = find(&app, &principal, &headers, lease).await? else {
        let detail = "there is no such lease (any more); check out again before you go on";
        return Err(Problem::new(LOST, detail));
    };
    let refresh = app.mutexes.refresh(&hold.id).owner(owner);
    let refreshed = refresh.token(hold.fencing_token).await?;
    answer(&Hold::from(&refreshed))
}

/// Gives a session back before its time is up.
#[utoipa::path(post, path = "/v1/pools/give-back", tag = "pools", request_body = LeaseGiven,
    responses(
        (status = 200, description = "It is not leased by this owner any more", body = Given),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "The holder is writing behind its fence", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn give_back(
    State(app): State<SharedApp>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    Json(lease): Json<LeaseGiven>,
) -> Result<Response, Problem> {
    let Some((hold, owner)) = find(&app, &principal, &headers, lease).await? else {
        return answer(&Given::NOT_HELD);
    };
    let release = app.mutexes.release(&hold.id).owner(owner);
    match release.token(hold.fencing_token).await? {
        Released::Released(hold) => answer(&Given::back(&hold)),
        Released::NotHeld => answer(&Given::NOT_HELD),
    }
}

/// The one lease that an owner has of a pool.
async fn find(
    app: &App,
    principal: &Principal,
    headers: &HeaderMap,
    lease: LeaseGiven,
) -> Result<Option<(Mutex, MutexOwner)>, Problem> {
    let owner = Asker::of_hold(principal, headers, lease.owner_session, lease.request_id)?;
    if lease.collection.contains('\0') {
        let reason = "contains the character NUL";
        return Err(invalid("collection", reason));
    }
    let token = lease.fencing_token.map(FencingToken::new);
    let query = MutexQuery::all().group(LEASES).mode(lease.collection);
    let query = query.session_id(owner.session_id()).page_size(1);
    let page = app.mutexes.list(&query).await?;
    let hold = page.mutexes.into_iter().next();
    let hold = hold.filter(|hold| token.is_none_or(|token| hold.fencing_token == token));
    Ok(hold.map(|hold| (hold, owner)))
}

/// Of an owner that was made up for one checkout.
async fn give_everything_back(mutexes: Mutexes, owner: MutexOwner) {
    if let Err(error) = mutexes.release_owner(&owner).await {
        tracing::warn!(%error, "a lease whose client is gone could not be given back");
    }
}
