//! Who waits for a mutex, in which order, and how the next one learns that its turn may have come.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::{place::Place, store::Store};
use crate::{
    backend::{CaptureRequest, Ticket},
    domain::{
        Access, AutoRelease, FencingToken, Mutex, MutexId, MutexOwner, Reach, Waiter as Listed,
    },
};

/// How long a waiter waits at most before it is to ask again without a reason.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// One who waits for a mutex. One whose future is gone stays until it leaves.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) owner: MutexOwner,
    pub(super) access: Access,
    pub(super) reach: Reach,
    pub(super) while_holding: Vec<FencingToken>,
    queued_since: DateTime<Utc>,
    /// Remembers a ring that nobody waited for.
    bell: Arc<Notify>,
}

impl Waiter {
    /// As the hold that it is going to have, without a token.
    pub(super) fn as_hold(&self, id: &MutexId) -> Mutex {
        let mut hold = Mutex::new(
            id.clone(),
            self.owner.clone(),
            AutoRelease::Never,
            FencingToken::new(0),
            self.queued_since,
        );
        hold.permit = u32::from(self.access.is_shared());
        hold.permits = self.access.permits();
        hold.reach = self.reach;
        hold
    }

    /// As people see it.
    pub(super) fn as_listed(
        &self,
        id: &MutexId,
        place: u64,
        ticket: i64,
        behind: Option<MutexOwner>,
    ) -> Listed {
        Listed {
            id: id.clone(),
            place,
            ticket,
            access: self.access,
            reach: self.reach,
            owner: self.owner.clone(),
            behind_session: behind.as_ref().map(|owner| owner.session_id().to_owned()),
            behind_name: behind.map(|owner| owner.name().to_owned()),
            queued_since: self.queued_since,
        }
    }

    /// Tells it to ask again.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }
}

/// When it is worth asking again.
#[derive(Debug)]
pub(super) enum Prospect {
    Now,
    WhenRung { bell: Arc<Notify>, within: Duration },
}

impl Place {
    pub(super) fn ticket_of(&self, owner: &MutexOwner) -> Option<i64> {
        self.line
            .iter()
            .find(|(_, waiter)| waiter.owner.is_same(owner))
            .map(|(number, _)| *number)
    }

    /// Who must have been served before: before this ticket, or before a newcomer.
    pub(super) fn first_before(&self, ticket: Option<i64>) -> Option<&Waiter> {
        self.line
            .first_key_value()
            .filter(|(number, _)| ticket.is_none_or(|ticket| **number < ticket))
            .map(|(_, waiter)| waiter)
    }

    /// Puts someone into the line with this ticket, and gives the place that it had there before.
    pub(super) fn join(
        &mut self,
        request: &CaptureRequest,
        while_holding: &[FencingToken],
        number: i64,
        now: DateTime<Utc>,
    ) -> Option<(i64, Waiter)> {
        let before = self
            .ticket_of(&request.owner)
            .and_then(|number| self.line.remove_entry(&number));
        let (queued_since, bell) = match &before {
            Some((_, waiter)) => (waiter.queued_since, Arc::clone(&waiter.bell)),
            None => (now, Arc::default()),
        };
        let waiter = Waiter {
            owner: request.owner.clone(),
            access: request.access,
            reach: request.reach,
            while_holding: while_holding.to_vec(),
            queued_since,
            bell,
        };
        self.line.insert(number, waiter);
        before
    }

    /// Gives up an owner's place, and says whether there was one.
    pub(super) fn leave(&mut self, owner: &MutexOwner) -> bool {
        self.ticket_of(owner)
            .is_some_and(|number| self.line.remove(&number).is_some())
    }

    /// Tells the first waiter to ask again, if it could be let in. To be called after every change
    /// that may let someone in.
    pub(super) fn wake(&self, now: DateTime<Utc>) {
        if let Some((_, first)) = self.line.first_key_value()
            && self.has_room(first.access, now)
        {
            first.ring();
        }
    }

    fn prospect(&self, number: i64, in_the_way: Option<&Mutex>, now: DateTime<Utc>) -> Prospect {
        let Some(waiter) = self.line.get(&number) else {
            return Prospect::Now;
        };
        let is_first = self.first_before(Some(number)).is_none();
        if is_first && in_the_way.is_none() && self.has_room(waiter.access, now) {
            return Prospect::Now;
        }
        let holds = self.live(now).chain(in_the_way);
        let first_end = holds.filter_map(|hold| hold.expires_at).min();
        let left = first_end.and_then(|end| {
            // A hold is over when its end has passed.
            let passed = end.checked_add_signed(TimeDelta::milliseconds(1))?;
            (passed - now).to_std().ok()
        });
        Prospect::WhenRung {
            bell: Arc::clone(&waiter.bell),
            within: left.map_or(LONGEST_WAIT, |left| left.min(LONGEST_WAIT)),
        }
    }
}

impl Store {
    /// When it is worth asking again with a ticket.
    pub(super) fn prospect(&self, ticket: &Ticket, now: DateTime<Utc>) -> Prospect {
        // What is in the way may be at another path than the one that is waited for.
        let waited_for = |(_, place): &(&MutexId, &Place)| place.line.contains_key(&ticket.number);
        let holders = self
            .place(&ticket.holder.id)
            .map(|place| (&ticket.holder.id, place));
        let Some((id, place)) = holders
            .filter(waited_for)
            .or_else(|| self.places().find(waited_for))
        else {
            return Prospect::Now;
        };
        let in_the_way = self.in_the_way_of_ticket(id, ticket.number, now);
        place.prospect(ticket.number, in_the_way.as_ref(), now)
    }

    pub(super) fn leave_line(&mut self, id: &MutexId, owner: &MutexOwner, now: DateTime<Utc>) {
        self.at(id, now, |place| {
            if place.leave(owner) {
                place.wake(now);
            }
        });
    }
}
