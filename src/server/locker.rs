//! Locker's three calls, in its words: `canhaz` captures a path, `nowant` releases it, `dohaz` looks.

use std::time::Duration;

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    admission::Place,
    app::SharedApp,
    body,
    listener::Peer,
    parameters::{Parameters, invalid, percent_decoded},
    parcel::Undelivered,
    principal::Principal,
    problem::{MALFORMED, Problem},
    seconds::Seconds,
    secret::{self, Secret},
};
use crate::{
    domain::{AutoRelease, Error, Mutex, MutexOwner, Released, Result},
    mutexes::TreePath,
};

/// The path is locked: here is what unlocks it.
#[derive(Serialize, ToSchema)]
pub(super) struct Locked<'a> {
    ok: bool,
    /// What `nowant` needs.
    token: &'a str,
}

/// The path is not locked: someone is in the way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    ok: bool,
    /// The `id` of the one in the way; `?` if it gave none.
    #[serde(rename = "lockedBy")]
    locked_by: String,
}

/// Whether the path was unlocked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Unlocked {
    ok: bool,
}

/// Who is in the way of a lock.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LockedBy {
    /// Its `id`; `?` if it gave none; null if nobody is.
    #[serde(rename = "lockedBy")]
    locked_by: Option<String>,
}

/// What the first line and the body of a call say, without the path.
struct Call {
    path: TreePath,
    parameters: Parameters,
}

impl Call {
    async fn read(app: &SharedApp, request: Request) -> Result<Self, Problem> {
        let segments = segments(request.uri().path())?;
        let query = Parameters::parse(request.uri().query().unwrap_or_default())?;
        let parameters = match *request.method() {
            axum::http::Method::POST => query.and(body::form(app, request).await?),
            _ => query,
        };
        let path = app.mutexes.tree(app.tree.as_str()).path(&segments)?;
        Ok(Self { path, parameters })
    }

    /// Whether a flag is on: only three texts switch it off.
    fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        let value = self.parameters.take(name)?;
        Ok(!matches!(value.as_deref(), Some("False" | "false" | "0")))
    }
}

/// The segments behind the call's own name. Empty ones do not count: `/canhaz//a/` is about `a`.
fn segments(path: &str) -> Result<Vec<String>, Problem> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    // The router has found the call by it.
    let _call = segments.next();
    segments
        .map(|segment| {
            let segment = percent_decoded(segment)?;
            match segment.contains('\0') {
                true => Err(Problem::new(
                    MALFORMED,
                    "the path contains the character NUL",
                )),
                false => Ok(segment),
            }
        })
        .collect()
}

/// Whoever has the token is the owner; the token itself is kept nowhere.
fn owner_of(token: &str) -> Result<MutexOwner> {
    MutexOwner::new(format!("locker-{}", secret::hex(&secret::hash(&[token]))))
}

/// Whoever would be in the way of somebody new.
async fn in_the_way(app: &SharedApp, path: &TreePath) -> Result<Option<Mutex>> {
    let somebody = owner_of(Secret::random().reveal())?;
    app.mutexes.holder_in_the_way(path, &somebody).await
}

fn name_or_question_mark(name: &str) -> String {
    match name {
        "" => "?".to_owned(),
        name => name.to_owned(),
    }
}

/// Locks the path, if it is free: `token` unlocks it.
///
/// A path is not free if it is locked itself, or a path above it that locks its children, or one
/// below it that locks its parents. Parameters may also stand in a form, by POST.
#[utoipa::path(method(get, post), path = "/canhaz/{path}", tag = "locker",
    params(
        ("path" = String, Path, description = "Segments of any characters; a percent-encoded slash is part of a segment"),
        ("id" = Option<String>, Query, description = "Who asks, for others to see"),
        ("lockParents" = Option<String>, Query, description = "`False`, `false` or `0`: the paths above stay free"),
        ("lockChildren" = Option<String>, Query, description = "`False`, `false` or `0`: the paths below stay free"),
        ("ttl" = Option<u64>, Query, description = "Seconds after which the lock ends by itself; without it, never"),
        ("wait" = Option<f64>, Query, description = "Seconds to wait in line, at most 60; without it, not at all")),
    responses(
        (status = 200, description = "Locked, or someone is in the way", body = inline(CanHaz)),
        (status = 400, description = "It cannot be read", body = super::openapi::ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = super::openapi::ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn canhaz(
    State(app): State<SharedApp>,
    Extension(place): Extension<Place>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().copied();
    let mut call = Call::read(&app, request).await?;
    let id = call.parameters.take("id")?.unwrap_or_default();
    let (lock_parents, lock_children) = (call.flag("lockParents")?, call.flag("lockChildren")?);
    let ttl: Option<u64> = call.parameters.take_as("ttl")?;
    let wait: Option<Seconds> = call.parameters.take_as("wait")?;
    let rule = match ttl.map(Duration::from_secs) {
        None => AutoRelease::Never,
        Some(ttl) if ttl.is_zero() || ttl > app.limits.ttl => {
            let most = app.limits.ttl.as_secs();
            return Err(invalid(
                "ttl",
                format!("must be whole seconds from 1 to {most}"),
            ));
        }
        Some(ttl) => AutoRelease::Timeout(ttl),
    };
    let token = Secret::random();
    let mut owner = owner_of(token.reveal())?.with_name(id)?;
    owner = owner.with_login(principal.name())?;
    if let Some(Peer(peer)) = peer {
        owner = owner.with_host(peer.ip().to_string())?;
    }

    let path = call
        .path
        .lock_parents(lock_parents)
        .lock_children(lock_children);
    let undelivered = {
        let (app, path, owner) = (app.clone(), path.clone(), owner.clone());
        let place = place.clone();
        move || Undelivered::new(&app.errands, give_back(path, owner, place))
    };
    let wait = wait.map_or(Duration::ZERO, |Seconds(wait)| wait.min(app.limits.wait));
    let captured = if wait.is_zero() {
        let path = path.clone();
        let capture = async move { path.capture().owner(owner).auto_release(rule).await };
        undelivered().capture(capture).await
    } else {
        place.wait_instead(&app)?;
        let capture = path.capture().owner(owner).auto_release(rule).wait(wait);
        // Before it waits: what it may have captured without learning it is given back, too.
        let undelivered = undelivered();
        // Dropped, it leaves the line, and gives back what it has just won.
        let answer = app.unless_stopping(capture.into_future()).await?;
        undelivered.outcome(answer)
    };
    match captured {
        Ok((_, undelivered)) => {
            let token = token.reveal();
            let answer = body::written(&Locked { ok: true, token })?;
            Ok(body::json(undelivered.told_in(answer)))
        }
        Err(
            Error::Busy { holder, .. }
            | Error::Timeout {
                holder: Some(holder),
                ..
            },
        ) => {
            let locked_by = name_or_question_mark(holder.owner.name());
            refused(locked_by)
        }
        Err(Error::Timeout { holder: None, .. }) => {
            let holder = in_the_way(&app, &path).await?;
            let name = holder.as_ref().map_or("", |holder| holder.owner.name());
            refused(name_or_question_mark(name))
        }
        Err(error) => Err(error.into()),
    }
}

/// Locks the root, which is the parent of every path.
#[utoipa::path(method(get, post), path = "/canhaz", tag = "locker",
    responses((status = 200, description = "As for a path", body = inline(CanHaz))))]
