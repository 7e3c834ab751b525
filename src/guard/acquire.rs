//! Waiting for mutexes, on the background thread: whatever becomes of the one who asked, nothing it
//! asked for stays behind.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot,
    time::{sleep, sleep_until, timeout, timeout_at},
};
use tracing::Instrument;

use super::{
    Ward,
    give_back::{Traces, leave_nothing},
};
use crate::{
    backend::{Attachment, BackendFuture, CaptureAllRequest, CapturedAll, MutexBackend},
    background::Background,
    domain::{Captured, Error, Mutex, MutexId, MutexOwner, Result},
    observe,
    rules::MadeWay,
};

/// How long the one who asks gives the background thread to say that the time is up.
const GRACE: Duration = Duration::from_millis(250);

/// Whoever waits longer waits for ever: 100 years, which no clock runs out of.
const FOREVER: Duration = Duration::from_secs(3_153_600_000);

/// Between two attempts while the database does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at holds that only a custom rule can end: nobody says when it does.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_LOOK: Duration = Duration::from_secs(8);

/// Whether to wait, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Busy is an answer.
    Not,
    /// For this long at most.
    AtMost(Duration),
    /// Until it is free.
    #[default]
    Forever,
}

/// What was asked for, made anew for each attempt: the session of an attachment may be another by
/// then.
pub(crate) type Request = Arc<
    dyn Fn(
            Arc<dyn MutexBackend>,
        ) -> BackendFuture<'static, (CaptureAllRequest, Vec<Option<Attachment>>)>
        + Send
        + Sync,
>;

/// Holds that were captured, in the order of the request.
pub(crate) struct Acquired {
    pub(crate) holds: Vec<(Captured, Option<Attachment>)>,
    /// When the call that captured them was made.
    pub(crate) asked: Instant,
}

/// Holds on their way to the one who asked for them: given back if nobody takes them out. Who asks
/// may be gone at any moment until then, also when they have been sent already.
struct Delivery {
    acquired: Option<Acquired>,
    backend: Arc<dyn MutexBackend>,
    background: Background,
    asker: Asker,
}

/// Who asks for what.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) ids: Vec<MutexId>,
    pub(crate) owner: MutexOwner,
    /// Whether nobody else uses this owner: then whatever it holds or waits for was asked for here.
    pub(crate) is_its_own: bool,
}

impl Wait {
    fn deadline(self, began: Instant) -> Option<Instant> {
        match self {
            Self::AtMost(time) if time < FOREVER => began.checked_add(time),
            Self::Not | Self::AtMost(_) | Self::Forever => None,
        }
    }
}

/// Captures, after waiting if need be. Dropping the future gives up, and gives back.
pub(crate) async fn acquire(
    ward: &Arc<Ward>,
    asker: Asker,
    request: Request,
    wait: Wait,
) -> Result<Acquired> {
    let began = Instant::now();
    let deadline = wait.deadline(began);
    let first_id = asker.ids.first().cloned();
    let (sender, receiver) = oneshot::channel();
    let span = tracing::debug_span!("acquire", mutex = first_id.as_ref().map(tracing::field::display), owner = %asker.owner);
    let pursuit = Pursuit {
        backend: Arc::clone(&ward.backend),
        ward: Arc::clone(ward),
        asker,
        request,
        wait,
        began,
        deadline,
    };
    ward.background
        .send_off(pursuit.run(sender).instrument(span));
    let answer = match deadline {
        Some(deadline) => match timeout_at((deadline + GRACE).into(), receiver).await {
            Ok(answer) => answer,
            Err(_) => {
                let late = match first_id {
                    Some(id) => Error::Timeout {
                        id,
                        waited: began.elapsed(),
                        holder: None,
                    },
                    None => stopped(),
                };
                observe::not_captured(&late);
                return Err(late);
            }
        },
        None => receiver.await,
    };
    match answer {
        Ok(Ok(delivery)) => delivery.accept().ok_or_else(stopped),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(stopped()),
    }
}

fn stopped() -> Error {
    Error::Unavailable {
        source: crate::background::NotDone.into(),
    }
}

impl Delivery {
    fn accept(mut self) -> Option<Acquired> {
        self.acquired.take()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(acquired) = self.acquired.take() {
            let mut traces = Traces::default();
            traces.found(&acquired.holds);
            let (backend, asker) = (Arc::clone(&self.backend), self.asker.clone());
            self.background
                .send_off(async move { leave_nothing(&backend, asker, traces).await });
        }
    }
}

struct Pursuit {
    backend: Arc<dyn MutexBackend>,
    ward: Arc<Ward>,
    asker: Asker,
    request: Request,
    wait: Wait,
    began: Instant,
    deadline: Option<Instant>,
}

/// Why there is nothing to hand over.
enum Ended {
    /// The one who asked is gone.
    Abandoned,
    Failed(Error),
}

impl Pursuit {
    async fn run(self, mut sender: oneshot::Sender<Result<Delivery>>) {
        let mut traces = Traces::default();
        let outcome = self.pursue(sender.closed(), &mut traces).await;
        if traces.queued {
            observe::waited(self.began.elapsed());
            observe::waiters(-1.0);
        }
        match outcome {
            Ok(acquired) => {
                for (captured, _) in &acquired.holds {
                    observe::captured(captured, self.began.elapsed());
                }
                let delivery = Delivery {
                    acquired: Some(acquired),
                    backend: self.backend,
                    background: self.ward.background.clone(),
                    asker: self.asker,
                };
                // If nobody is there to take it, it sees to itself.
                let _ = sender.send(Ok(delivery));
            }
            Err(ended) => {
                // First out of the line, then the word that it is so; unless that takes long.
                let mut leaving = std::pin::pin!(leave_nothing(&self.backend, self.asker, traces));
                let has_left = timeout(GRACE / 2, &mut leaving).await.is_ok();
                if let Ended::Failed(error) = ended {
                    // One who is gone has counted it, if it was told that its time is up.
                    if !sender.is_closed() {
                        observe::not_captured(&error);
                    }
                    let _ = sender.send(Err(error));
                }
                if !has_left {
                    leaving.await;
                }
            }
        }
    }

