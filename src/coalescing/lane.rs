//! A lane: the calls of one verb. Whoever comes while it is empty goes at once and alone; those who
//! come meanwhile go together.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot, time::timeout};

pub(super) use super::standing::Limits;
use super::{
    shared_failure::{SharedFailure, as_after_an_unknown_outcome},
    standing::Standings,
};
use crate::{backend::BackendFuture, domain::Result, observe};

/// How often one in the queue loses patience, each time after twice as long, before it goes beside
/// the lane: however many calls nobody drives, it does not wait for them for ever.
const LOSSES: u32 = 8;

/// Asks for many at once; `None` is no answer: this one is to be asked for on its own.
type Together<Q, A> =
    dyn Fn(Vec<Q>) -> BackendFuture<'static, Vec<Option<Result<A>>>> + Send + Sync;

/// The calls of one verb, with requests of type `Q` and answers of type `A`.
pub(super) struct Lane<Q: Send + 'static, A: Send + 'static>(Arc<Shared<Q, A>>);

struct Shared<Q: Send + 'static, A: Send + 'static> {
    verb: &'static str,
    limits: Limits,
    together: Box<Together<Q, A>>,
    standings: Mutex<Standings<Queued<Q, A>>>,
}

struct Queued<Q: Send + 'static, A: Send + 'static> {
    request: Q,
    /// Dropped without a word, it says: your request may have been sent, but nobody knows more.
    reply: oneshot::Sender<Word<Q, A>>,
}

/// What one in the queue is told.
enum Word<Q: Send + 'static, A: Send + 'static> {
    Answer(Result<A>),
    /// Go, by an ordinary call: there is nobody to go with.
    YourTurn(Turn<Q, A>),
    /// Go, by an ordinary call: this one has changed nothing for you.
    OnYourOwn,
}

/// One of those under way. Whatever becomes of it, those in the queue are next.
struct Turn<Q: Send + 'static, A: Send + 'static> {
    lane: Arc<Shared<Q, A>>,
    runtime: Handle,
    era: u64,
}

/// A place in the queue, given up when it is dropped.
struct Place<Q: Send + 'static, A: Send + 'static> {
    lane: Arc<Shared<Q, A>>,
    runtime: Handle,
    number: u64,
    word: oneshot::Receiver<Word<Q, A>>,
}

/// How a call begins.
enum Start<Q: Send + 'static, A: Send + 'static> {
    AtOnce(Turn<Q, A>),
    Later(Place<Q, A>),
    /// Beside the lane: there is no runtime on which others could be taken along.
    Beside,
}

impl<Q: Send + 'static, A: Send + 'static> Lane<Q, A> {
    pub(super) fn new(
        verb: &'static str,
        limits: Limits,
        together: impl Fn(Vec<Q>) -> BackendFuture<'static, Vec<Option<Result<A>>>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            verb,
            limits,
            together: Box::new(together),
            standings: Mutex::new(Standings::new()),
        }))
    }

    /// Makes a call: by this ordinary one, or together with others; then its answer is `read` from
    /// theirs. The request is put together only if it has to queue. Dropping the future takes it out
    /// of the queue, if it is still there.
    pub(super) async fn call<T, F: Future<Output = Result<T>>>(
        &self,
        request: impl FnOnce() -> Q,
        alone: impl Fn() -> F,
        read: impl FnOnce(A) -> Result<T>,
    ) -> Result<T> {
        let mut place = match self.0.start(request) {
            Start::AtOnce(turn) => {
                let answer = alone().await;
                drop(turn);
                return answer;
            }
            Start::Later(place) => place,
            Start::Beside => return alone().await,
        };
        match place.word().await {
            Some(Word::Answer(answer)) => answer.and_then(read),
            Some(Word::YourTurn(turn)) => {
                let answer = alone().await;
                drop(turn);
                answer
            }
            Some(Word::OnYourOwn) => alone().await,
            None => as_after_an_unknown_outcome(self.0.verb, alone().await),
        }
    }

    /// How many are under way and waited for, and how many in the queue.
    #[cfg(test)]
    pub(super) fn standing(&self) -> (usize, usize) {
        self.0.lock().count()
    }
}

impl<Q: Send + 'static, A: Send + 'static> Shared<Q, A> {
    /// Nothing that could panic is done under this lock, nor anything of others'.
    fn lock(&self) -> MutexGuard<'_, Standings<Queued<Q, A>>> {
        self.standings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(self: &Arc<Self>, runtime: Handle, era: u64) -> Turn<Q, A> {
        Turn {
            lane: Arc::clone(self),
            runtime,
            era,
        }
    }

