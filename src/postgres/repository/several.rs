//! Calls about several mutexes at once.

use serde::Serialize;
use tokio_postgres::{GenericClient, types::Type};

use super::{
    super::{call::Call, row::Outcome},
    Repository,
    one::{access_word, permits},
};
use crate::{
    backend::{
        CaptureAllRequest, CaptureRequest, CapturedAll, ReleaseRequest, ReleasedEach, Ticket,
    },
    domain::{Captured, Error, FencingToken, MutexId, MutexOwner, Released, Result},
};

/// A request as the functions for several mutexes take it.
#[derive(Serialize)]
struct CaptureObject<'a> {
    mutex_group: &'a str,
    mutex_mode: &'a str,
    mutex_id: &'a str,
    owner_session: &'a str,
    owner_host: &'a str,
    owner_id: &'a str,
    owner_login: &'a str,
    owner_name: &'a str,
    auto_release_rule: Option<String>,
    auto_release_config: Option<String>,
    status_data: Option<&'a str>,
    access: &'static str,
    permits: Option<i32>,
    lock_parents: bool,
    lock_children: bool,
}

#[derive(Serialize)]
struct ReleaseObject<'a> {
    mutex_group: &'a str,
    mutex_mode: &'a str,
    mutex_id: &'a str,
    owner_session: &'a str,
    fencing_token: Option<i64>,
}

impl<'a> From<&'a CaptureRequest> for CaptureObject<'a> {
    fn from(request: &'a CaptureRequest) -> Self {
        let rule = request.auto_release.as_ref().map(|rule| rule.dump());
        let (id, owner) = (&request.id, &request.owner);
        Self {
            mutex_group: id.group(),
            mutex_mode: id.mode(),
            mutex_id: id.id(),
            owner_session: owner.session_id(),
            owner_host: owner.host(),
            owner_id: owner.user_id(),
            owner_login: owner.login(),
            owner_name: owner.name(),
            auto_release_rule: rule.as_ref().map(|(code, _)| code.clone()),
            auto_release_config: rule.map(|(_, config)| config),
            status_data: request.status_data.as_deref(),
            access: access_word(request.access),
            permits: permits(request.access),
            lock_parents: request.reach.parents,
            lock_children: request.reach.children,
        }
    }
}

impl<'a> From<&'a ReleaseRequest> for ReleaseObject<'a> {
    fn from(request: &'a ReleaseRequest) -> Self {
        Self {
            mutex_group: request.id.group(),
            mutex_mode: request.id.mode(),
            mutex_id: request.id.id(),
            owner_session: request.owner.session_id(),
            fencing_token: request.token.map(FencingToken::get),
        }
    }
}

impl Repository {
    /// Calls `capture_each`. Each answer is a capture or [`Error::Busy`].
    ///
    /// # Errors
    /// All that the database can answer with; then nothing was captured.
    pub async fn capture_each<C: GenericClient + Sync>(
        &self,
        client: &C,
        requests: &[CaptureRequest],
    ) -> Result<Vec<Result<Captured>>> {
        let call = self.call(client, "capture_each", None);
        let text = json(requests.iter().map(CaptureObject::from))?;
        let answers = call
            .decide_each(
                &self.statements.capture_each,
                &[(&text, Type::TEXT)],
                requests.len(),
            )
            .await?;
        answers
            .into_iter()
            .zip(requests)
            .map(|(answer, request)| {
                let call = self.call(client, "capture_each", Some(&request.id));
                match call.captured(answer) {
                    Err(error) if !error.is_busy() => Err(error),
                    outcome => Ok(outcome),
                }
            })
            .collect()
    }

