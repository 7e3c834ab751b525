//! The one database session that a process keeps for itself: it listens, it keeps holds alive that
//! are attached to it, and it carries the heartbeats. It lives on the background thread.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, watch},
    time::{sleep, sleep_until, timeout},
};

use super::{
    Repository,
    dedicated::{Dedicated, Heard, Way},
    pooler::lends_sessions,
    sqlstate::not_connected,
};
use crate::{
    backend::{Attachment, TrustWindow},
    background::Background,
    domain::Error,
};

/// How often it is looked whether the connection is closed.
const LOOK: Duration = Duration::from_millis(50);

/// How often the session is asked whether it is still there.
const PING: Duration = Duration::from_secs(2);

/// How long it is trusted after it was last asked with success. The server gives up a client that is
/// cut off after 10 seconds (`attach_session` sets that), never earlier: by then this side has
/// given up.
const TRUST: Duration = Duration::from_secs(8);

/// How long opening it may take, and how soon after a failure it is tried again.
const OPENING: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the session when it is first needed, and again when it is lost.
#[derive(Debug)]
pub(super) struct OwnSession {
    way: Way,
    repository: Repository,
    background: Background,
    current: Mutex<Current>,
    /// Where there can be no session: a connection that a pooler serves, for calls that must not
    /// depend on the application's runtime, as those of its pool may.
    lent: std::sync::Mutex<Option<Dedicated>>,
}

#[derive(Debug, Default)]
enum Current {
    #[default]
    Never,
    Open(Arc<Session>),
    /// There is a pooler in between that lends its sessions: there can be none of our own.
    Impossible(String),
    Failed {
        at: Instant,
        error: Error,
        instead_of: Option<i64>,
    },
}

impl Current {
    /// The session, if there is one that has not ended.
    fn open(&self) -> Option<Arc<Session>> {
        match self {
            Self::Open(session) if !session.has_ended() => Some(Arc::clone(session)),
            _ => None,
        }
    }
}

/// An open session.
pub(super) struct Session {
    connection: Dedicated,
    /// Its number: the advisory key it holds, and the name of its channel.
    pub(super) number: i64,
    /// Whether notifications are heard.
    pub(super) listens: bool,
    process_id: i32,
    trusted: Arc<TrustWindow>,
    ended: watch::Sender<bool>,
}

impl OwnSession {
    pub(super) fn new(way: Way, repository: Repository, background: Background) -> Self {
        Self {
            way,
            repository,
            background,
            current: Mutex::default(),
            lent: std::sync::Mutex::default(),
        }
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    pub(super) fn background(&self) -> &Background {
        &self.background
    }

    /// The session, opened if need be.
    ///
    /// # Errors
    /// [`Error::NoSession`] if there can be none, [`Error::PermissionDenied`] or
    /// [`Error::InvalidUrl`] if the server refuses it, [`Error::Unavailable`] if there is none now.
    pub(super) async fn get(self: &Arc<Self>, heard: Heard) -> Result<Arc<Session>, Error> {
        // Mostly it is there: then nobody has to be scheduled first.
        if let Ok(current) = self.current.try_lock()
            && let Some(session) = current.open()
        {
            return Ok(session);
        }
        let this = Arc::clone(self);
        // A caller that gives up must not leave the session half open.
        let opened = self.background.run(async move { this.open(heard).await });
        opened.await.unwrap_or_else(|error| {
            Err(Error::Unavailable {
                source: error.into(),
            })
        })
    }

    /// A connection without a session, to be given back if it is as good as before.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn borrow(self: &Arc<Self>) -> Result<Dedicated, Error> {
        let kept = self.lent().take();
        if let Some(connection) = kept.filter(|connection| !connection.is_closed()) {
            return Ok(connection);
        }
        let this = Arc::clone(self);
        let unavailable = |source| Error::Unavailable { source };
        let opened = self.background.run(async move {
            let opening = this.way.open(Arc::new(|_| {}));
            match timeout(OPENING, opening).await {
                Ok(opened) => opened.map_err(|error| not_opened(&this.way, error)),
                Err(elapsed) => Err(unavailable(elapsed.into())),
            }
        });
        opened
            .await
            .unwrap_or_else(|error| Err(unavailable(error.into())))
    }

