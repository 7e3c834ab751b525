//! Mutexes kept in the process, for as long as a request lasts.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex as StdMutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use chrono::{DateTime, Utc};

use crate::{
    backend::{
        BackendFuture, CaptureAllRequest, CaptureRequest, CapturedAll, ForceReleaseRequest,
        HoldToKeep, MutexBackend, NotKept, Observed, RefreshRequest, ReleaseRequest, ReleasedEach,
        StateRequest, Ticket,
    },
    domain::{
        AutoRelease, CaptureOutcome, Captured, Error, Evicted, FencingToken, ForceReleased, Mutex,
        MutexId, MutexOwner, MutexQuery, MutexState, Page, PagePosition, Released, Result,
    },
};

type Holds = Arc<StdMutex<BTreeMap<MutexId, Mutex>>>;
type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

tokio::task_local! {
    static REQUEST: Holds;
}

/// Keeps mutexes in the process: nobody outside sees them, and they end with it.
///
/// [`per_request`](Self::per_request) keeps them for the request that is being served, so that the
/// parts of a program that work on one request exclude each other; [`new`](Self::new) keeps them
/// for as long as the backend lives, which suits unit tests. All verbs answer as PostgreSQL's
/// would.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), pgmutex::Error> {
/// use pgmutex::{MutexId, MutexOwner, Mutexes, SessionBackend};
///
/// let mutexes = Mutexes::builder().backend(SessionBackend::new());
/// let id = MutexId::new("", "report", "7")?;
/// mutexes.capture(&id).owner(MutexOwner::new("a")?).await?;
/// assert!(mutexes.capture(&id).owner(MutexOwner::new("b")?).await.unwrap_err().is_busy());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionBackend {
    /// `None`: those of the request.
    holds: Option<Holds>,
    clock: Clock,
}

/// Tokens grow across all backends of the process.
static LAST_TOKEN: AtomicI64 = AtomicI64::new(0);

impl SessionBackend {
    /// Mutexes that live as long as this backend and its clones.
    pub fn new() -> Self {
        Self {
            holds: Some(Holds::default()),
            clock: Arc::new(Utc::now),
        }
    }

    /// Mutexes that live as long as the enclosing [`scope`](Self::scope). Outside of any scope
    /// every verb answers [`Error::OutsideScope`].
    pub fn per_request() -> Self {
        Self {
            holds: None,
            clock: Arc::new(Utc::now),
        }
    }

    /// With another clock: what it says is the time that decides when holds are over.
    pub fn with_clock(mut self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Runs a future as one request, with mutexes of its own. They are gone when it ends or is
    /// dropped. Tasks that it spawns are outside.
    pub async fn scope<F: Future>(future: F) -> F::Output {
        REQUEST.scope(Holds::default(), future).await
    }

    /// Runs one decision, alone and at one time.
    fn decide<T>(
        &self,
        decision: impl FnOnce(&mut BTreeMap<MutexId, Mutex>, DateTime<Utc>) -> Result<T>,
    ) -> Result<T> {
        let holds = match &self.holds {
            Some(holds) => Arc::clone(holds),
            None => REQUEST
                .try_with(Arc::clone)
                .map_err(|_| Error::OutsideScope)?,
        };
        let mut holds: MutexGuard<'_, _> = holds.lock().unwrap_or_else(PoisonError::into_inner);
        decision(&mut holds, (self.clock)())
    }
}

impl Default for SessionBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SessionBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBackend")
            .field("per_request", &self.holds.is_none())
            .finish_non_exhaustive()
    }
}

fn is_over(mutex: &Mutex, now: DateTime<Utc>) -> bool {
    mutex.expires_at.is_some_and(|end| end < now)
}

fn busy(holder: &Mutex, now: DateTime<Utc>) -> Error {
    Error::Busy {
        id: holder.id.clone(),
        holder: Box::new(holder.clone()),
        observed_at: now,
    }
}

