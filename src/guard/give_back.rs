//! Giving back where nobody waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::acquire::Asker;
use crate::{
    backend::{Attachment, MutexBackend, ReleaseRequest},
    domain::{CaptureOutcome, Captured, Error, FencingToken, MutexId, MutexOwner},
};

/// Between two attempts while the database does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long it is tried.
const GIVING_BACK: Duration = Duration::from_secs(30);

/// Takes back what a request has left in the database.
pub(super) async fn leave_nothing(backend: &Arc<dyn MutexBackend>, asker: Asker, traces: Traces) {
    if !(traces.queued || traces.uncertain || traces.captured) {
        return;
    }
    let Asker {
        ids,
        owner,
        is_its_own,
    } = asker;
    if is_its_own {
        let everything = ids.into_iter().map(|id| (id, None)).collect();
        give_back_in_time(backend, &owner, everything).await;
        return;
    }
    // The owner may hold these mutexes for reasons of its own.
    let captured = traces
        .new_holds
        .into_iter()
        .map(|(id, token)| (id, Some(token)))
        .collect();
    give_back_in_time(backend, &owner, captured).await;
    for id in &ids {
        if let Err(error) = backend.leave_line(id, &owner).await {
            tracing::warn!(mutex = %id, %error, "a place in line is left behind");
        }
    }
}

/// What may have to be taken back.
#[derive(Debug, Default)]
pub(super) struct Traces {
    pub(super) queued: bool,
    pub(super) uncertain: bool,
    /// Under which session was asked last, if under one.
    pub(super) session: Option<u64>,
    /// Asking again would make it worse.
    pub(super) is_hopeless: bool,
    captured: bool,
    /// Those of the captured ones that the owner did not have before.
    new_holds: Vec<(MutexId, FencingToken)>,
}

impl Traces {
    pub(super) fn found(&mut self, holds: &[(Captured, Option<Attachment>)]) {
        self.captured = true;
        self.new_holds = holds
            .iter()
            .filter(|(captured, _)| captured.outcome != CaptureOutcome::Refreshed)
            .map(|(captured, _)| (captured.id.clone(), captured.fencing_token))
            .collect();
    }
}

/// Gives holds back where nobody waits for it: again and again for a while, then their rules are
/// the net.
pub(super) async fn give_back_in_time(
    backend: &Arc<dyn MutexBackend>,
    owner: &MutexOwner,
    holds: Vec<(MutexId, Option<FencingToken>)>,
) {
    let since = Instant::now();
    for (id, token) in holds {
        let request = ReleaseRequest {
            id,
            owner: owner.clone(),
            token,
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match backend.release(&request).await {
                Ok(_) => break,
                // The holder itself, in a transaction behind its fence; or another, who has it now.
                Err(error) if error.is_transient() || held_by(&error, owner) => error,
                Err(error) if error.is_busy() => break,
                Err(error) => {
                    tracing::warn!(mutex = %request.id, %error, "not released; its rule will end the hold");
                    break;
                }
            };
            if since.elapsed() > GIVING_BACK {
                tracing::warn!(mutex = %request.id, %error, "not released; its rule will end the hold");
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn held_by(error: &Error, owner: &MutexOwner) -> bool {
    matches!(error, Error::Busy { holder, .. } if holder.check_owner(owner))
}