    pub(super) fn give_back(&self, connection: Dedicated) {
        *self.lent() = Some(connection);
    }

    fn lent(&self) -> std::sync::MutexGuard<'_, Option<Dedicated>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, heard: Heard) -> Result<Arc<Session>, Error> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.open() {
            return Ok(session);
        }
        let instead_of = match &*current {
            Current::Open(session) => Some(session.number),
            Current::Impossible(reason) => {
                return Err(Error::NoSession {
                    reason: reason.clone(),
                });
            }
            Current::Failed { at, error, .. } if at.elapsed() < PAUSE => {
                return Err(again(error));
            }
            Current::Failed { instead_of, .. } => *instead_of,
            Current::Never => None,
        };
        let opening = Session::open(&self.way, &self.repository, heard, instead_of);
        let opened = match timeout(OPENING, opening).await {
            Ok(opened) => opened,
            Err(elapsed) => Err(Error::Unavailable {
                source: elapsed.into(),
            }),
        };
        match opened {
            Ok(session) => {
                crate::observe::session_opened();
                let session = Arc::new(session);
                self.background.spawn(watch_over(
                    Arc::downgrade(&session),
                    session.connection.ended(),
                ));
                *current = Current::Open(Arc::clone(&session));
                Ok(session)
            }
            Err(Error::NoSession { reason }) => {
                *current = Current::Impossible(reason.clone());
                Err(Error::NoSession { reason })
            }
            Err(error) => {
                let error = match error {
                    // Opening it decides about nothing.
                    Error::OutcomeUnknown { source, .. } => Error::Unavailable { source },
                    other => other,
                };
                if !matches!(*current, Current::Failed { .. }) {
                    tracing::warn!(%error, "no own session: nothing can be attached to it, and who waits asks again and again");
                }
                let told = again(&error);
                *current = Current::Failed {
                    at: Instant::now(),
                    error,
                    instead_of,
                };
                Err(told)
            }
        }
    }
}

/// Why a connection of the process's own could not be opened, and what to do about it.
pub(super) fn not_opened(way: &Way, error: tokio_postgres::Error) -> Error {
    let with_advice = |reason| match way.hears() {
        true => format!(
            "{reason}; this is the connection beside the pool: correct the URL that leads straight \
             to PostgreSQL (MutexesBuilder::direct_url; if none was given, that of connect)"
        ),
        false => reason,
    };
    match not_connected(error) {
        Error::PermissionDenied { reason } => Error::PermissionDenied {
            reason: with_advice(reason),
        },
        Error::InvalidUrl { reason } => Error::InvalidUrl {
            reason: with_advice(reason),
        },
        other => other,
    }
}

/// The same failure, for one who asks again soon after it.
fn again(error: &Error) -> Error {
    match error {
        Error::PermissionDenied { reason } => Error::PermissionDenied {
            reason: reason.clone(),
        },
        Error::InvalidUrl { reason } => Error::InvalidUrl {
            reason: reason.clone(),
        },
        Error::NotMigrated { schema, reason } => Error::NotMigrated {
            schema: schema.clone(),
            reason: reason.clone(),
        },
        Error::Unavailable { source } => Error::Unavailable {
            source: source.to_string().into(),
        },
        other => Error::Unavailable {
            source: other.to_string().into(),
        },
    }
}

impl Session {
    async fn open(
        way: &Way,
        repository: &Repository,
        heard: Heard,
        instead_of: Option<i64>,
    ) -> Result<Self, Error> {
        let opened = way.open(heard).await;
        let connection = opened.map_err(|error| not_opened(way, error))?;
        let process_id = repository.process_id(&*connection).await?;
        refuse_lent_session(way, repository, &connection, process_id).await?;
        let asked = Instant::now();
        let number = repository
            .attach_session(&*connection, way.hears(), instead_of)
            .await?;
        Ok(Self {
            connection,
            number,
            listens: way.hears(),
            process_id,
            trusted: Arc::new(TrustWindow::new(asked, TRUST)),
            ended: watch::Sender::new(false),
        })
    }