    async fn pursue(
        &self,
        abandoned: impl Future<Output = ()>,
        traces: &mut Traces,
    ) -> Result<Acquired, Ended> {
        let mut abandoned = std::pin::pin!(abandoned);
        let (rules, backend) = (&self.ward.rules, &*self.backend);
        let mut made_way = MadeWay::default();
        let (mut pause, mut look) = (FIRST_PAUSE, FIRST_LOOK);
        loop {
            // No call is broken off: what became of it would not be known.
            let (asked, answer) = self.ask(traces).await;
            let ticket = match answer {
                Ok((CapturedAll::Captured(captured), attachments)) => {
                    let mut holds: Vec<_> = captured.into_iter().zip(attachments).collect();
                    if traces.queued
                        && self
                            .deadline
                            .is_some_and(|deadline| Instant::now() >= deadline)
                    {
                        traces.found(&holds);
                        return Err(self.too_late(None));
                    }
                    let is_only_one = holds.len() == 1;
                    for (captured, _) in &mut holds {
                        made_way.is_told_in(captured, is_only_one);
                    }
                    return Ok(Acquired { holds, asked });
                }
                Ok((CapturedAll::Queued(ticket), _)) => {
                    if !std::mem::replace(&mut traces.queued, true) {
                        observe::waiters(1.0);
                        tracing::debug!(mutex = %ticket.holder.id, ticket = ticket.number, holder = %ticket.holder.owner, "in line");
                    }
                    pause = FIRST_PAUSE;
                    ticket
                }
                Err(busy @ Error::Busy { .. }) => {
                    let way = rules.make_way_for(backend, &busy, &mut made_way).await;
                    if way.map_err(Ended::Failed)? {
                        continue;
                    }
                    return Err(Ended::Failed(busy));
                }
                Err(error) if !traces.is_hopeless && self.is_worth_repeating(&error, traces) => {
                    tracing::debug!(%error, "asked in vain; asking again");
                    traces.uncertain |= error.is_outcome_unknown();
                    tokio::select! {
                        () = &mut abandoned => return Err(Ended::Abandoned),
                        () = until(self.deadline) => return Err(Ended::Failed(error)),
                        () = sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
                Err(error) => {
                    // An answer that makes no sense may be about a capture that was made.
                    let is_senseless = matches!(error, Error::Protocol { .. });
                    traces.uncertain |= is_senseless || error.is_outcome_unknown();
                    return Err(Ended::Failed(error));
                }
            };
            let (holder, now) = (&ticket.holder, ticket.observed_at);
            let way = rules.make_way(backend, holder, now, &mut made_way);
            match way.await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "what is in the way could not be judged; later");
                }
                Err(error) => return Err(Ended::Failed(error)),
            }
            made_way.begin_again();
            tokio::select! {
                () = &mut abandoned => return Err(Ended::Abandoned),
                () = until(self.deadline) => return Err(self.too_late(Some(ticket.holder))),
                () = sleep(look), if rules.may_end(&ticket.holder) => {
                    look = (look * 2).min(LONGEST_LOOK);
                }
                turn = self.backend.turn(&ticket) => {
                    turn.map_err(Ended::Failed)?;
                    look = FIRST_LOOK;
                }
            }
        }
    }

    async fn ask(
        &self,
        traces: &mut Traces,
    ) -> (Instant, Result<(CapturedAll, Vec<Option<Attachment>>)>) {
        let (request, attachments) = match (self.request)(Arc::clone(&self.backend)).await {
            Ok(asked_for) => asked_for,
            Err(error) => return (Instant::now(), Err(error)),
        };
        let session = attachments.iter().flatten().next().map(Attachment::session);
        // A call that may still be on its way would attach the hold to a session that is gone by now,
        // after this one has attached it to the new one: nobody would know.
        if traces.uncertain && traces.session != session {
            traces.is_hopeless = true;
            let lost = "the database session was lost while the call was on its way";
            let unknown = Error::OutcomeUnknown {
                operation: "capture",
                source: lost.into(),
            };
            return (Instant::now(), Err(unknown));
        }
        traces.session = session;
        let asked = Instant::now();
        let answer = self.backend.capture_all(&request).await;
        (asked, answer.map(|answer| (answer, attachments)))
    }

    /// Who is in line stays there while the database is away for a moment. Who has not even joined
    /// it is told.
    fn is_worth_repeating(&self, error: &Error, traces: &Traces) -> bool {
        let is_passing = error.is_transient() && !matches!(error, Error::WaitCircle { .. });
        // The session was lost between the question for it and the capture.
        let session_is_gone =
            matches!(error, Error::Refused { reason } if reason.contains("session that is gone"));
        self.wait != Wait::Not
            && (is_passing && (traces.queued || error.is_outcome_unknown()) || session_is_gone)
    }

    fn too_late(&self, holder: Option<Box<Mutex>>) -> Ended {
        match self.asker.ids.first() {
            Some(id) => Ended::Failed(Error::Timeout {
                id: id.clone(),
                waited: self.began.elapsed(),
                holder,
            }),
            None => Ended::Abandoned,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
