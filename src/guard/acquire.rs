//! Waiting for mutexes, on the background thread: whatever becomes of the one who asked, nothing it
//! asked for stays behind.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot,
    time::{Sleep, sleep, sleep_until, timeout, timeout_at},
};
use tracing::Instrument;

use super::{
    Ward,
    give_back::{Traces, leave_nothing},
};
use crate::{
    backend::{Attachment, BackendFuture, CaptureAllRequest, CapturedAll, MutexBackend},
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
    ward: Arc<Ward>,
    asker: Asker,
}

/// What the one who asked is told: boxed, for while it waits there is room kept for it.
type Answer = Box<Result<Delivery>>;

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

/// Captures, after waiting if need be, from this call on. Dropping the future gives up, and gives back.
///
/// Many may wait: the future has nothing of what was asked for but a name, for an error.
pub(crate) fn acquire(
    ward: &Arc<Ward>,
    asker: Asker,
    request: Request,
    wait: Wait,
) -> impl Future<Output = Result<Acquired>> + Send + use<> {
    let began = Instant::now();
    let deadline = wait.deadline(began);
    let first_id = deadline.and_then(|_| asker.ids.first().cloned());
    let (sender, receiver) = oneshot::channel();
    let span = tracing::debug_span!("acquire", mutex = asker.ids.first().map(tracing::field::display), owner = %asker.owner);
    let pursuit = Box::new(Pursuit {
        ward: Arc::clone(ward),
        asker,
        request,
        wait,
        began,
        deadline,
    });
    ward.background
        .send_off(pursuit.run(sender).instrument(span));
    async move {
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
        match answer.map(|answer| *answer) {
            Ok(Ok(delivery)) => delivery.accept().ok_or_else(stopped),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(stopped()),
        }
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
            let (backend, asker) = (Arc::clone(&self.ward.backend), self.asker.clone());
            self.ward
                .background
                .send_off(async move { leave_nothing(&backend, asker, traces).await });
        }
    }
}

struct Pursuit {
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
    async fn run(self: Box<Self>, mut sender: oneshot::Sender<Answer>) {
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
                let Self { ward, asker, .. } = *self;
                let delivery = Delivery {
                    acquired: Some(acquired),
                    ward,
                    asker,
                };
                // If nobody is there to take it, it sees to itself.
                let _ = sender.send(Box::new(Ok(delivery)));
            }
            Err(ended) => {
                // First out of the line, then the word that it is so; unless that takes long.
                let Self { ward, asker, .. } = *self;
                let mut leaving =
                    Box::pin(async move { leave_nothing(&ward.backend, asker, traces).await });
                let has_left = timeout(GRACE / 2, &mut leaving).await.is_ok();
                if let Ended::Failed(error) = ended {
                    // One who is gone has counted it, if it was told that its time is up.
                    if !sender.is_closed() {
                        observe::not_captured(&error);
                    }
                    let _ = sender.send(Box::new(Err(error)));
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
        let mut time_is_up = self
            .deadline
            .map(|deadline| Box::pin(sleep_until(deadline.into())));
        let (rules, backend) = (&self.ward.rules, &*self.ward.backend);
        let mut made_way = MadeWay::default();
        let (mut pause, mut look) = (FIRST_PAUSE, FIRST_LOOK);
        loop {
            // No call is broken off: what became of it would not be known.
            let (asked, answer) = Box::pin(self.ask(traces)).await;
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
                Ok((CapturedAll::Queued(ticket), attachments)) => {
                    drop(attachments); // they are made anew for the next attempt
                    if !std::mem::replace(&mut traces.queued, true) {
                        observe::waiters(1.0);
                        tracing::debug!(mutex = %ticket.holder.id, ticket = ticket.number, holder = %ticket.holder.owner, "in line");
                    }
                    pause = FIRST_PAUSE;
                    ticket
                }
                Err(busy @ Error::Busy { .. }) => {
                    let way = Box::pin(rules.make_way_for(backend, &busy, &mut made_way));
                    if way.await.map_err(Ended::Failed)? {
                        continue;
                    }
                    return Err(Ended::Failed(busy));
                }
                Err(error) if !traces.is_hopeless && self.is_worth_repeating(&error, traces) => {
                    tracing::debug!(%error, "asked in vain; asking again");
                    traces.uncertain |= error.is_outcome_unknown();
                    tokio::select! {
                        () = &mut abandoned => return Err(Ended::Abandoned),
                        () = until(&mut time_is_up) => return Err(Ended::Failed(error)),
                        () = Box::pin(sleep(pause)) => {}
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
            let way = Box::pin(rules.make_way(backend, holder, now, &mut made_way));
            match way.await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "what is in the way could not be judged; later");
                }
                Err(error) => return Err(Ended::Failed(error)),
            }
            made_way.begin_again();
            let may_end = rules.may_end(&ticket.holder);
            let mut time_to_look = may_end.then(|| Box::pin(sleep(look)));
            tokio::select! {
                () = &mut abandoned => return Err(Ended::Abandoned),
                () = until(&mut time_is_up) => return Err(self.too_late(Some(ticket.holder))),
                () = until(&mut time_to_look) => look = (look * 2).min(LONGEST_LOOK),
                turn = backend.turn(&ticket) => {
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
        let backend = &self.ward.backend;
        let (request, attachments) = match (self.request)(Arc::clone(backend)).await {
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
        let answer = backend.capture_all(&request).await;
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

/// A timer takes room: it is boxed, and only those have one who need it.
async fn until(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::Pursuit;

    fn future_of<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Bytes. What is not needed while one waits is boxed, and gone.
    const MOST: usize = 750;

    #[test]
    fn one_who_waits_needs_little_room() {
        let size = future_of(|pursuit: Box<Pursuit>, sender| pursuit.run(sender));
        assert!(size <= MOST, "{size} bytes");
    }
}