    fn start(self: &Arc<Self>, request: impl FnOnce() -> Q) -> Start<Q, A> {
        let Ok(runtime) = Handle::try_current() else {
            return Start::Beside;
        };
        let era = self.lock().leave_at_once(runtime.id(), self.limits);
        if let Some(era) = era {
            return Start::AtOnce(self.turn(runtime, era));
        }
        let (reply, word) = oneshot::channel();
        let queued = Queued {
            request: request(),
            reply,
        };
        let mut standings = self.lock();
        // The last of those under way may have come back meanwhile.
        if let Some(era) = standings.leave_at_once(runtime.id(), self.limits) {
            drop(standings);
            return Start::AtOnce(self.turn(runtime, era));
        }
        let Some(number) = standings.enqueue(runtime.id(), queued) else {
            return Start::Beside;
        };
        drop(standings);
        Start::Later(Place {
            lane: Arc::clone(self),
            runtime,
            number,
            word,
        })
    }

    /// Sends those in a runtime's queue on their way, as many as may be.
    fn depart(self: &Arc<Self>, runtime: &Handle) {
        loop {
            let next = self.lock().next(runtime.id(), self.limits);
            let Some((era, mut together)) = next else {
                return;
            };
            let turn = self.turn(runtime.clone(), era);
            if together.len() > 1 {
                runtime.spawn(travel(turn, together));
            } else if let Some(only) = together.pop() {
                // If it is gone, the turn comes back with the word, and goes to the next.
                let _ = only.reply.send(Word::YourTurn(turn));
            }
        }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Place<Q, A> {
    /// What one here is told; `None` if its request may have been sent, and nobody knows more.
    async fn word(&mut self) -> Option<Word<Q, A>> {
        let mut patience = self.lane.limits.patience;
        for _ in 0..LOSSES {
            if let Ok(word) = timeout(patience, &mut self.word).await {
                return word.ok();
            }
            let runtime = self.runtime.id();
            let limits = self.lane.limits;
            let is_queued = self.lane.lock().lose_patience(runtime, self.number, limits);
            if !is_queued {
                return (&mut self.word).await.ok();
            }
            self.lane.depart(&self.runtime);
            patience *= 2;
        }
        match self.give_up() {
            Some(_) => Some(Word::OnYourOwn),
            None => (&mut self.word).await.ok(),
        }
    }

    fn give_up(&self) -> Option<Queued<Q, A>> {
        self.lane.lock().give_up(self.runtime.id(), self.number)
    }
}

/// Makes one call for many. If this ends before its time, by a panic or with its runtime, those who
/// wait for its answers go on their own. If nobody waits for them any more, the call is dropped.
async fn travel<Q: Send + 'static, A: Send + 'static>(
    turn: Turn<Q, A>,
    together: Vec<Queued<Q, A>>,
) {
    let (requests, mut replies): (Vec<Q>, Vec<_>) = together
        .into_iter()
        .map(|queued| (queued.request, queued.reply))
        .unzip();
    let verb = turn.lane.verb;
    observe::travelled_together(verb, requests.len());
    let answer = tokio::select! {
        biased;
        answer = (turn.lane.together)(requests) => answer,
        () = all_are_gone(&mut replies) => {
            tracing::debug!(verb, "nobody waits any more for a call for many; it is dropped");
            return;
        }
    };
    // First the next ones: they need not wait until these have been told.
    drop(turn);
    match answer {
        Ok(answers) if answers.len() == replies.len() => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                let _ = reply.send(answer.map_or(Word::OnYourOwn, Word::Answer));
            }
        }
        // Whose answer is whose is not known.
        Ok(answers) => {
            tracing::warn!(
                verb,
                asked = replies.len(),
                answered = answers.len(),
                "not as many answers as requests; each asks again on its own"
            );
        }
        Err(error) => {
            tracing::debug!(verb, requests = replies.len(), %error, "a call for many has failed");
            match SharedFailure::of(error) {
                SharedFailure::OutcomeUnknown => {}
                failure => {
                    for reply in replies {
                        let word = failure.error().map(Err);
                        let _ = reply.send(word.map_or(Word::OnYourOwn, Word::Answer));
                    }
                }
            }
        }
    }
}

/// Returns when nobody waits for any of these.
async fn all_are_gone<T>(replies: &mut [oneshot::Sender<T>]) {
    for reply in replies {
        reply.closed().await;
    }
}

impl<Q: Send + 'static, A: Send + 'static> Drop for Turn<Q, A> {
    fn drop(&mut self) {
        self.lane.lock().come_back(self.runtime.id(), self.era);
        self.lane.depart(&self.runtime);
    }
}

impl<Q: Send + 'static, A: Send + 'static> Drop for Place<Q, A> {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}

impl<Q: Send + 'static, A: Send + 'static> fmt::Debug for Lane<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (under_way, queued) = self.0.lock().count();
        f.debug_struct("Lane")
            .field("verb", &self.0.verb)
            .field("limits", &self.0.limits)
            .field("under_way", &under_way)
            .field("queued", &queued)
            .finish_non_exhaustive()
    }
}
