//! A bounded number of requests at work, and a larger one of those that only wait in line.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    app::SharedApp,
    problem::{OVERLOADED, PATH_TOO_LONG, Problem},
};

/// A request's place among those at work.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<std::sync::Mutex<Option<Counted>>>);

/// One of a bounded number; shown as a gauge.
#[derive(Debug)]
struct Counted {
    gauge: &'static str,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn among(bound: &Arc<Semaphore>, gauge: &'static str) -> Result<Self, Problem> {
        match Arc::clone(bound).try_acquire_owned() {
            Ok(permit) => {
                metrics::gauge!(gauge).increment(1.0);
                Ok(Self {
                    gauge,
                    _permit: permit,
                })
            }
            Err(_) => Err(Problem::new(
                OVERLOADED,
                "as many requests as the server takes at once are at work: ask again in a moment",
            )
            .retry_after(1)),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!(self.gauge).decrement(1.0);
    }
}

impl Place {
    /// Makes room: from now on this request only waits, and is counted among those that do.
    pub(super) fn wait_instead(&self, app: &SharedApp) -> Result<(), Problem> {
        let waiting = Counted::among(&app.waiting, "pgmutex_http_waiting")?;
        let mut place = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *place = Some(waiting);
        Ok(())
    }
}

/// What operators need most when there is too much going on, and what costs little.
const ALWAYS: [&str; 2] = ["/healthz", "/metrics"];

pub(super) async fn bound(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    if ALWAYS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let admitted = check_length(&app, &request).and_then(|()| {
        let at_work = Counted::among(&app.at_work, "pgmutex_http_at_work")?;
        Ok(Place(Arc::new(std::sync::Mutex::new(Some(at_work)))))
    });
    match admitted {
        Ok(place) => {
            let mut request = request;
            // Kept here to the end, wherever the extension goes.
            request.extensions_mut().insert(place.clone());
            let response = next.run(request).await;
            drop(place);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

fn check_length(app: &SharedApp, request: &Request) -> Result<(), Problem> {
    let most = app.limits.path_bytes;
    if request.uri().path().len() > most {
        let detail = format!("it has more than {most} bytes");
        return Err(Problem::new(PATH_TOO_LONG, detail));
    }
    Ok(())
}
