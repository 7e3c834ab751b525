use super::{
    Capture, CaptureAll, ForceRelease, Mutexes, Refresh, Release, capture_all::Place, request,
};
use crate::{
    backend::MutexBackend,
    current_owner::current_owner,
    domain::{
        Error, FencingToken, MutexId, MutexOwner, MutexQuery, MutexState, Page, Result, Wish,
    },
    postgres::{Transaction, TransactionBackend},
};

/// The verbs inside a caller's transaction: see
/// [`Mutexes::in_transaction`](crate::Mutexes::in_transaction).
///
/// What is captured here is held, for everyone else, from the commit on; until then their calls
/// about the same mutex wait, at most 5 seconds each. After an error of the database the
/// transaction is over, as after any such error; [`Error::Busy`] and [`Error::Lost`] are answers
/// and leave it as it was.
///
/// Groups that are routed to another backend keep their mutexes there: they do not take part in the
/// transaction.
#[derive(Debug)]
pub struct InTransaction<'a> {
    mutexes: &'a Mutexes,
    transaction: Option<TransactionBackend<'a>>,
}

impl<'a> InTransaction<'a> {
    pub(super) fn new(mutexes: &'a Mutexes, transaction: &'a Transaction<'a>) -> Self {
        Self {
            mutexes,
            transaction: mutexes.parts.postgres.as_ref().map(|postgres| {
                TransactionBackend::new(postgres.repository().clone(), transaction)
            }),
        }
    }
}

impl InTransaction<'_> {
    /// As [`Mutexes::capture`].
    pub fn capture(&self, wish: impl Into<Wish>) -> Capture<'_> {
        let wish = wish.into();
        Capture::new(self.backend(&wish.id), &self.mutexes.parts.rules, wish)
    }

    /// As [`Mutexes::capture_all`], without waiting.
    pub fn capture_all(&self, wishes: impl IntoIterator<Item = impl Into<Wish>>) -> CaptureAll<'_> {
        let wishes: Vec<Wish> = wishes.into_iter().map(Into::into).collect();
        let routes = &self.mutexes.parts.routes;
        let all_here = wishes.iter().all(|wish| !routes.is_routed(wish.id.group()));
        let place = match &self.transaction {
            Some(transaction) if all_here => {
                Place::Transaction(transaction, &self.mutexes.parts.rules)
            }
            _ => Place::Ward(self.mutexes.common_ward(wishes.iter().map(|wish| &wish.id))),
        };
        CaptureAll::new(place, wishes)
    }

    /// As [`Mutexes::refresh`].
    ///
    /// The refreshed row stays locked until the transaction ends. A capture or release of the same
    /// mutex later in it can meet someone who forces its release at that moment, each waiting for
    /// the other: PostgreSQL then ends one of the two with a deadlock.
    pub fn refresh(&self, id: &MutexId) -> Refresh<'_> {
        Refresh::new(self.backend(id), id)
    }

    /// As [`Mutexes::release`].
    pub fn release(&self, id: &MutexId) -> Release<'_> {
        Release::new(self.backend(id), id)
    }

    /// As [`Mutexes::request`].
    pub async fn request(&self, id: &MutexId) -> Result<MutexState> {
        self.request_by(id, &current_owner()).await
    }

    /// As [`Mutexes::request_by`].
    pub async fn request_by(&self, id: &MutexId, owner: &MutexOwner) -> Result<MutexState> {
        request(self.backend(id), &self.mutexes.parts.rules, id, owner).await
    }

    /// As [`Mutexes::list`], with what the transaction itself has done.
    pub async fn list(&self, query: &MutexQuery) -> Result<Page> {
        match &self.transaction {
            Some(transaction) if !self.goes_elsewhere(query) => transaction.list(query).await,
            _ => self.mutexes.list(query).await,
        }
    }

    /// As [`Mutexes::count`], with what the transaction itself has done.
    pub async fn count(&self, query: &MutexQuery) -> Result<u64> {
        match &self.transaction {
            Some(transaction) if !self.goes_elsewhere(query) => transaction.count(query).await,
            _ => self.mutexes.count(query).await,
        }
    }

    /// As [`Mutexes::force_release`].
    pub fn force_release(&self, id: &MutexId, reason: impl Into<String>) -> ForceRelease<'_> {
        ForceRelease::new(self.backend(id), id, reason.into())
    }

    /// Makes this transaction fail unless the hold with this token still holds. From here to the
    /// commit nobody can capture the mutex: what the transaction writes is written by the
    /// holder, or not at all.
    ///
    /// Call it in the transaction that writes what the mutex protects, first if you can. It serves
    /// every isolation level. The holder's refreshes go on meanwhile; its release answers
    /// [`Error::Busy`] until this transaction has ended.
    ///
    /// ```no_run
    /// # async fn example(mutexes: pgmutex::Mutexes, client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// # let id = pgmutex::MutexId::new("reports", "write", "2026-11")?;
    /// let mutex = mutexes.capture(&id).await?;
    /// // … long work, which may take longer than the hold lasts …
    /// let transaction = client.transaction().await?;
    /// mutexes.in_transaction(&transaction).fence(&id, mutex.fencing_token).await?;
    /// transaction.execute("update report set body = 'new text' where id = '2026-11'", &[]).await?;
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold is over or gone: the transaction has failed, roll it back.
    /// [`Error::Unavailable`] if the mutex is kept in another backend, which no transaction of
    /// PostgreSQL's can protect.
    pub async fn fence(&self, id: &MutexId, token: FencingToken) -> Result<()> {
        match &self.transaction {
            Some(transaction) if !self.mutexes.parts.routes.is_routed(id.group()) => {
                transaction.fence(id, token).await
            }
            _ => Err(Error::Unavailable {
                source:
                    "this mutex is not kept in PostgreSQL: a transaction cannot be fenced with it"
                        .into(),
            }),
        }
    }

    fn goes_elsewhere(&self, query: &MutexQuery) -> bool {
        let routes = &self.mutexes.parts.routes;
        query
            .group
            .as_ref()
            .is_some_and(|group| routes.is_routed(group))
    }

    fn backend(&self, id: &MutexId) -> &dyn MutexBackend {
        match &self.transaction {
            Some(transaction) if !self.mutexes.parts.routes.is_routed(id.group()) => transaction,
            _ => self.mutexes.backend(id),
        }
    }
}
