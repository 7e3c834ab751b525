//! Calls about the requests of many callers.

use tokio_postgres::{GenericClient, types::Type};

use super::{
    super::{
        call::{Call, Parameter},
        hot::Hot,
        row::{Outcome, Unreadable},
    },
    Repository,
    one::{access_word, permits},
};
use crate::{
    backend::{CaptureAllRequest, CaptureRequest, CapturedAll, RefreshRequest, ReleaseRequest},
    domain::{
        AutoRelease, CaptureOutcome, Captured, Error, FencingToken, Mutex, MutexId, MutexOwner,
        Reach, Released, Result, is_path,
    },
};

/// Most requests of one call; what is more is left alone.
const MOST: usize = 1000;

/// An answer for each request; `None` for one that was left alone.
type Answers<T> = Vec<Option<Result<T>>>;

impl Repository {
    /// Calls `capture_together`, for a listener if one of the askers wants to wait.
    ///
    /// # Errors
    /// All that the database can answer with; then nothing was captured.
    pub async fn capture_together<C: GenericClient + Sync>(
        &self,
        client: &C,
        requests: &[CaptureAllRequest],
        listener: Option<i64>,
    ) -> Result<Answers<CapturedAll>> {
        let sent = Sent::of(requests, |request| match request.captures.as_slice() {
            [one] if one.reach == Reach::default() => Some((&one.id, &one.owner)),
            _ => None,
        });
        let captures: Vec<&CaptureRequest> = sent
            .requests
            .iter()
            .flat_map(|request| &request.captures)
            .collect();
        let dumped: Vec<Option<(String, String)>> = captures
            .iter()
            .map(|capture| capture.auto_release.as_ref().map(AutoRelease::dump))
            .collect();
        let hosts = said(captures.iter().map(|capture| capture.owner.host()));
        let user_ids = said(captures.iter().map(|capture| capture.owner.user_id()));
        let logins = said(captures.iter().map(|capture| capture.owner.login()));
        let names = said(captures.iter().map(|capture| capture.owner.name()));
        let rules = said(
            dumped
                .iter()
                .map(|dumped| dumped.as_ref().map(|(rule, _)| rule)),
        );
        let configs = said(
            dumped
                .iter()
                .map(|dumped| dumped.as_ref().map(|(_, config)| config)),
        );
        let status_data = said(
            captures
                .iter()
                .map(|capture| capture.status_data.as_deref()),
        );
        let accesses = said(captures.iter().map(|capture| access_word(capture.access)));
        let limits = said(captures.iter().map(|capture| permits(capture.access)));
        let waits = said(sent.requests.iter().map(|request| request.wait));
        let hold_others = said(
            sent.requests
                .iter()
                .map(|request| !request.while_holding.is_empty()),
        );
        let call = self.call(client, "capture", None);
        sent.ask(
            &call,
            &self.statements.hot.capture_together,
            &[
                (&hosts, Type::TEXT_ARRAY),
                (&user_ids, Type::TEXT_ARRAY),
                (&logins, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&rules, Type::TEXT_ARRAY),
                (&configs, Type::TEXT_ARRAY),
                (&status_data, Type::TEXT_ARRAY),
                (&accesses, Type::TEXT_ARRAY),
                (&limits, Type::INT4_ARRAY),
                (&waits, Type::BOOL_ARRAY),
                (&hold_others, Type::BOOL_ARRAY),
                (&listener, Type::INT8),
            ],
            |call, request, answer| {
                if matches!(answer.word.as_str(), "busy" | "queued") {
                    return self.in_line_or_busy(call, &request.captures, &answer);
                }
                let captured = match request.captures.as_slice() {
                    [asked] if call.read(answer.is_without_hold())? => {
                        call.read(captured_as_asked(asked, &answer))?
                    }
                    _ => call.captured(answer)?,
                };
                Ok(CapturedAll::Captured(vec![captured]))
            },
        )
        .await
    }

    /// Calls `refresh_together`.
    ///
    /// # Errors
    /// All that the database can answer with; then nothing was refreshed.
    pub async fn refresh_together<C: GenericClient + Sync>(
        &self,
        client: &C,
        requests: &[RefreshRequest],
    ) -> Result<Answers<Mutex>> {
        let sent = Sent::of(requests, |request| Some((&request.id, &request.owner)));
        let tokens = said(
            sent.requests
                .iter()
                .map(|request| request.token.map(FencingToken::get)),
        );
        let status_data = said(
            sent.requests
                .iter()
                .map(|request| request.status_data.as_deref()),
        );
        let call = self.call(client, "refresh", None);
        sent.ask(
            &call,
            &self.statements.hot.refresh_together,
            &[
                (&tokens, Type::INT8_ARRAY),
                (&status_data, Type::TEXT_ARRAY),
            ],
            |call, request, answer| match answer.word.as_str() {
                "refreshed" => call.read(answer.mutex()),
                "not_held" => Err(Error::Lost {
                    id: request.id.clone(),
                    token: request.token,
                }),
                _ => Err(call.refused(&answer)),
            },
        )
        .await
    }

