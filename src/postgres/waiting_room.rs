use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    PostgresBackend, Repository,
    dedicated::{Heard, Way},
    lines::{Lines, Look, Pace},
    operation::LookAtLines,
    own_session::{OwnSession, Session},
};
use crate::{
    backend::{HoldToKeep, NotKept},
    background::Background,
    domain::Error,
};

/// How long a look at the lines may take.
const LOOKING: Duration = Duration::from_secs(5);

/// How long to wait for the session where it can be done without.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long those who do not wait may be kept waiting for it by those who do.
const SOON: Duration = Duration::from_millis(10);

/// How long to pause after a look that failed.
const AFTER_A_FAILURE: Duration = Duration::from_millis(250);

/// Every so many looks the tickets themselves are compared too.
const COMPARE: u32 = 5;

/// Where the requests of this process wait: its tickets, and its session if it can have one.
#[derive(Clone, Debug)]
pub(super) struct WaitingRoom {
    own: Arc<OwnSession>,
    lines: Arc<Lines>,
    /// By what the process is known while it has no session.
    number_without_session: i64,
    /// Who may ask at the moment.
    asking: Arc<Semaphore>,
}

/// By what number a process waits, for one who asks now.
pub(super) struct Listener {
    pub(super) number: i64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl WaitingRoom {
    /// For a backend with a pool of this size. Those who ask to wait use half of it at most: however
    /// many they are, they do not keep each other waiting for a connection beyond what a call may
    /// take, nor those who want to release.
    pub(super) fn new(own: OwnSession, pool_size: usize) -> Self {
        Self {
            asking: Arc::new(Semaphore::new((pool_size / 2).max(1))),
            own: Arc::new(own),
            lines: Arc::default(),
            number_without_session: random_number(),
        }
    }

    /// The way of the connection beside the pool.
    pub(super) fn way(&self) -> &Way {
        self.own.way()
    }

    /// Where work goes on that no caller waits for.
    pub(super) fn background(&self) -> &Background {
        self.own.background()
    }

    /// The session of the process.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Error> {
        let lines = Arc::clone(&self.lines);
        let heard: Heard = Arc::new(move |payload| {
            if let Ok(ticket) = payload.parse() {
                lines.wake(ticket);
            }
        });
        self.own.get(heard).await
    }

    /// The session, if it is open or opens soon. Opening goes on in any case.
    pub(super) async fn session_soon(&self) -> Result<Arc<Session>, Error> {
        timeout(PATIENCE, self.session())
            .await
            .unwrap_or_else(|elapsed| {
                Err(Error::Unavailable {
                    source: elapsed.into(),
                })
            })
    }

    /// Makes the heartbeats on a connection of this library's own: they wait neither for a pooled
    /// one nor for the application's runtime.
    pub(super) async fn keep(
        &self,
        repository: &Repository,
        holds: &[HoldToKeep],
    ) -> Result<Vec<NotKept>, Error> {
        match self.session_soon().await {
            Ok(session) => repository.keep(session.client(), holds).await,
            Err(Error::NoSession { .. }) => {
                let connection = self.own.borrow().await?;
                let answer = repository.keep(&*connection, holds).await;
                // Dropped meanwhile, or after an error, it may be of no use.
                if answer.is_ok() {
                    self.own.give_back(connection);
                }
                answer
            }
            Err(error) => Err(error),
        }
    }

    /// By what number the process waits, when it is one's turn to ask.
    pub(super) async fn listener(&self) -> Listener {
        // An error: it was closed, which nobody does.
        let permit = Arc::clone(&self.asking).acquire_owned().await.ok();
        let number = match self.session_soon().await {
            Ok(session) => session.number,
            Err(_) => self.number_without_session,
        };
        Listener {
            number,
            _permit: permit,
        }
    }

    /// By what number it waits for those who travel with others; `None` if that is not known soon.
    /// Then those who wait ask on their own. They need no permit: however many they are, they take
    /// one connection.
    pub(super) async fn listener_of_many(&self) -> Option<i64> {
        match timeout(SOON, self.session()).await {
            Ok(Ok(session)) => Some(session.number),
            Ok(Err(_)) => Some(self.number_without_session),
            Err(_) => None,
        }
    }

    /// Returns when it is worth asking again with this ticket.
    pub(super) async fn turn(&self, backend: &PostgresBackend, ticket: i64) {
        let turn = self.lines.wait(ticket, || {
            self.own.background().spawn(watch(backend.clone()));
        });
        turn.come().await;
    }

    async fn look(
        &self,
        backend: &PostgresBackend,
        session: Option<&Session>,
        tickets: Option<&[i64]>,
    ) -> Result<Vec<Look>, Error> {
        let Some(session) = session else {
            let listener = self.number_without_session;
            return backend.call(LookAtLines { listener, tickets }).await;
        };
        let (client, number) = (session.client(), session.number);
        let looking = backend
            .repository()
            .look_at_lines(client, number, session.listens, tickets);
        timeout(LOOKING, looking).await.unwrap_or_else(|elapsed| {
            Err(Error::Unavailable {
                source: elapsed.into(),
            })
        })
    }
}

/// Looks at the lines for as long as someone waits.
async fn watch(backend: PostgresBackend) {
    let room = backend.waiting();
    let mut pace = Pace::new(false);
    let mut known_as = None;
    let mut looks_to_comparison = 0;
    let watching = room.lines.watching();
    while room.lines.go_on() {
        let session = room.session_soon().await.ok();
        let number = session.as_ref().map(|session| session.number);
        if known_as != Some(number) {
            known_as = Some(number);
            looks_to_comparison = 0;
            pace = Pace::new(session.as_ref().is_some_and(|session| session.listens));
        }
        let tickets = (looks_to_comparison == 0).then(|| room.lines.tickets());
        let looked = room
            .look(&backend, session.as_deref(), tickets.as_deref())
            .await;
        let pause = match looked {
            Ok(looks) => {
                looks_to_comparison = (looks_to_comparison + COMPARE - 1) % COMPARE;
                for look in looks.iter().filter(|look| look.is_my_turn) {
                    room.lines.wake_if_waiting(look.ticket);
                }
                pace.after(&looks)
            }
            Err(error) => {
                tracing::debug!(%error, "the lines could not be looked at");
                looks_to_comparison = 0;
                AFTER_A_FAILURE
            }
        };
        let ended = async {
            match &session {
                Some(session) => session.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = ended => {}
            () = room.lines.added() => {
                let soon = pace.after_an_addition().min(pause);
                sleep(soon).await;
            }
        }
    }
    watching.end();
}

/// As `attach_session` makes one.
fn random_number() -> i64 {
    i64::from_ne_bytes(crate::random::bytes()) & ((1 << 59) - 1)
}