    /// Calls `capture_all`, or `capture` if there is but one, for a listener if the asker wants to
    /// wait.
    ///
    /// # Errors
    /// [`Error::Busy`] if one of them is busy and the asker does not want to wait;
    /// [`Error::WaitCircle`]; all others that the database can answer with.
    pub async fn capture_all<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &CaptureAllRequest,
        listener: Option<i64>,
    ) -> Result<CapturedAll> {
        let while_holding: Vec<i64> = request
            .while_holding
            .iter()
            .map(|token| token.get())
            .collect();
        let first = request.captures.first();
        let call = self.call(client, "capture", first.map(|first| &first.id));
        let answers = match request.captures.as_slice() {
            [] => return Ok(CapturedAll::Captured(Vec::new())),
            [one] => {
                let answer = self
                    .ask_to_capture(&call, one, request.wait, listener, &while_holding)
                    .await?;
                vec![answer]
            }
            several => {
                let text = json(several.iter().map(CaptureObject::from))?;
                call.answers(
                    &self.statements.capture_all,
                    &[
                        (&text, Type::TEXT),
                        (&request.wait, Type::BOOL),
                        (&listener, Type::INT8),
                        (&while_holding, Type::INT8_ARRAY),
                    ],
                )
                .await?
            }
        };
        let is_refusal = |answer: &Outcome| matches!(answer.word.as_str(), "busy" | "queued");
        if let Some(blocker) = answers.iter().find(|answer| is_refusal(answer)) {
            return self.in_line_or_busy(&call, &request.captures, blocker);
        }
        if answers.len() != request.captures.len() {
            return Err(call.senseless(format!("{} rows", answers.len())));
        }
        let captured = answers.into_iter().map(|answer| call.captured(answer));
        captured.collect::<Result<_>>().map(CapturedAll::Captured)
    }

    pub(super) fn in_line_or_busy<C: GenericClient + Sync>(
        &self,
        call: &Call<'_, C>,
        captures: &[CaptureRequest],
        blocker: &Outcome,
    ) -> Result<CapturedAll> {
        let holder = call.read(blocker.mutex())?;
        match call.read(blocker.ticket())? {
            Some(number) if blocker.word == "queued" => Ok(CapturedAll::Queued(Ticket {
                number,
                holder: Box::new(holder),
                observed_at: blocker.observed_at,
            })),
            _ => Err(Error::Busy {
                // For a path it may be the hold of another one.
                id: match captures {
                    [one] => one.id.clone(),
                    _ => holder.id.clone(),
                },
                holder: Box::new(holder),
                observed_at: blocker.observed_at,
            }),
        }
    }

    /// Calls `release_each`. With `durable` false it does not wait for the disk, which is right only
    /// where the call is a transaction of its own.
    ///
    /// # Errors
    /// All that the database can answer with; then nothing was released.
    pub async fn release_each<C: GenericClient + Sync>(
        &self,
        client: &C,
        requests: &[ReleaseRequest],
        durable: bool,
    ) -> Result<Vec<ReleasedEach>> {
        let call = self.call(client, "release_each", None);
        let text = json(requests.iter().map(ReleaseObject::from))?;
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&text, Type::TEXT), (&durable, Type::BOOL)];
        let answers = call
            .decide_each(&self.statements.release_each, &parameters, requests.len())
            .await?;
        answers
            .iter()
            .zip(requests)
            .map(|(answer, request)| self.released(client, answer, &request.id))
            .collect()
    }

    /// Calls `release_owner`, for up to 1,000 mutexes: call it again until it releases none.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn release_owner<C: GenericClient + Sync>(
        &self,
        client: &C,
        owner: &MutexOwner,
    ) -> Result<Vec<ReleasedEach>> {
        let call = self.call(client, "release_owner", None);
        let answers = call
            .answers(
                &self.statements.release_owner,
                &[(&owner.session_id(), Type::TEXT)],
            )
            .await?;
        answers
            .iter()
            .map(|answer| {
                let id = call.read(answer.mutex())?.id;
                self.released(client, answer, &id)
            })
            .collect()
    }

    fn released<C: GenericClient + Sync>(
        &self,
        client: &C,
        answer: &Outcome,
        id: &MutexId,
    ) -> Result<ReleasedEach> {
        let call = self.call(client, "release_each", Some(id));
        Ok(match answer.word.as_str() {
            "not_held" => ReleasedEach::Done(Released::NotHeld),
            "released" => {
                ReleasedEach::Done(Released::Released(Box::new(call.read(answer.mutex())?)))
            }
            "busy" => ReleasedEach::Busy(Box::new(call.read(answer.mutex())?)),
            _ => return Err(call.refused(answer)),
        })
    }
}

/// The requests as text, which the statement casts: no type of the driver's is needed for it.
fn json(requests: impl Iterator<Item = impl Serialize>) -> Result<String> {
    let objects: Vec<_> = requests.collect();
    serde_json::to_string(&objects).map_err(|error| Error::InvalidInput {
        field: "requests",
        reason: error.to_string(),
    })
}
