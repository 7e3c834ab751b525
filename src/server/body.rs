//! Bodies of requests: bounded in length and in time, and read strictly.

use std::{future::poll_fn, pin::Pin};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use http_body::Body as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    app::{App, SharedApp},
    parameters::Parameters,
    problem::{MALFORMED, MEDIA_TYPE, Problem, SLOW, TOO_LARGE},
};

/// A body that is one JSON object, without members that are unknown or given twice.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<SharedApp> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, Problem> {
        if media_type(request.headers()).as_deref() != Some("application/json") {
            return Err(Problem::new(MEDIA_TYPE, "send it as application/json"));
        }
        let bytes = app.read(request.into_body()).await?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(Problem::new(MALFORMED, format!("the body: {error}"))),
        }
    }
}

/// The parameters of a form, if there is one.
pub(super) async fn form(app: &App, request: Request) -> Result<Parameters, Problem> {
    match media_type(request.headers()).as_deref() {
        Some("application/x-www-form-urlencoded") => {
            let bytes = app.read(request.into_body()).await?;
            match std::str::from_utf8(&bytes) {
                Ok(text) => Parameters::parse(text),
                Err(_) => Err(Problem::new(MALFORMED, "the form is not UTF-8")),
            }
        }
        None if app.read(request.into_body()).await?.is_empty() => Ok(Parameters::default()),
        _ => Err(Problem::new(
            MEDIA_TYPE,
            "send parameters in the query, or as application/x-www-form-urlencoded",
        )),
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    // What cannot be read is no type that is known.
    let value = value.to_str().unwrap_or("?");
    let name = value.split(';').next().unwrap_or(value);
    Some(name.trim().to_ascii_lowercase())
}

impl App {
    async fn read(&self, body: Body) -> Result<Vec<u8>, Problem> {
        match timeout(self.limits.body_time, self.read_slowly(body)).await {
            Ok(read) => read,
            Err(_) => Err(Problem::new(SLOW, "send it faster, or a shorter one")),
        }
    }

    async fn read_slowly(&self, mut body: Body) -> Result<Vec<u8>, Problem> {
        let most = self.limits.body_bytes;
        let too_large = || Problem::new(TOO_LARGE, format!("it has more than {most} bytes"));
        let promised = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if promised > most {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(promised);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) if bytes.len() + data.len() > most => return Err(too_large()),
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                // Trailers say nothing here.
                Ok(Err(_)) => {}
                Err(_) => return Err(Problem::new(MALFORMED, "the body ends before its time")),
            }
        }
        Ok(bytes)
    }
}

/// An answer, as JSON.
pub(super) fn written(answer: &impl serde::Serialize) -> Result<String, Problem> {
    serde_json::to_string(answer).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        Problem::new(super::problem::FAULT, "the answer cannot be written")
    })
}

/// A body that is JSON.
pub(super) fn json(body: impl Into<Body>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body.into()).into_response()
}
