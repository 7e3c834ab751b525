//! Calls about one mutex, and about which there are.

use tokio_postgres::{GenericClient, types::Type};

use super::{
    super::{
        call::{Call, Parameter},
        row::{self, Outcome},
    },
    Repository,
};
use crate::{
    backend::{
        CaptureRequest, ForceReleaseRequest, Observed, RefreshRequest, ReleaseRequest, StateRequest,
    },
    domain::{
        Access, Captured, Error, FencingToken, ForceReleased, Mutex, MutexId, MutexQuery,
        MutexState, Page, Released,
    },
};

impl Repository {
    /// Calls `capture`.
    ///
    /// # Errors
    /// [`Error::Busy`] if another holds the mutex; all others that the database can answer with.
    pub async fn capture<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &CaptureRequest,
    ) -> Result<Captured, Error> {
        let call = self.call(client, "capture", Some(&request.id));
        let answer = self
            .ask_to_capture(&call, request, false, None, &[])
            .await?;
        call.captured(answer)
    }

    /// Calls `capture`; with a listener, in order to wait.
    pub(super) async fn ask_to_capture<C: GenericClient + Sync>(
        &self,
        call: &Call<'_, C>,
        request: &CaptureRequest,
        wait: bool,
        listener: Option<i64>,
        while_holding: &[i64],
    ) -> Result<Outcome, Error> {
        let (rule, config) = match &request.auto_release {
            Some(auto_release) => {
                let (rule, config) = auto_release.dump();
                (Some(rule), Some(config))
            }
            None => (None, None),
        };
        let (id, owner) = (&request.id, &request.owner);
        call.decide(
            &self.statements.hot.capture,
            &[
                (&id.group(), Type::TEXT),
                (&id.mode(), Type::TEXT),
                (&id.id(), Type::TEXT),
                (&owner.session_id(), Type::TEXT),
                (&owner.host(), Type::TEXT),
                (&owner.user_id(), Type::TEXT),
                (&owner.login(), Type::TEXT),
                (&owner.name(), Type::TEXT),
                (&rule, Type::TEXT),
                (&config, Type::TEXT),
                (&request.status_data, Type::TEXT),
                (&access_word(request.access), Type::TEXT),
                (&permits(request.access), Type::INT4),
                (&wait, Type::BOOL),
                (&listener, Type::INT8),
                (&while_holding, Type::INT8_ARRAY),
                (&request.reach.parents, Type::BOOL),
                (&request.reach.children, Type::BOOL),
            ],
        )
        .await
    }

    /// Calls `refresh`.
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::Busy`] if the hold is gone; all others that the database can
    /// answer with.
    pub async fn refresh<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &RefreshRequest,
    ) -> Result<Mutex, Error> {
        let (id, token) = (&request.id, request.token.map(FencingToken::get));
        let call = self.call(client, "refresh", Some(id));
        let answer = call
            .decide(
                &self.statements.hot.refresh,
                &[
                    (&id.group(), Type::TEXT),
                    (&id.mode(), Type::TEXT),
                    (&id.id(), Type::TEXT),
                    (&request.owner.session_id(), Type::TEXT),
                    (&token, Type::INT8),
                    (&request.status_data, Type::TEXT),
                ],
            )
            .await?;
        match answer.word.as_str() {
            "refreshed" => call.read(answer.mutex()),
            "not_held" => Err(Error::Lost {
                id: id.clone(),
                token: request.token,
            }),
            _ => Err(call.refused(&answer)),
        }
    }

    /// Calls `release`. With `durable` false it does not wait for the disk, which is right only
    /// where the call is a transaction of its own.
    ///
    /// # Errors
    /// [`Error::Busy`] if another holds the mutex; all others that the database can answer with.
    pub async fn release<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &ReleaseRequest,
        durable: bool,
    ) -> Result<Released, Error> {
        let (id, token) = (&request.id, request.token.map(FencingToken::get));
        let call = self.call(client, "release", Some(id));
        let answer = call
            .decide(
                &self.statements.hot.release,
                &[
                    (&id.group(), Type::TEXT),
                    (&id.mode(), Type::TEXT),
                    (&id.id(), Type::TEXT),
                    (&request.owner.session_id(), Type::TEXT),
                    (&token, Type::INT8),
                    (&durable, Type::BOOL),
                ],
            )
            .await?;
        match answer.word.as_str() {
            "released" => Ok(Released::Released(Box::new(call.read(answer.mutex())?))),
            "not_held" => Ok(Released::NotHeld),
            _ => Err(call.refused(&answer)),
        }
    }

    /// Calls `request`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn request<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &StateRequest,
    ) -> Result<Observed<MutexState>, Error> {
        let id = &request.id;
        let call = self.call(client, "request", Some(id));
        let answer = call
            .decide(
                &self.statements.request,
                &[
                    (&id.group(), Type::TEXT),
                    (&id.mode(), Type::TEXT),
                    (&id.id(), Type::TEXT),
                    (&request.owner.session_id(), Type::TEXT),
                ],
            )
            .await?;
        let value = match answer.word.as_str() {
            "free" => MutexState::Free,
            "captured_by_me" => MutexState::CapturedByMe(call.read(answer.mutex())?),
            "captured_by_other" => MutexState::CapturedByOther(call.read(answer.mutex())?),
            _ => return Err(call.refused(&answer)),
        };
        Ok(Observed {
            value,
            at: answer.observed_at,
        })
    }

    /// Calls `holder_in_the_way`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn holder_in_the_way<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &CaptureRequest,
    ) -> Result<Observed<Option<Mutex>>, Error> {
        let id = &request.id;
        let call = self.call(client, "holder_in_the_way", Some(id));
        let answer = call
            .decide(
                &self.statements.holder_in_the_way,
                &[
                    (&id.group(), Type::TEXT),
                    (&id.mode(), Type::TEXT),
                    (&id.id(), Type::TEXT),
                    (&request.owner.session_id(), Type::TEXT),
                    (&access_word(request.access), Type::TEXT),
                    (&permits(request.access), Type::INT4),
                    (&request.reach.parents, Type::BOOL),
                    (&request.reach.children, Type::BOOL),
                ],
            )
            .await?;
        let value = match answer.word.as_str() {
            "free" => None,
            "busy" => Some(call.read(answer.mutex())?),
            _ => return Err(call.refused(&answer)),
        };
        Ok(Observed {
            value,
            at: answer.observed_at,
        })
    }

    /// Calls `list`. Unlike the others it may be called on a standby and in any transaction.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn list<C: GenericClient + Sync>(
        &self,
        client: &C,
        query: &MutexQuery,
    ) -> Result<Page, Error> {
        let call = self.call(client, "list", None);
        let start = i64::try_from(query.start).unwrap_or(i64::MAX);
        let page_size = query.page_size.map_or(-1, i64::from);
        let after = query.after.as_ref();
        let after_group = after.map(|position| position.id.group());
        let after_mode = after.map(|position| position.id.mode());
        let after_id = after.map(|position| position.id.id());
        let after_permit = after.map(|position| i32::try_from(position.permit).unwrap_or(i32::MAX));
        let mut parameters = filters(query);
        parameters.extend::<[Parameter<'_>; 6]>([
            (&start, Type::INT8),
            (&page_size, Type::INT8),
            (&after_group, Type::TEXT),
            (&after_mode, Type::TEXT),
            (&after_id, Type::TEXT),
            (&after_permit, Type::INT4),
        ]);
        let rows = call.rows(&self.statements.list, &parameters).await?;
        let mutexes = rows
            .iter()
            .map(|row| call.read(row::mutex(row, 0)))
            .collect::<Result<Vec<Mutex>, Error>>()?;
        Ok(Page::new(mutexes, query))
    }

    /// Calls `list_count`, which reads all the holds that it counts.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn list_count<C: GenericClient + Sync>(
        &self,
        client: &C,
        query: &MutexQuery,
    ) -> Result<u64, Error> {
        let call = self.call(client, "count", None);
        call.number(&self.statements.list_count, &filters(query))
            .await
    }

    /// Calls `evict`, and says whether the hold was removed.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn evict<C: GenericClient + Sync>(
        &self,
        client: &C,
        id: &MutexId,
        token: FencingToken,
    ) -> Result<bool, Error> {
        let answer = self
            .call(client, "evict", Some(id))
            .decide(
                &self.statements.evict,
                &[
                    (&id.group(), Type::TEXT),
                    (&id.mode(), Type::TEXT),
                    (&id.id(), Type::TEXT),
                    (&token.get(), Type::INT8),
                ],
            )
            .await?;
        Ok(answer.word == "released")
    }

    /// Calls `fence`, which means something inside a transaction only.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold is over or gone: the transaction has failed then; all others
    /// that the database can answer with.
    pub async fn fence<C: GenericClient + Sync>(
        &self,
        client: &C,
        id: &MutexId,
        token: FencingToken,
    ) -> Result<(), Error> {
        let call = Call {
            token: Some(token),
            ..self.call(client, "fence", Some(id))
        };
        call.one_row(
            &self.statements.fence,
            &[
                (&id.group(), Type::TEXT),
                (&id.mode(), Type::TEXT),
                (&id.id(), Type::TEXT),
                (&token.get(), Type::INT8),
            ],
        )
        .await?;
        Ok(())
    }

    /// Calls `force_release`.
    ///
    /// # Errors
    /// [`Error::Busy`] while the holder writes behind its fence; all others that the database can
    /// answer with.
    pub async fn force_release<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &ForceReleaseRequest,
    ) -> Result<ForceReleased, Error> {
        let (id, token) = (&request.id, request.token.map(FencingToken::get));
        let call = self.call(client, "force_release", Some(id));
        let answer = call
            .decide(
                &self.statements.force_release,
                &[
                    (&id.group(), Type::TEXT),
                    (&id.mode(), Type::TEXT),
                    (&id.id(), Type::TEXT),
                    (&request.reason, Type::TEXT),
                    (&token, Type::INT8),
                ],
            )
            .await?;
        match answer.word.as_str() {
            "released" => Ok(ForceReleased::Released(Box::new(
                call.read(answer.mutex())?,
            ))),
            "not_held" => Ok(ForceReleased::NotHeld),
            _ => Err(call.refused(&answer)),
        }
    }

    /// Calls `sweep` for one batch.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn sweep<C: GenericClient + Sync>(&self, client: &C) -> Result<u64, Error> {
        self.call(client, "sweep", None)
            .number(&self.statements.sweep, &[])
            .await
    }

    /// Calls `ensure_generation`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn ensure_generation<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<u64, Error> {
        let call = self.call(client, "connecting", None);
        call.number(&self.statements.ensure_generation, &[]).await
    }

    /// Reads the server's clock.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn now<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<chrono::DateTime<chrono::Utc>, Error> {
        let call = self.call(client, "reading the clock", None);
        let row = call.one_row("select clock_timestamp()", &[]).await?;
        call.read(row::time(&row, 0))
    }
}

fn filters(query: &MutexQuery) -> Vec<Parameter<'_>> {
    vec![
        (&query.group, Type::TEXT),
        (&query.mode, Type::TEXT),
        (&query.mutex_id, Type::TEXT),
        (&query.mutex_id_prefix, Type::TEXT),
        (&query.session_id, Type::TEXT),
        (&query.user_id, Type::TEXT),
        (&query.login, Type::TEXT),
        (&query.auto_release_rule, Type::TEXT),
        (&query.include_over, Type::BOOL),
    ]
}

/// The word that stands for an access.
pub(super) fn access_word(access: Access) -> &'static str {
    match access {
        Access::Exclusive => "exclusive",
        Access::Shared { .. } => "shared",
    }
}

/// The limit, as its column takes it; one that is out of range is refused by the database.
pub(super) fn permits(access: Access) -> Option<i32> {
    access
        .permits()
        .map(|permits| i32::try_from(permits).unwrap_or(0))
}
