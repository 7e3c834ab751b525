//! Several mutexes in one call.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{
    capturing::{InTheWay, check},
    store::Store,
};
use crate::{
    backend::{
        CaptureAllRequest, CaptureRequest, CapturedAll, ReleaseRequest, ReleasedEach, Ticket,
    },
    domain::{Captured, Error, Mutex, MutexId, MutexOwner, Released, Result},
};

/// As many requests as one call of the SQL functions takes.
const MOST_REQUESTS: usize = 1000;

impl Store {
    pub(super) fn capture_each(
        &mut self,
        requests: &[CaptureRequest],
        now: DateTime<Utc>,
    ) -> Result<Vec<Result<Captured>>> {
        refuse_too_many(requests.len())?;
        requests
            .iter()
            .try_for_each(|request| check(request, now))?;
        let capture = |request| self.capture(request, now);
        Ok(requests.iter().map(capture).collect())
    }

    /// Captures all, or none; then it joins all the lines, if that is wanted.
    pub(super) fn capture_all(
        &mut self,
        request: &CaptureAllRequest,
        now: DateTime<Utc>,
    ) -> Result<CapturedAll> {
        let captures = request.captures.as_slice();
        check_together(captures)?;
        captures
            .iter()
            .try_for_each(|capture| check(capture, now))?;
        let blockers: Vec<InTheWay> = captures
            .iter()
            .filter_map(|capture| self.in_the_way(capture, now))
            .collect();
        let may_wait = blockers.iter().all(|blocker| blocker.may_be_waited_for);
        match blockers.into_iter().next() {
            None => {
                let capture = |capture| self.capture(capture, now);
                let captured = captures.iter().map(capture);
                captured.collect::<Result<_>>().map(CapturedAll::Captured)
            }
            Some(blocker) if request.wait && may_wait => self.wait_for(request, blocker, now),
            Some(blocker) => {
                let asked = asked_for(captures, &blocker.holder).clone();
                Err(blocker.refuse(&asked, now))
            }
        }
    }

    /// One ticket, with a place in every line: whoever has the smallest ticket of all is first
    /// wherever it stands, so no two who wait for several can wait for each other.
    fn wait_for(
        &mut self,
        request: &CaptureAllRequest,
        blocker: InTheWay,
        now: DateTime<Utc>,
    ) -> Result<CapturedAll> {
        // What it holds already it does not wait for.
        let wanted: Vec<&CaptureRequest> = request
            .captures
            .iter()
            .filter(|capture| {
                let mut holds = self.live(&capture.id, now);
                !holds.any(|hold| hold.check_owner(&capture.owner))
            })
            .collect();
        // The latest of its places, if it has one in every line; else a new one in all. An earlier
        // place carried into a line would pass those who came there before.
        let tickets: Option<Vec<i64>> = wanted
            .iter()
            .map(|capture| self.place(&capture.id)?.ticket_of(&capture.owner))
            .collect();
        let number = match tickets.and_then(|tickets| tickets.into_iter().max()) {
            Some(latest) => latest,
            None => self.next_ticket(),
        };
        let while_holding = &request.while_holding;
        let mut before = Vec::new();
        for capture in &wanted {
            before.push(self.at(&capture.id, now, |place| {
                place.join(capture, while_holding, number, now)
            }));
        }
        let circle = wanted
            .iter()
            .find_map(|capture| self.circle_of_waiting(capture, number, while_holding, now));
        let Some(circle) = circle else {
            return Ok(CapturedAll::Queued(Ticket {
                number,
                holder: blocker.holder,
                observed_at: now,
            }));
        };
        for (capture, before) in wanted.iter().zip(before) {
            self.at(&capture.id, now, |place| {
                place.line.remove(&number);
                place.line.extend(before);
            });
        }
        Err(Error::WaitCircle {
            id: match request.captures.first() {
                Some(first) => first.id.clone(),
                None => blocker.holder.id,
            },
            circle,
        })
    }

    pub(super) fn release_each(
        &mut self,
        requests: &[ReleaseRequest],
        now: DateTime<Utc>,
    ) -> Result<Vec<ReleasedEach>> {
        refuse_too_many(requests.len())?;
        let release = |request| match self.release(request, now) {
            Ok(released) => ReleasedEach::Done(released),
            Err(other) => ReleasedEach::Busy(other.holder),
        };
        Ok(requests.iter().map(release).collect())
    }

    pub(super) fn release_owner(
        &mut self,
        owner: &MutexOwner,
        now: DateTime<Utc>,
    ) -> Vec<ReleasedEach> {
        let concerned: Vec<MutexId> = self
            .places()
            .filter(|(_, place)| {
                place.holds.values().any(|hold| hold.check_owner(owner))
                    || place.ticket_of(owner).is_some()
            })
            .map(|(id, _)| id.clone())
            .collect();
        let release = |id| {
            let released = self.release(
                &ReleaseRequest {
                    id,
                    owner: owner.clone(),
                    token: None,
                },
                now,
            );
            released.ok().filter(Released::is_released)
        };
        concerned
            .into_iter()
            .filter_map(release)
            .map(ReleasedEach::Done)
            .collect()
    }
}

/// For which of these mutexes a hold is in the way.
fn asked_for<'a>(captures: &'a [CaptureRequest], holder: &'a Mutex) -> &'a MutexId {
    match captures {
        [one] => &one.id,
        _ => &holder.id,
    }
}

fn refuse(reason: &str) -> Result<()> {
    Err(Error::Refused {
        reason: reason.to_owned(),
    })
}

fn refuse_too_many(requests: usize) -> Result<()> {
    match requests > MOST_REQUESTS {
        true => refuse("at most 1000 requests go into one call"),
        false => Ok(()),
    }
}

fn check_together(captures: &[CaptureRequest]) -> Result<()> {
    refuse_too_many(captures.len())?;
    let owners = captures.iter().map(|capture| capture.owner.session_id());
    if owners.collect::<BTreeSet<_>>().len() > 1 {
        return refuse("all requests must be for one owner_session");
    }
    let ids = captures.iter().map(|capture| &capture.id);
    if ids.collect::<BTreeSet<_>>().len() < captures.len() {
        return refuse("a mutex is named twice");
    }
    Ok(())
}
