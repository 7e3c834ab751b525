//! A hold on its way to a client that may be gone.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

use super::errands::Errands;
use crate::domain::{Captured, Error, Result};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives a hold back if nobody takes it: only the answer says how to release it, so that a hold
/// whose answer nobody gets would stay for ever.
pub(super) struct Undelivered {
    give_back: Option<Work>,
    errands: Errands,
}

impl fmt::Debug for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undelivered")
    }
}

impl Undelivered {
    pub(super) fn new(
        errands: &Errands,
        give_back: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            give_back: Some(Box::pin(give_back)),
            errands: errands.clone(),
        }
    }

    /// It is with the client now, or there is nothing to give back.
    fn taken(mut self) {
        self.give_back = None;
    }

    /// Captures to the end, whatever becomes of the one who asked: were the call dropped half-way,
    /// the database might still carry it out, for nobody.
    pub(super) async fn capture(
        self,
        capture: impl Future<Output = Result<Captured>> + Send + 'static,
    ) -> Result<(Captured, Self)> {
        let (sender, receiver) = oneshot::channel();
        self.errands.clone().spawn(async move {
            let answer = self.outcome(capture.await);
            // With nobody to receive it, it is dropped, and so given back.
            drop(sender.send(answer));
        });
        match receiver.await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unavailable {
                source: "the runtime is stopping".into(),
            }),
        }
    }

    /// What there is to give back after this answer: something also if it is not known what was done.
    pub(super) fn outcome(self, answer: Result<Captured>) -> Result<(Captured, Self)> {
        match answer {
            Ok(captured) => Ok((captured, self)),
            Err(error) => {
                if !error.is_outcome_unknown() {
                    self.taken();
                }
                Err(error)
            }
        }
    }

    /// A body that tells the client. Who never reads it has not been told.
    pub(super) fn told_in(self, text: String) -> Body {
        Body::new(Parcel {
            text: Some(text.into()),
            undelivered: Some(self),
        })
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            self.errands.spawn(give_back);
        }
    }
}

struct Parcel {
    text: Option<Bytes>,
    undelivered: Option<Undelivered>,
}

impl http_body::Body for Parcel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(undelivered) = self.undelivered.take() {
            undelivered.taken();
        }
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.text.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}