    /// Calls `release_together`. With `durable` false it does not wait for the disk, which is right
    /// only where the call is a transaction of its own.
    ///
    /// # Errors
    /// All that the database can answer with; then nothing was released.
    pub async fn release_together<C: GenericClient + Sync>(
        &self,
        client: &C,
        requests: &[ReleaseRequest],
        durable: bool,
    ) -> Result<Answers<Released>> {
        let sent = Sent::of(requests, |request| Some((&request.id, &request.owner)));
        let tokens = said(
            sent.requests
                .iter()
                .map(|request| request.token.map(FencingToken::get)),
        );
        let call = self.call(client, "release", None);
        sent.ask(
            &call,
            &self.statements.hot.release_together,
            &[(&tokens, Type::INT8_ARRAY), (&durable, Type::BOOL)],
            |call, _, answer| match answer.word.as_str() {
                "released" => Ok(Released::Released(Box::new(call.read(answer.mutex())?))),
                "not_held" => Ok(Released::NotHeld),
                _ => Err(call.refused(&answer)),
            },
        )
        .await
    }
}

/// The requests that are worth sending. What is decided about a path depends on those above and below
/// it, whom many others may be asking about: it is left alone.
struct Sent<'a, R> {
    requests: Vec<&'a R>,
    names: Vec<(&'a MutexId, &'a MutexOwner)>,
    /// Where each stands among all the requests.
    places: Vec<usize>,
    of: usize,
}

impl<'a, R> Sent<'a, R> {
    fn of(
        requests: &'a [R],
        names: impl Fn(&'a R) -> Option<(&'a MutexId, &'a MutexOwner)>,
    ) -> Self {
        let mut sent = Self {
            requests: Vec::with_capacity(requests.len()),
            names: Vec::with_capacity(requests.len()),
            places: Vec::with_capacity(requests.len()),
            of: requests.len(),
        };
        for (place, request) in requests.iter().enumerate() {
            match names(request) {
                Some((id, owner)) if !is_path(id.id()) && sent.places.len() < MOST => {
                    sent.requests.push(request);
                    sent.names.push((id, owner));
                    sent.places.push(place);
                }
                _ => {}
            }
        }
        sent
    }

    /// Asks about them, and puts each answer where its request stands. `more` is what a function takes
    /// beside the names.
    async fn ask<C: GenericClient + Sync, T>(
        &self,
        call: &Call<'_, C>,
        statement: &Hot,
        more: &[Parameter<'_>],
        read: impl Fn(&Call<'_, C>, &'a R, Outcome) -> Result<T>,
    ) -> Result<Answers<T>> {
        let mut answers: Answers<T> = (0..self.of).map(|_| None).collect();
        if self.requests.is_empty() {
            return Ok(answers);
        }
        let groups = said(self.names.iter().map(|(id, _)| id.group()));
        let modes = said(self.names.iter().map(|(id, _)| id.mode()));
        let ids: Vec<&str> = self.names.iter().map(|(id, _)| id.id()).collect();
        let sessions = said(self.names.iter().map(|(_, owner)| owner.session_id()));
        let mut parameters: Vec<Parameter<'_>> = vec![
            (&groups, Type::TEXT_ARRAY),
            (&modes, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&sessions, Type::TEXT_ARRAY),
        ];
        parameters.extend(more.iter().cloned());
        for answer in call.answers(statement, &parameters).await? {
            // Counted from 1.
            let number = call.read(answer.place())?;
            let sent = usize::try_from(number)
                .ok()
                .and_then(|number| number.checked_sub(1));
            let (Some(request), Some((id, _)), Some(answered)) = (
                sent.and_then(|sent| self.requests.get(sent)),
                sent.and_then(|sent| self.names.get(sent)),
                sent.and_then(|sent| self.places.get(sent))
                    .and_then(|place| answers.get_mut(*place)),
            ) else {
                return Err(call.senseless(format!("an answer to request {number}")));
            };
            let call = Call {
                id: Some(id),
                ..*call
            };
            *answered = Some(read(&call, request, answer));
        }
        Ok(answers)
    }
}

/// What requests say in one column: one value for all, where they say the same.
fn said<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    if let [first, others @ ..] = values.as_slice()
        && others.iter().all(|other| other == first)
    {
        values.truncate(1);
    }
    values
}

/// The capture of which the answer says only what its asker could not know.
fn captured_as_asked(
    asked: &CaptureRequest,
    answer: &Outcome,
) -> std::result::Result<Captured, Unreadable> {
    let (rule, config) = asked.auto_release.clone().unwrap_or_default().dump();
    let mutex = Mutex {
        status_data: asked.status_data.clone(),
        permit: u32::from(asked.access.is_shared()),
        permits: asked.access.permits(),
        expires_at: answer.expires_at()?,
        ..Mutex::new(
            asked.id.clone(),
            asked.owner.clone(),
            AutoRelease::restore(rule, config),
            answer.token()?,
            answer.observed_at,
        )
    };
    Ok(Captured::new(mutex, CaptureOutcome::Captured))
}