fn refuse_past_deadline(rule: &AutoRelease, now: DateTime<Utc>) -> Result<()> {
    match rule {
        AutoRelease::Deadline(deadline) if *deadline <= now => Err(Error::Refused {
            reason: "auto_release_config: this deadline has already passed".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Starts the hold's time again.
fn renew(held: &mut Mutex, now: DateTime<Utc>, status_data: Option<&String>) {
    held.captured_since = now;
    held.expires_at = held.auto_release.ends_at(now);
    if let Some(status_data) = status_data.filter(|text| !text.is_empty()) {
        held.status_data = Some(status_data.clone());
    }
}

fn capture(
    holds: &mut BTreeMap<MutexId, Mutex>,
    now: DateTime<Utc>,
    request: &CaptureRequest,
) -> Result<Captured> {
    if let Some(rule) = &request.auto_release {
        refuse_past_deadline(rule, now)?;
    }
    let mut outcome = CaptureOutcome::Captured;
    match holds.get_mut(&request.id) {
        Some(held) if is_over(held, now) => {
            outcome = CaptureOutcome::Evicted(Evicted::new(
                held.owner.session_id().to_owned(),
                held.owner.name().to_owned(),
                held.fencing_token,
            ));
        }
        Some(held) if held.check_owner(&request.owner) => {
            if let Some(rule) = &request.auto_release {
                held.auto_release = rule.clone();
            }
            renew(held, now, request.status_data.as_ref());
            return Ok(Captured::new(held.clone(), CaptureOutcome::Refreshed));
        }
        Some(held) => return Err(busy(held, now)),
        None => {}
    }
    let auto_release = request.auto_release.clone().unwrap_or_default();
    let token = FencingToken::new(LAST_TOKEN.fetch_add(1, Ordering::Relaxed) + 1);
    let mut mutex = Mutex::new(
        request.id.clone(),
        request.owner.clone(),
        auto_release,
        token,
        now,
    );
    mutex.status_data.clone_from(&request.status_data);
    holds.insert(request.id.clone(), mutex.clone());
    Ok(Captured::new(mutex, outcome))
}

fn refresh(
    holds: &mut BTreeMap<MutexId, Mutex>,
    now: DateTime<Utc>,
    request: &RefreshRequest,
) -> Result<Mutex> {
    match holds.get_mut(&request.id) {
        Some(held) if is_over(held, now) => {}
        Some(held) if !held.check_owner(&request.owner) => return Err(busy(held, now)),
        Some(held)
            if request
                .token
                .is_none_or(|token| token == held.fencing_token) =>
        {
            renew(held, now, request.status_data.as_ref());
            return Ok(held.clone());
        }
        _ => {}
    }
    Err(Error::Lost {
        id: request.id.clone(),
        token: request.token,
    })
}

fn release(
    holds: &mut BTreeMap<MutexId, Mutex>,
    now: DateTime<Utc>,
    request: &ReleaseRequest,
) -> Result<Released> {
    match holds.get(&request.id) {
        Some(held)
            if held.check_owner(&request.owner)
                && request
                    .token
                    .is_none_or(|token| token == held.fencing_token) =>
        {
            let over = is_over(held, now);
            let released = holds.remove(&request.id).filter(|_| !over);
            Ok(released.map_or(Released::NotHeld, |mutex| {
                Released::Released(Box::new(mutex))
            }))
        }
        Some(held) if !held.check_owner(&request.owner) && !is_over(held, now) => {
            Err(busy(held, now))
        }
        _ => Ok(Released::NotHeld),
    }
}

fn state(
    holds: &mut BTreeMap<MutexId, Mutex>,
    now: DateTime<Utc>,
    request: &StateRequest,
) -> MutexState {
    if holds
        .get(&request.id)
        .is_some_and(|held| is_over(held, now))
    {
        holds.remove(&request.id);
    }
    match holds.get(&request.id) {
        None => MutexState::Free,
        Some(held) if held.check_owner(&request.owner) => MutexState::CapturedByMe(held.clone()),
        Some(held) => MutexState::CapturedByOther(held.clone()),
    }
}

fn list(holds: &BTreeMap<MutexId, Mutex>, now: DateTime<Utc>, query: &MutexQuery) -> Vec<Mutex> {
    let position = |mutex: &Mutex| PagePosition {
        id: mutex.id.clone(),
        permit: mutex.permit,
    };
    holds
        .values()
        .filter(|mutex| query.fits(mutex) && (query.include_over || !is_over(mutex, now)))
        .filter(|mutex| {
            query
                .after
                .as_ref()
                .is_none_or(|after| position(mutex) > *after)
        })
        .skip(usize::try_from(query.start).unwrap_or(usize::MAX))
        .take(query.page_size.map_or(usize::MAX, |size| {
            usize::try_from(size).unwrap_or(usize::MAX)
        }))
        .cloned()
        .collect()
}

impl MutexBackend for SessionBackend {
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured> {
        Box::pin(async { self.decide(|holds, now| capture(holds, now, request)) })
    }

    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex> {
        Box::pin(async { self.decide(|holds, now| refresh(holds, now, request)) })
    }

    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released> {
        Box::pin(async { self.decide(|holds, now| release(holds, now, request)) })
    }

    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>> {
        Box::pin(async {
            self.decide(|holds, now| {
                Ok(Observed {
                    value: state(holds, now, request),
                    at: now,
                })
            })
        })
    }

    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page> {
        Box::pin(async { self.decide(|holds, now| Ok(Page::new(list(holds, now, query), query))) })
    }

    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64> {
        let filters = MutexQuery {
            start: 0,
            page_size: None,
            after: None,
            ..query.clone()
        };
        Box::pin(async move {
            self.decide(|holds, now| {
                Ok(u64::try_from(list(holds, now, &filters).len()).unwrap_or(u64::MAX))
            })
        })
    }

    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool> {
        Box::pin(async move {
            self.decide(|holds, _| {
                let meant = holds.get(id).is_some_and(|held| {
                    held.fencing_token == token
                        && matches!(held.auto_release, AutoRelease::Custom { .. })
                });
                Ok(meant && holds.remove(id).is_some())
            })
        })
    }

    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased> {
        Box::pin(async {
            self.decide(|holds, _| {
                let meant = holds.get(&request.id).is_some_and(|held| {
                    request
                        .token
                        .is_none_or(|token| token == held.fencing_token)
                });
                let released = if meant {
                    holds.remove(&request.id)
                } else {
                    None
                };
                Ok(released.map_or(ForceReleased::NotHeld, |mutex| {
                    ForceReleased::Released(Box::new(mutex))
                }))
            })
        })
    }

    fn sweep(&self) -> BackendFuture<'_, u64> {
        Box::pin(async {
            self.decide(|holds, now| {
                let before = holds.len();
                holds.retain(|_, mutex| !is_over(mutex, now));
                Ok(u64::try_from(before - holds.len()).unwrap_or(u64::MAX))
            })
        })
    }

    fn now(&self) -> BackendFuture<'_, DateTime<Utc>> {
        Box::pin(async { self.decide(|_, now| Ok(now)) })
    }

    fn capture_all<'a>(&'a self, _: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll> {
        todo!()
    }

    fn turn<'a>(&'a self, _: &'a Ticket) -> BackendFuture<'a, ()> {
        todo!()
    }

    fn leave_line<'a>(&'a self, _: &'a MutexId, _: &'a MutexOwner) -> BackendFuture<'a, ()> {
        todo!()
    }

    fn capture_each<'a>(
        &'a self,
        _: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<Result<Captured>>> {
        todo!()
    }

    fn release_each<'a>(&'a self, _: &'a [ReleaseRequest]) -> BackendFuture<'a, Vec<ReleasedEach>> {
        todo!()
    }

    fn release_owner<'a>(&'a self, _: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>> {
        todo!()
    }

    fn keep<'a>(&'a self, _: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>> {
        todo!()
    }
}
