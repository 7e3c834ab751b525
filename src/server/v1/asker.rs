use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::MutexOwner,
    server::{
        listener::Peer,
        parameters::invalid,
        principal::Principal,
        problem::Problem,
        secret::{self, Secret},
    },
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest session and request id, in bytes.
const LONGEST: usize = 400;

/// Who asks, beside the token of the request.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerGiven {
    /// Whoever says the same session, with the same token and request id, is the same owner: what
    /// it captures again is refreshed. A secret between the client and the server.
    session: Option<String>,
    /// For people, as the others.
    user_id: Option<String>,
    name: Option<String>,
    /// Default: the address that the request comes from.
    host: Option<String>,
}

/// The owner of what is captured in a request, and of what is refreshed or released in later ones.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) owner: MutexOwner,
    pub(super) request_id: Option<String>,
    /// The server has made up the request id: until the answer arrives nobody knows it.
    pub(super) is_known_to_nobody: bool,
}

impl Asker {
    /// As the body and the headers say; if neither says anything, somebody new.
    pub(super) fn of_capture(
        principal: &Principal,
        headers: &HeaderMap,
        peer: Option<Peer>,
        owner: Option<OwnerGiven>,
        request_id: Option<String>,
    ) -> Result<Self, Problem> {
        let owner = owner.unwrap_or_default();
        let request_id = request_id_of(headers, request_id)?;
        let is_known_to_nobody = owner.session.is_none() && request_id.is_none();
        let request_id = match is_known_to_nobody {
            true => Some(Secret::random().reveal().to_owned()),
            false => request_id,
        };
        Ok(Self {
            owner: known(principal, peer, owner, request_id.as_deref())?,
            request_id,
            is_known_to_nobody,
        })
    }

    /// As the body and the headers say, one of which must.
    pub(super) fn of_hold(
        principal: &Principal,
        headers: &HeaderMap,
        session: Option<String>,
        request_id: Option<String>,
    ) -> Result<MutexOwner, Problem> {
        let request_id = request_id_of(headers, request_id)?;
        if session.is_none() && request_id.is_none() {
            let reason = "is missing: send the one that the capture was answered with, or owner_session, or both as they were sent then";
            return Err(invalid("request_id", reason));
        }
        let owner = OwnerGiven {
            session,
            ..OwnerGiven::default()
        };
        known(principal, None, owner, request_id.as_deref())
    }
}

/// The session that the database gets to know is made of what only this client knows, so that
/// nobody can release a hold by the session that lists show.
fn known(
    principal: &Principal,
    peer: Option<Peer>,
    owner: OwnerGiven,
    request_id: Option<&str>,
) -> Result<MutexOwner, Problem> {
    check("owner.session", owner.session.as_deref())?;
    let part = |given: Option<&str>| match given {
        Some(given) => format!("={given}"),
        None => String::new(),
    };
    let (session, request_id) = (part(owner.session.as_deref()), part(request_id));
    let hash = secret::hash(&["v1", principal.name(), &session, &request_id]);
    let host = owner.host.or(peer.map(|Peer(peer)| peer.ip().to_string()));
    Ok(MutexOwner::new(format!("http-{}", secret::hex(&hash)))?
        .with_user_id(owner.user_id.unwrap_or_default())?
        .with_name(owner.name.unwrap_or_default())?
        .with_login(principal.name())?
        .with_host(host.unwrap_or_default())?)
}

fn request_id_of(headers: &HeaderMap, body: Option<String>) -> Result<Option<String>, Problem> {
    let header = match headers.get(IDEMPOTENCY_KEY).map(|key| key.to_str()) {
        None => None,
        Some(Ok(key)) => Some(key.trim_matches('"').to_owned()),
        Some(Err(_)) => return Err(invalid("Idempotency-Key", "is not ASCII")),
    };
    match (&header, &body) {
        (Some(header), Some(body)) if header != body => {
            return Err(invalid("request_id", "is not what Idempotency-Key says"));
        }
        _ => {}
    }
    let request_id = body.or(header);
    check("request_id", request_id.as_deref())?;
    Ok(request_id)
}

fn check(field: &str, value: Option<&str>) -> Result<(), Problem> {
    match value {
        Some(value) if value.is_empty() || value.len() > LONGEST => {
            Err(invalid(field, format!("has from 1 to {LONGEST} bytes")))
        }
        _ => Ok(()),
    }
}
