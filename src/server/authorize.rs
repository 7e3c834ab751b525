//! Who asks, and whether they may.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    app::{App, SharedApp},
    principal::{Principal, Role},
    problem::{FORBIDDEN, Problem, UNAUTHENTICATED},
};

/// Lets through whoever may do what needs this role, and puts the [`Principal`] into the request.
pub(super) async fn require(
    State((app, needed)): State<(SharedApp, Role)>,
    mut request: Request,
    next: Next,
) -> Response {
    let known = request.extensions().get::<Principal>().cloned();
    let principal = match known {
        Some(principal) => Ok(principal),
        None => app.principal(request.headers()),
    };
    match principal {
        Ok(principal) if principal.may(needed) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Ok(principal) => {
            let detail = format!("it needs the role {needed}; yours is {}", principal.role());
            Problem::new(FORBIDDEN, detail).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

impl App {
    fn principal(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        let Some(tokens) = &self.tokens else {
            return Ok(Principal::anybody());
        };
        let refused = |detail: &str| Err(Problem::new(UNAUTHENTICATED, detail));
        let Some(given) = headers.get(header::AUTHORIZATION) else {
            return refused("send the header `Authorization: Bearer TOKEN`");
        };
        let token = given.to_str().ok().and_then(|given| {
            let (scheme, token) = given.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        match token.and_then(|token| tokens.holder_of(token)) {
            Some(principal) => Ok(principal.clone()),
            None => refused("the token is not known here"),
        }
    }
}
