use axum::{Extension, extract::State, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Given, answer, name::Name};
use crate::{
    domain::{FencingToken, ForceReleased},
    server::{
        app::SharedApp, body::Json, openapi::ProblemDetails, parameters::invalid,
        principal::Principal, problem::Problem,
    },
};

/// Longest reason, in bytes.
const LONGEST_REASON: usize = 1000;

/// A hold to be taken away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct ForceRelease {
    mutex: Name,
    /// Why; it goes to the log, with the name of whoever asks.
    reason: String,
    /// Only the hold with this token: the one that was looked at.
    fencing_token: Option<i64>,
}

/// Takes a mutex away from whoever holds it.
#[utoipa::path(post, path = "/v1/force-release", tag = "v1", request_body = ForceRelease,
    responses(
        (status = 200, description = "The hold is gone", body = Given),
        (status = 400, description = "It cannot be read, or a value cannot be accepted", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "It needs the role admin", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "The holder is writing behind its fence", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn force_release(
    State(app): State<SharedApp>,
    Extension(principal): Extension<Principal>,
    Json(wish): Json<ForceRelease>,
) -> Result<Response, Problem> {
    let reason = wish.reason.trim();
    if reason.is_empty() || reason.len() > LONGEST_REASON {
        let bounds = format!("has from 1 to {LONGEST_REASON} bytes");
        return Err(invalid("reason", bounds));
    }
    let (who, reason) = (on_one_line(principal.name()), on_one_line(reason));
    let mutex = wish.mutex.wish(&app)?;
    tracing::warn!(mutex = ?mutex.id, who, reason, "a release is to be forced");
    let in_the_log = format!("{reason} (asked for by {who}, over HTTP)");
    let mut release = app.mutexes.force_release(&mutex.id, in_the_log);
    if let Some(token) = wish.fencing_token {
        release = release.token(FencingToken::new(token));
    }
    match release.await? {
        ForceReleased::Released(hold) => answer(&Given::back(&hold)),
        ForceReleased::NotHeld => answer(&Given::NOT_HELD),
    }
}

/// A text that cannot look like something else in a log: no new lines, no codes of terminals, no
/// characters that turn the direction around.
fn on_one_line(text: &str) -> String {
    let is_plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().fold(String::new(), |mut line, c| {
        if is_plain(c) {
            line.push(c);
        } else {
            line.extend(c.escape_unicode());
        }
        line
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_could_deceive_a_reader_of_the_log_is_spelt_out() {
        assert_eq!(super::on_one_line("né 'x'"), "né 'x'");
        assert_eq!(
            super::on_one_line("a\nb\u{1b}[0m\u{202e}"),
            "a\\u{a}b\\u{1b}[0m\\u{202e}"
        );
    }
}
