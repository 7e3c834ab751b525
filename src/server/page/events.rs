use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use http_body::Frame;
use serde_json::json;
use tokio::time::timeout;

use super::{picture::event, viewers::Viewer};
use crate::server::{
    app::SharedApp, openapi::ProblemDetails, principal::Principal, problem::Problem,
};

/// A stream says something at least so often: whoever hears nothing for longer has lost it.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Tells proxies to pass on each event as it comes.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What is held and who waits, as it changes: server-sent events. `hello` says who is asking;
/// `picture` shows everything, `change` what became different; `clock` is the database's time;
/// `trouble` means that the database could not be asked. Of a status text the first 500 characters are
/// told.
#[utoipa::path(get, path = "/v1/events", tag = "v1",
    responses(
        (status = 200, description = "Events, until the server stops", body = String, content_type = "text/event-stream"),
        (status = 503, description = "As many people look as are allowed", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn events(
    State(app): State<SharedApp>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, Problem> {
    let viewer = app.viewers.join(&app)?;
    // Where nobody has to say who they are, there is no name to show.
    let name = (principal != Principal::anybody()).then(|| principal.name());
    let hello = json!({ "name": name, "role": principal.role().name() });
    let telling = Telling {
        app,
        viewer,
        hello: Some(event("hello", &hello.to_string())),
        // The time goes before all that it is needed for.
        held_back: None,
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::new(Stream::new(telling))).into_response())
}

/// One viewer's stream of events.
struct Telling {
    app: SharedApp,
    viewer: Viewer,
    hello: Option<Bytes>,
    held_back: Option<Bytes>,
}

impl Telling {
    /// The next event; `None` when the server stops.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let app = self.app.clone();
        let told = tokio::select! {
            biased;
            () = app.stopping() => return None,
            told = self.next_event() => told,
        };
        Some((told, self))
    }

    async fn next_event(&mut self) -> Bytes {
        if let Some(hello) = self.hello.take() {
            return hello;
        }
        if let Some(held_back) = self.held_back.take() {
            return held_back;
        }
        let news = timeout(KEEP_ALIVE, self.viewer.next()).await.ok();
        match (self.viewer.clock(), news) {
            (Some(clock), news) => {
                self.held_back = news;
                clock
            }
            (None, Some(news)) => news,
            // A remark, which means nothing.
            (None, None) => Bytes::from_static(b":\n\n"),
        }
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Telling)>> + Send>>;

/// Events as a body.
struct Stream {
    next: Option<Next>,
}

impl Stream {
    fn new(telling: Telling) -> Self {
        Self {
            next: Some(Box::pin(telling.next())),
        }
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let told = ready!(next.as_mut().poll(context));
        let frame = told.map(|(event, telling)| {
            self.next = Some(Box::pin(telling.next()));
            Ok(Frame::data(event))
        });
        if frame.is_none() {
            self.next = None;
        }
        Poll::Ready(frame)
    }
}
