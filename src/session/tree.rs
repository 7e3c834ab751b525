//! Paths of trees: what is held or waited for above and below one.

use chrono::{DateTime, Utc};

use super::{
    line::Waiter,
    place::{Place, is_over},
    store::Store,
};
use crate::{
    backend::CaptureRequest,
    domain::{Access, Mutex, MutexId, MutexOwner, Reach, is_above, is_path},
};

/// Whether a hold at another path is in the way of whoever wants this one, as long as it is not over.
pub(super) fn keeps_out(hold: &Mutex, id: &MutexId, owner: &MutexOwner, access: Access) -> bool {
    let reaches_here = match is_above(hold.id.id(), id.id()) {
        true => hold.reach.children,
        false => hold.reach.parents,
    };
    let is_shared = hold.permit > 0 && access.is_shared();
    reaches_here && !is_shared && !hold.check_owner(owner)
}

/// Whether one who waits at another path must be served before a later one here, or the other way
/// round: one of the two would be in the other's way.
pub(super) fn must_take_turns(
    waiter: &Waiter,
    at: &MutexId,
    id: &MutexId,
    (owner, access, reach): (&MutexOwner, Access, Reach),
) -> bool {
    let reaches = match is_above(at.id(), id.id()) {
        true => waiter.reach.children || reach.parents,
        false => waiter.reach.parents || reach.children,
    };
    let is_shared = waiter.access.is_shared() && access.is_shared();
    reaches && !is_shared && !waiter.owner.is_same(owner)
}

impl Store {
    /// The places above and below a path; none for a plain mutex.
    pub(super) fn around(&self, id: &MutexId) -> impl Iterator<Item = (&MutexId, &Place)> {
        let beside = || self.above(id).chain(self.below(id));
        is_path(id.id()).then(beside).into_iter().flatten()
    }

    /// The first hold above or below a path that is in the way.
    pub(super) fn hold_in_the_way(
        &self,
        id: &MutexId,
        owner: &MutexOwner,
        access: Access,
        now: DateTime<Utc>,
    ) -> Option<&Mutex> {
        self.around(id)
            .flat_map(|(_, place)| place.holds.values())
            .find(|hold| !is_over(hold, now) && keeps_out(hold, id, owner, access))
    }

    /// One who came before, at a path above or below, as the hold that it is going to have.
    pub(super) fn waiter_in_the_way(
        &self,
        request: &CaptureRequest,
        ticket: Option<i64>,
    ) -> Option<Mutex> {
        let wish = (&request.owner, request.access, request.reach);
        self.first_waiter_in_the_way(&request.id, ticket, wish)
    }

    fn first_waiter_in_the_way(
        &self,
        id: &MutexId,
        ticket: Option<i64>,
        wish: (&MutexOwner, Access, Reach),
    ) -> Option<Mutex> {
        self.around(id).find_map(|(at, place)| {
            let mut line = place.line.iter();
            line.find(|(number, waiter)| {
                ticket.is_none_or(|ticket| **number < ticket)
                    && must_take_turns(waiter, at, id, wish)
            })
            .map(|(_, waiter)| waiter.as_hold(at))
        })
    }

    /// What is in the way of one who waits at a path, beside what there is at the path itself.
    pub(super) fn in_the_way_of_ticket(
        &self,
        id: &MutexId,
        ticket: i64,
        now: DateTime<Utc>,
    ) -> Option<Mutex> {
        let waiter = self.place(id)?.line.get(&ticket)?;
        self.hold_in_the_way(id, &waiter.owner, waiter.access, now)
            .cloned()
            .or_else(|| {
                let wish = (&waiter.owner, waiter.access, waiter.reach);
                self.first_waiter_in_the_way(id, Some(ticket), wish)
            })
    }

    /// Who is before the first one in a line.
    pub(super) fn owner_ahead_of(
        &self,
        id: &MutexId,
        ticket: i64,
        now: DateTime<Utc>,
    ) -> Option<MutexOwner> {
        let holder = self.live(id, now).next().map(|hold| hold.owner.clone());
        let beside = || self.in_the_way_of_ticket(id, ticket, now);
        holder.or_else(|| beside().map(|hold| hold.owner))
    }

    /// Removes the holds above and below a path that would be in the way if they were not over.
    pub(super) fn evict_around(
        &mut self,
        request: &CaptureRequest,
        now: DateTime<Utc>,
    ) -> Vec<Mutex> {
        let at: Vec<MutexId> = self.around(&request.id).map(|(at, _)| at.clone()).collect();
        let in_the_way =
            |hold: &Mutex| keeps_out(hold, &request.id, &request.owner, request.access);
        let mut evicted = Vec::new();
        for id in at {
            evicted.extend(self.at(&id, now, |place| {
                place.remove(|hold| is_over(hold, now) && in_the_way(hold))
            }));
        }
        evicted
    }

    /// Tells everyone around a path who could be let in.
    pub(super) fn wake_around(&self, id: &MutexId, now: DateTime<Utc>) {
        let here = self.place(id).map(|place| (id, place));
        for (at, place) in self.around(id).chain(here) {
            if let Some((ticket, first)) = place.line.first_key_value()
                && place.has_room(first.access, now)
                && (!is_path(at.id()) || self.in_the_way_of_ticket(at, *ticket, now).is_none())
            {
                first.ring();
            }
        }
    }
}
