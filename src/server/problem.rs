//! What went wrong, told as RFC 9457 says.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

/// An answer that is not what was asked for. The outermost layer writes it down, with the number of
/// the request.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// The last part of its type.
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: String,
    /// More members, for programs.
    pub(super) more: Map<String, Value>,
    /// Seconds after which the same request may succeed.
    pub(super) retry_after: Option<u64>,
}

/// Problems of one kind: the status and the words that they share.
pub(super) struct Kind(
    pub(super) StatusCode,
    pub(super) &'static str,
    pub(super) &'static str,
);

pub(super) const MALFORMED: Kind = Kind(
    StatusCode::BAD_REQUEST,
    "malformed",
    "The request cannot be read",
);
pub(super) const INVALID: Kind = Kind(
    StatusCode::BAD_REQUEST,
    "invalid",
    "A value cannot be accepted",
);
pub(super) const UNAUTHENTICATED: Kind = Kind(
    StatusCode::UNAUTHORIZED,
    "unauthenticated",
    "Say who you are",
);
pub(super) const FORBIDDEN: Kind = Kind(
    StatusCode::FORBIDDEN,
    "forbidden",
    "Your role may not do this",
);
pub(super) const FOREIGN_PAGE: Kind = Kind(
    StatusCode::FORBIDDEN,
    "foreign-page",
    "A page of another origin may not ask this",
);
pub(super) const NOT_FOUND: Kind =
    Kind(StatusCode::NOT_FOUND, "not-found", "There is nothing here");
pub(super) const METHOD: Kind = Kind(
    StatusCode::METHOD_NOT_ALLOWED,
    "method-not-allowed",
    "Not with this method",
);
pub(super) const SLOW: Kind = Kind(
    StatusCode::REQUEST_TIMEOUT,
    "too-slow",
    "The body took too long",
);
pub(super) const TOO_LARGE: Kind = Kind(
    StatusCode::PAYLOAD_TOO_LARGE,
    "too-large",
    "The body is too long",
);
pub(super) const PATH_TOO_LONG: Kind = Kind(
    StatusCode::URI_TOO_LONG,
    "path-too-long",
    "The path is too long",
);
pub(super) const MEDIA_TYPE: Kind = Kind(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "media-type",
    "A body of this type is not understood",
);
pub(super) const BUSY: Kind = Kind(StatusCode::CONFLICT, "busy", "Someone else holds it");
pub(super) const WAITED_IN_VAIN: Kind = Kind(
    StatusCode::CONFLICT,
    "waited-in-vain",
    "Someone else held it all the time",
);
pub(super) const NONE_AVAILABLE: Kind = Kind(
    StatusCode::CONFLICT,
    "none-available",
    "No session can be taken now",
);
pub(super) const UNKNOWN_SESSION: Kind = Kind(
    StatusCode::NOT_FOUND,
    "unknown-session",
    "There is no such session in this pool",
);
pub(super) const WAIT_CIRCLE: Kind = Kind(
    StatusCode::CONFLICT,
    "wait-circle",
    "Waiting could never end",
);
pub(super) const LOST: Kind = Kind(StatusCode::GONE, "lost", "The hold is gone");
pub(super) const OVERLOADED: Kind = Kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "overloaded",
    "Too much is going on",
);
pub(super) const STOPPING: Kind = Kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "stopping",
    "The server is stopping",
);
pub(super) const UNAVAILABLE: Kind = Kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "database-unavailable",
    "The database cannot be asked at the moment",
);
pub(super) const OUTCOME_UNKNOWN: Kind = Kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "outcome-unknown",
    "It may have been done or not",
);
pub(super) const NOT_READY: Kind = Kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "not-ready",
    "The database is not as this server needs it",
);
pub(super) const FAULT: Kind = Kind(
    StatusCode::INTERNAL_SERVER_ERROR,
    "fault",
    "A fault on the server's side",
);

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let Kind(status, kind, title) = kind;
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            more: Map::new(),
            retry_after: None,
        }
    }

    /// With one more member. What cannot be written is left out.
    pub(super) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.more.insert(name.to_owned(), value);
        }
        self
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The answer, as it is sent.
    pub(super) fn written(self, request: &str) -> Response {
        let mut members = self.more;
        let type_name = format!("urn:pgmutex:problem:{}", self.kind);
        members.insert("type".to_owned(), type_name.into());
        members.insert("title".to_owned(), self.title.into());
        members.insert("status".to_owned(), self.status.as_u16().into());
        members.insert("detail".to_owned(), self.detail.into());
        members.insert("instance".to_owned(), format!("urn:uuid:{request}").into());
        let body = Value::Object(members).to_string();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"pgmutex\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Not yet written: see [`written`](Problem::written).
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