#[expect(dead_code, reason = "it only describes")]
pub(super) fn canhaz_root() {}

/// What `canhaz` answers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it only describes")]
pub(super) enum CanHaz<'a> {
    Locked(Locked<'a>),
    Refused(Refused),
}

/// Unlocks the path, if it is locked and the token is the one that unlocks it.
#[utoipa::path(method(get, post), path = "/nowant/{path}", tag = "locker",
    params(
        ("path" = String, Path, description = "As it was locked"),
        ("token" = Option<String>, Query, description = "What `canhaz` gave; in a form, by POST, it stays out of the logs of proxies")),
    responses(
        (status = 200, description = "Whether it was unlocked", body = Unlocked),
        (status = 400, description = "It cannot be read", body = super::openapi::ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = super::openapi::ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn nowant(
    State(app): State<SharedApp>,
    request: Request,
) -> Result<Response, Problem> {
    let mut call = Call::read(&app, request).await?;
    let Some(token) = call.parameters.take("token")? else {
        return answer(&Unlocked { ok: false });
    };
    let owner = owner_of(&token)?;
    match call.path.release().owner(owner.clone()).await {
        Ok(Released::Released(_)) => answer(&Unlocked { ok: true }),
        Ok(Released::NotHeld) => answer(&Unlocked { ok: false }),
        // Someone else's.
        Err(Error::Busy { holder, .. }) if !holder.check_owner(&owner) => {
            answer(&Unlocked { ok: false })
        }
        Err(error) => Err(error.into()),
    }
}

/// Unlocks the root.
#[utoipa::path(method(get, post), path = "/nowant", tag = "locker",
    responses((status = 200, description = "As for a path", body = Unlocked)))]
#[expect(dead_code, reason = "it only describes")]
pub(super) fn nowant_root() {}

/// Says who is in the way of a lock on the path.
#[utoipa::path(method(get, post), path = "/dohaz/{path}", tag = "locker",
    params(("path" = String, Path, description = "As for `canhaz`")),
    responses(
        (status = 200, description = "Who, if anyone", body = LockedBy),
        (status = 400, description = "It cannot be read", body = super::openapi::ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = super::openapi::ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn dohaz(
    State(app): State<SharedApp>,
    request: Request,
) -> Result<Response, Problem> {
    let call = Call::read(&app, request).await?;
    let holder = in_the_way(&app, &call.path).await?;
    let locked_by = holder.map(|holder| name_or_question_mark(holder.owner.name()));
    answer(&LockedBy { locked_by })
}

/// Says who is in the way of a lock on the root.
#[utoipa::path(method(get, post), path = "/dohaz", tag = "locker",
    responses((status = 200, description = "As for a path", body = LockedBy)))]
#[expect(dead_code, reason = "it only describes")]
pub(super) fn dohaz_root() {}

/// Releases what nobody knows how to release. Until then it counts as at work, also if its client is
/// gone: clients that come and go cannot pile up more than is allowed.
async fn give_back(path: TreePath, owner: MutexOwner, _place: Place) {
    // A call whose outcome is unknown has been repeated already, for as long as the settings say.
    match path.release().owner(owner).await {
        // It had not been captured after all.
        Ok(_) | Err(Error::Busy { .. }) => {}
        Err(error) => {
            tracing::warn!(%error, mutex = ?path.id(), "a lock whose client is gone could not be released");
        }
    }
}

fn refused(locked_by: String) -> Result<Response, Problem> {
    answer(&Refused {
        ok: false,
        locked_by,
    })
}

fn answer(answer: &impl Serialize) -> Result<Response, Problem> {
    Ok(body::json(body::written(answer)?))
}