    pub(super) fn client(&self) -> &tokio_postgres::Client {
        &self.connection
    }

    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow() || self.trusted.is_over() || self.connection.is_closed()
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(super) fn attachment(&self) -> Attachment {
        Attachment::new(
            self.number.unsigned_abs(),
            Arc::clone(&self.trusted),
            self.ended.subscribe(),
        )
    }

    /// Asks whether the session is still there, and still the same.
    async fn ping(&self, repository_row: &str) -> Result<(), String> {
        let asked = Instant::now();
        let answer = timeout(PING * 2, self.connection.query_typed(repository_row, &[])).await;
        let rows = answer
            .map_err(|elapsed| elapsed.to_string())?
            .map_err(|error| error.to_string())?;
        let process_id: Option<i32> = rows.first().and_then(|row| row.try_get(0).ok());
        if process_id != Some(self.process_id) {
            return Err("a pooler has lent the connection another session".to_owned());
        }
        match self.trusted.extend(asked, TRUST) {
            true => Ok(()),
            false => Err("it has not answered in time".to_owned()),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("number", &self.number)
            .field("listens", &self.listens)
            .finish_non_exhaustive()
    }
}

/// Says when the session has ended: when the connection says so, when it cannot be trusted any more,
/// or when it turns out to be another.
async fn watch_over(session: Weak<Session>, ended: impl Future<Output = ()>) {
    let mut ended = std::pin::pin!(ended);
    let Some(trusted) = session
        .upgrade()
        .map(|session| Arc::clone(&session.trusted))
    else {
        return;
    };
    let reason = loop {
        tokio::select! {
            () = &mut ended => break "the connection has ended".to_owned(),
            () = is_over(&trusted) => break "it has not answered in time".to_owned(),
            () = is_closed(&session) => break "the connection has ended".to_owned(),
            () = sleep(PING) => {}
        }
        let Some(session) = session.upgrade() else {
            return;
        };
        if session.connection.is_closed() {
            break "the connection has ended".to_owned();
        }
        // A question under way must not put off saying that it is over.
        let answer = tokio::select! {
            () = &mut ended => break "the connection has ended".to_owned(),
            () = is_over(&trusted) => break "it has not answered in time".to_owned(),
            answer = session.ping(Repository::PROCESS_ID) => answer,
        };
        match answer {
            Ok(()) => {}
            Err(reason) if trusted.is_over() || session.connection.is_closed() => {
                break reason;
            }
            Err(reason) if reason.starts_with("a pooler") => break reason,
            Err(reason) => tracing::debug!(%reason, "own session does not answer"),
        }
    };
    if let Some(session) = session.upgrade() {
        tracing::warn!(%reason, "own session lost; what is attached to it is over");
        session.ended.send_replace(true);
    }
}

/// Returns when the connection turns out to be closed: some cannot say so themselves.
async fn is_closed(session: &Weak<Session>) {
    loop {
        sleep(LOOK).await;
        match session.upgrade() {
            Some(session) if !session.connection.is_closed() => {}
            _ => return,
        }
    }
}

/// Returns when a window has ended that is not extended meanwhile.
async fn is_over(window: &TrustWindow) {
    match window.end() {
        Some(end) => sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}

/// What is missed here shows at a ping.
async fn refuse_lent_session(
    way: &Way,
    repository: &Repository,
    connection: &Dedicated,
    process_id: i32,
) -> Result<(), Error> {
    let mut second = match way.open(Arc::new(|_| {})).await {
        Ok(second) => second,
        Err(error) => {
            tracing::debug!(%error, "no second connection to look for a pooler with");
            return Ok(());
        }
    };
    match lends_sessions(repository, connection, process_id, &mut second).await? {
        true => Err(Error::NoSession {
            reason: "there is a pooler in transaction mode in between, which lends its sessions"
                .to_owned(),
        }),
        false => Ok(()),
    }
}
