//! The decision that must never make two holders.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

use super::{
    place::{Place, renew},
    store::Store,
};
use crate::{
    backend::CaptureRequest,
    domain::{
        Access, AutoRelease, CaptureOutcome, Captured, Error, Evicted, FencingToken, Mutex,
        MutexId, Reach, Result, is_path,
    },
};

/// Tokens grow across all backends of the process.
static LAST_TOKEN: AtomicI64 = AtomicI64::new(0);

fn next_token() -> FencingToken {
    FencingToken::new(LAST_TOKEN.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Why a capture is refused.
#[derive(Debug)]
pub(super) struct InTheWay {
    pub(super) holder: Box<Mutex>,
    /// Not for an owner that has the mutex with others and wants it alone: as soon as two of them
    /// did, neither would ever get it.
    pub(super) may_be_waited_for: bool,
}

impl InTheWay {
    pub(super) fn refuse(self, id: &MutexId, now: DateTime<Utc>) -> Error {
        Error::Busy {
            id: id.clone(),
            holder: self.holder,
            observed_at: now,
        }
    }
}

/// Refuses what could not be meant.
pub(super) fn check(request: &CaptureRequest, now: DateTime<Utc>) -> Result<()> {
    let refuse = |reason: &str| {
        Err(Error::Refused {
            reason: reason.to_owned(),
        })
    };
    match (request.access.check(), &request.auto_release) {
        (Err(error), _) => refuse(&error.to_string()),
        _ if request.reach != Reach::none() && !is_path(request.id.id()) => refuse(
            "lock_parents and lock_children go with a mutex_id that is a path: it begins and ends with a slash",
        ),
        (_, Some(AutoRelease::Deadline(deadline))) if *deadline <= now => {
            refuse("auto_release_config: this deadline has already passed")
        }
        (_, Some(AutoRelease::Connection { .. })) => Err(Error::NoSession {
            reason: "these mutexes are not kept in PostgreSQL".to_owned(),
        }),
        _ => Ok(()),
    }
}

impl Store {
    pub(super) fn capture(
        &mut self,
        request: &CaptureRequest,
        now: DateTime<Utc>,
    ) -> Result<Captured> {
        check(request, now)?;
        self.try_capture(request, now)
            .map_err(|in_the_way| in_the_way.refuse(&request.id, now))
    }

    /// Captures, if what is asked has been checked.
    pub(super) fn try_capture(
        &mut self,
        request: &CaptureRequest,
        now: DateTime<Utc>,
    ) -> Result<Captured, InTheWay> {
        if let Some(in_the_way) = self.beside_the_place(request, now) {
            return Err(in_the_way);
        }
        let place = self.place(&request.id);
        let is_busy = place.is_some_and(|place| place.in_the_way(request, now).is_some());
        let evicted = match is_busy {
            true => Vec::new(),
            false => self.evict_around(request, now),
        };
        self.at(&request.id, now, |place| {
            place.capture(request, evicted, now)
        })
    }

    /// What a capture would be refused for.
    pub(super) fn in_the_way(
        &self,
        request: &CaptureRequest,
        now: DateTime<Utc>,
    ) -> Option<InTheWay> {
        let at_the_place = self.place(&request.id);
        at_the_place
            .and_then(|place| place.in_the_way(request, now))
            .or_else(|| self.beside_the_place(request, now))
    }

    /// What a capture of a path would be refused for that is not at the path itself.
    fn beside_the_place(&self, request: &CaptureRequest, now: DateTime<Utc>) -> Option<InTheWay> {
        let place = self.place(&request.id);
        let own = place.and_then(|place| {
            let mut live = place.live(now);
            live.find(|hold| hold.check_owner(&request.owner))
        });
        let wants_it_alone =
            own.is_some_and(|own| own.permit > 0 && request.access == Access::Exclusive);
        if own.is_some() && !wants_it_alone {
            return None;
        }
        if place.is_some_and(|place| place.in_the_way(request, now).is_some()) {
            return None;
        }
        let holder = self.hold_in_the_way(&request.id, &request.owner, request.access, now);
        let ahead = || {
            let ticket = place.and_then(|place| place.ticket_of(&request.owner));
            self.waiter_in_the_way(request, ticket)
                .filter(|_| own.is_none())
        };
        let holder = holder.cloned().or_else(ahead)?;
        Some(InTheWay {
            holder: Box::new(holder),
            may_be_waited_for: own.is_none(),
        })
    }
}

impl Place {
    fn in_the_way(&self, request: &CaptureRequest, now: DateTime<Utc>) -> Option<InTheWay> {
        let owner = &request.owner;
        let other = self.of_another(owner, now);
        if let Some(own) = self.live(now).find(|hold| hold.check_owner(owner)) {
            let wants_it_alone = own.permit > 0 && request.access == Access::Exclusive;
            return other.filter(|_| wants_it_alone).map(|other| InTheWay {
                holder: Box::new(other.clone()),
                may_be_waited_for: false,
            });
        }
        // First come, first served: whoever came before must have been served.
        let ahead = self.first_before(self.ticket_of(owner));
        let holder = match (other, ahead) {
            (None, None) => None,
            (None, Some(ahead)) => Some(ahead.as_hold(&request.id)),
            (Some(_), None) if self.has_room(request.access, now) => None,
            (Some(other), _) => Some(other.clone()),
        };
        holder.map(|holder| InTheWay {
            holder: Box::new(holder),
            may_be_waited_for: true,
        })
    }

    fn capture(
        &mut self,
        request: &CaptureRequest,
        evicted_beside: Vec<Mutex>,
        now: DateTime<Utc>,
    ) -> Result<Captured, InTheWay> {
        let mut evicted = self.evict(now);
        evicted.extend(evicted_beside);
        let captured = match self.in_the_way(request, now) {
            Some(in_the_way) => Err(in_the_way),
            None => Ok(
                match self.remove(|hold| hold.check_owner(&request.owner)).pop() {
                    Some(own) => self.capture_again(own, request, now),
                    None => self.capture_anew(request, evicted.first(), now),
                },
            ),
        };
        let has_left = captured.is_ok() && self.leave(&request.owner);
        let has_become_shared = captured.as_ref().is_ok_and(|captured| captured.permit > 0);
        if !evicted.is_empty() || has_left || has_become_shared {
            self.wake(now);
        }
        captured
    }

    fn capture_anew(
        &mut self,
        request: &CaptureRequest,
        evicted: Option<&Mutex>,
        now: DateTime<Utc>,
    ) -> Captured {
        let mut hold = Mutex::new(
            request.id.clone(),
            request.owner.clone(),
            request.auto_release.clone().unwrap_or_default(),
            next_token(),
            now,
        );
        hold.status_data.clone_from(&request.status_data);
        hold.reach = request.reach;
        if request.access.is_shared() {
            hold.permit = self.free_permit();
            hold.permits = request.access.permits();
        }
        self.holds.insert(hold.permit, hold.clone());
        let outcome = evicted.map_or(CaptureOutcome::Captured, |evicted| {
            CaptureOutcome::Evicted(Evicted::new(
                evicted.owner.session_id().to_owned(),
                evicted.owner.name().to_owned(),
                evicted.fencing_token,
            ))
        });
        Captured::new(hold, outcome)
    }

    /// Refreshes the hold that the owner has already, or changes it from exclusive to shared, or
    /// back.
    fn capture_again(
        &mut self,
        mut hold: Mutex,
        request: &CaptureRequest,
        now: DateTime<Utc>,
    ) -> Captured {
        let mut outcome = CaptureOutcome::Refreshed;
        match (hold.permit > 0, request.access) {
            (false, Access::Shared { permits }) => {
                hold.permit = self.free_permit();
                hold.permits = permits;
            }
            (true, Access::Exclusive) => {
                // A capture: others may have shared the mutex since, with tokens larger than this
                // hold's.
                hold.permit = 0;
                hold.permits = None;
                hold.fencing_token = next_token();
                outcome = CaptureOutcome::Captured;
            }
            _ => {}
        }
        if let Some(rule) = &request.auto_release {
            hold.auto_release = rule.clone();
        }
        renew(&mut hold, now, request.status_data.as_ref());
        self.holds.insert(hold.permit, hold.clone());
        Captured::new(hold, outcome)
    }
}
