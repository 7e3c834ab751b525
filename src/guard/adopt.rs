//! Guards for holds that have none.

use std::{sync::Arc, time::Instant};

use super::{
    Guard, GuardParts, Ward, give_back::give_back_in_time, handle::unavailable, settings::Settings,
};
use crate::{
    backend::RefreshRequest,
    background::NotDone,
    domain::{Access, AutoRelease, CaptureOutcome, Captured, Error, Result, Wish},
};

/// Puts a guard on a hold that has none. See [`Mutexes::adopt`](crate::Mutexes::adopt).
pub(crate) async fn adopt(ward: Arc<Ward>, parts: GuardParts) -> Result<Guard> {
    let ward = ward.anchored();
    let background = ward.background.clone();
    let adopting = async move {
        adopt_here(ward, parts)
            .await
            .map(|guard| Adopted(Some(guard)))
    };
    let done = background.run(adopting).await;
    let adopted = done.unwrap_or_else(|error| Err(unavailable(error)));
    adopted?.0.take().ok_or_else(|| unavailable(NotDone))
}

/// A guard that nobody has taken yet. A hold that was handed over is not to be released because the
/// one who was to adopt it is gone: it is as it was, and can be adopted again.
struct Adopted(Option<Guard>);

impl Drop for Adopted {
    fn drop(&mut self) {
        self.0.take().map(Guard::into_parts);
    }
}

async fn adopt_here(ward: Arc<Ward>, parts: GuardParts) -> Result<Guard> {
    let lost = || Error::Lost {
        id: parts.id.clone(),
        token: Some(parts.fencing_token),
    };
    // A capture by the same owner refreshes the hold and gives it this process's session; that it
    // must not make a new hold is made sure of first, and looked at afterwards.
    let refresh = RefreshRequest {
        id: parts.id.clone(),
        owner: parts.owner.clone(),
        token: Some(parts.fencing_token),
        status_data: None,
    };
    let asked = Instant::now();
    let mutex = match ward.backend.refresh(&refresh).await {
        Ok(mutex) => mutex,
        Err(Error::Busy { .. } | Error::Lost { .. }) => return Err(lost()),
        Err(error) => return Err(error),
    };
    // The rule that the hold has, whatever the parts say.
    let mut settings = Settings::default();
    match &mutex.auto_release {
        AutoRelease::Connection { timeout, .. } => {
            settings.attached = true;
            settings.timeout = *timeout;
        }
        AutoRelease::Timeout(timeout) => settings.timeout = Some(*timeout),
        other => settings.rule = Some(other.clone()),
    }
    if !settings.attached {
        let captured = Captured::new(mutex, CaptureOutcome::Refreshed);
        return Ok(Guard::new(ward, captured, None, &settings, asked));
    }
    let wish = Wish {
        id: parts.id.clone(),
        access: Access::of_hold(mutex.permit, mutex.permits),
        reach: mutex.reach,
    };
    let (request, attachment) = settings
        .capture(&*ward.backend, &wish, &parts.owner)
        .await?;
    let asked = Instant::now();
    let captured = match ward.backend.capture(&request).await {
        Ok(captured) => captured,
        Err(error) => {
            if error.is_outcome_unknown() {
                let holds = vec![(parts.id, Some(parts.fencing_token))];
                give_back_in_time(&ward.backend, &parts.owner, holds).await;
            }
            return Err(error);
        }
    };
    let is_same = captured.fencing_token == parts.fencing_token;
    let guard = Guard::new(ward, captured, attachment, &settings, asked);
    if is_same { Ok(guard) } else { Err(lost()) }
}
