//! What a holder does with its hold.

use chrono::{DateTime, Utc};

use super::{
    capturing::InTheWay,
    place::{Place, is_over, renew},
    store::Store,
};
use crate::{
    backend::{HoldToKeep, NotKept, RefreshRequest, ReleaseRequest},
    domain::{Error, Mutex, MutexOwner, Released, Result},
};

impl Store {
    pub(super) fn refresh(
        &mut self,
        request: &RefreshRequest,
        now: DateTime<Utc>,
    ) -> Result<Mutex> {
        let means = |hold: &Mutex| {
            request
                .token
                .is_none_or(|token| token == hold.fencing_token)
        };
        self.at(&request.id, now, |place| {
            let own = place.of_owner(&request.owner);
            if let Some(hold) = own.filter(|hold| means(hold) && !is_over(hold, now)) {
                renew(hold, now, request.status_data.as_ref());
                return Ok(hold.clone());
            }
            Err(match busy(place, &request.owner, now) {
                Some(in_the_way) => in_the_way.refuse(&request.id, now),
                None => Error::Lost {
                    id: request.id.clone(),
                    token: request.token,
                },
            })
        })
    }

    /// Gives a mutex back; or says who else has it.
    pub(super) fn release(
        &mut self,
        request: &ReleaseRequest,
        now: DateTime<Utc>,
    ) -> Result<Released, InTheWay> {
        let means = |hold: &Mutex| {
            request
                .token
                .is_none_or(|token| token == hold.fencing_token)
        };
        self.at(&request.id, now, |place| {
            let own = place
                .remove(|hold| hold.check_owner(&request.owner) && means(hold))
                .pop();
            if request.token.is_none() {
                place.leave(&request.owner);
            }
            place.wake(now);
            match own {
                Some(hold) if is_over(&hold, now) => Ok(Released::NotHeld),
                Some(hold) => Ok(Released::Released(Box::new(hold))),
                None => busy(place, &request.owner, now).map_or(Ok(Released::NotHeld), Err),
            }
        })
    }

    /// Makes the time of many holds start again, and says which are gone.
    pub(super) fn keep(&mut self, holds: &[HoldToKeep], now: DateTime<Utc>) -> Vec<NotKept> {
        holds
            .iter()
            .filter(|kept| {
                self.at(&kept.id, now, |place| {
                    let hold = place
                        .holds
                        .values_mut()
                        .find(|hold| hold.fencing_token == kept.token && !is_over(hold, now));
                    match hold {
                        Some(hold) => {
                            renew(hold, now, None);
                            false
                        }
                        None => true,
                    }
                })
            })
            .map(|lost| NotKept {
                token: lost.token,
                is_lost: true,
            })
            .collect()
    }
}

fn busy(place: &Place, owner: &MutexOwner, now: DateTime<Utc>) -> Option<InTheWay> {
    place.of_another(owner, now).map(|other| InTheWay {
        holder: Box::new(other.clone()),
        may_be_waited_for: true,
    })
}
