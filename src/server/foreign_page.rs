//! Requests that a page of somebody else's makes a browser send. Locker's calls change things by
//! GET, and a server on this machine asks nobody for a token: without this, every page that a
//! developer looks at could take locks.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    app::SharedApp,
    problem::{FOREIGN_PAGE, Problem},
};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Under which names the server is reached.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnAddresses {
    /// The host names that it answers to, without ports; `None`: to all. Where only this machine
    /// reaches the server, another name in a request means that a foreign page has had that name
    /// resolved to this machine.
    pub(super) hosts: Option<Vec<String>>,
    /// Origins whose pages may send requests, beside its own.
    pub(super) origins: Vec<String>,
}

pub(super) async fn refuse(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let is_page = request.uri().path() == "/" && request.method() == Method::GET;
    match app.own.check(request.headers(), is_page) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            tracing::warn!(
                reason = problem.detail,
                "refused a request of a foreign page"
            );
            problem.into_response()
        }
    }
}

impl OwnAddresses {
    /// `is_page`: that a link leads from a foreign page to the server's own is no harm.
    fn check(&self, headers: &HeaderMap, is_page: bool) -> Result<(), Problem> {
        let refused = |detail: &str| Err(Problem::new(FOREIGN_PAGE, detail));
        let host = text(headers, &header::HOST);
        if let Some(known) = &self.hosts
            && headers.contains_key(header::HOST)
        {
            let name = host_name(host.unwrap_or_default());
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return refused("the request names a host that this server is not known by");
            }
        }
        if headers.contains_key(header::ORIGIN) {
            let origin = text(headers, &header::ORIGIN).unwrap_or("null");
            return match self.is_own(origin, host) {
                true => Ok(()),
                false => refused("it was sent by a page of another origin"),
            };
        }
        match text(headers, &FETCH_SITE) {
            None if headers.contains_key(FETCH_SITE) => {
                return refused("its Sec-Fetch-Site makes no sense");
            }
            None | Some("same-origin" | "none") => {}
            Some(_) if is_page && text(headers, &FETCH_MODE) == Some("navigate") => {}
            Some(_) => return refused("it was sent by a page of another site"),
        }
        // Browsers leave out the headers above where a page is not encrypted.
        match headers.get(header::REFERER).map(|from| from.to_str()) {
            None => Ok(()),
            Some(_) if is_page => Ok(()),
            Some(Ok(from)) if self.is_own(origin_of(from), host) => Ok(()),
            Some(_) => refused("it was sent by a page of another origin"),
        }
    }

    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.trim_end_matches('/');
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        let is_of_this_host = match (authority, host) {
            (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
            _ => false,
        };
        is_of_this_host
            || self
                .origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(origin))
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Scheme and authority of a URL.
fn origin_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |colon| colon + 3);
    let end = url
        .get(authority..)
        .and_then(|rest| rest.find(['/', '?', '#']))
        .map_or(url.len(), |end| authority + end);
    url.get(..end).unwrap_or(url)
}
