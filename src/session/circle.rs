//! Deadlocks: waiting that could never end.
//!
//! Whoever waits for a mutex waits for its holders and for those before it in line, who with the
//! same ticket may be waiting for other mutexes too. A holder is stuck if something that it waits
//! for is; a mutex is if its stuck holders alone leave no room for all these.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    line::Waiter,
    store::Store,
    tree::{keeps_out, must_take_turns},
};
use crate::{
    backend::CaptureRequest,
    domain::{Access, FencingToken, Mutex, MutexId, MutexOwner},
};

/// How far a circle is followed.
const LONGEST_CIRCLE: usize = 64;

/// One who waits, and what it keeps meanwhile.
struct Search<'a> {
    store: &'a Store,
    asker: &'a MutexOwner,
    ticket: i64,
    while_holding: &'a [FencingToken],
    now: DateTime<Utc>,
    /// The holds that led here.
    passed: Vec<FencingToken>,
    /// Those that were found not to be stuck.
    cleared: Vec<FencingToken>,
}

/// A line of which someone waits for those before it.
struct Line<'a> {
    id: &'a MutexId,
    before: i64,
    /// Who that is; `None`: the one of whom it is asked whether it is stuck.
    behind: Option<&'a MutexOwner>,
    needs: Needs,
}

/// What must be granted before someone has been served.
#[derive(Clone, Copy)]
struct Needs {
    alone: bool,
    strictest: Option<u32>,
}

impl Needs {
    fn of(access: Access) -> Self {
        Self {
            alone: access == Access::Exclusive,
            strictest: access.permits(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            alone: self.alone || other.alone,
            strictest: self.strictest.into_iter().chain(other.strictest).min(),
        }
    }

    /// Whether they can be met while so many holders stay.
    fn can_be_met_beside(self, holders: u32) -> bool {
        holders == 0 || !self.alone && self.strictest.is_none_or(|limit| holders < limit)
    }
}

impl Store {
    /// The circle, in words, if the wait of the asker could never end. It is in line by now.
    pub(super) fn circle_of_waiting(
        &self,
        request: &CaptureRequest,
        ticket: i64,
        while_holding: &[FencingToken],
        now: DateTime<Utc>,
    ) -> Option<String> {
        let owner = &request.owner;
        let mut places = self.places();
        let is_waited_for = places.any(|(id, place)| {
            let is_elsewhere = *id != request.id && place.line.contains_key(&ticket);
            is_elsewhere || place.holds.values().any(|hold| hold.check_owner(owner))
        });
        if while_holding.is_empty() && !is_waited_for {
            return None;
        }
        let mut search = Search {
            store: self,
            asker: owner,
            ticket,
            while_holding,
            now,
            passed: Vec::new(),
            cleared: Vec::new(),
        };
        search
            .circle(&request.id, request.access, ticket)
            .filter(|circle| !circle.is_empty())
            .map(|circle| format!("deadlock: this would wait for {circle}"))
    }
}

impl<'a> Search<'a> {
    /// `None` if the wait of whoever stands there may end; empty if it cannot, though the asker is
    /// no part of that.
    fn circle(&mut self, id: &'a MutexId, access: Access, before: i64) -> Option<String> {
        let mut circle = None;
        for line in self.lines(id, access, before) {
            let found = self.circle_in(&line);
            if let Some(found) = found.as_ref().filter(|found| !found.is_empty()) {
                let through = line.behind.map_or_else(String::new, |waiter| {
                    format!(", behind {}, who waits for {}", name(waiter), line.id)
                });
                return Some(format!("{id}{through}{found}"));
            }
            circle = circle.or(found);
        }
        circle
    }

    /// The line of a mutex, and the other lines in which those stand, with the same tickets, who are
    /// before one there.
    fn lines(&self, id: &'a MutexId, access: Access, before: i64) -> Vec<Line<'a>> {
        let mut own = Line {
            id,
            before,
            behind: None,
            needs: Needs::of(access),
        };
        let mut others: BTreeMap<&MutexId, Line<'a>> = BTreeMap::new();
        let mut unread = vec![(id, before)];
        while let Some((id, before)) = unread.pop() {
            for (other, ticket, waiter) in self.waited_for_too(id, before) {
                let needs = Needs::of(waiter.access);
                match others.get_mut(other) {
                    Some(line) if line.before >= ticket => continue,
                    Some(line) => {
                        line.before = ticket;
                        line.needs = line.needs.and(needs);
                    }
                    None => {
                        let line = Line {
                            id: other,
                            before: ticket,
                            behind: Some(&waiter.owner),
                            needs,
                        };
                        others.insert(other, line);
                    }
                }
                unread.push((other, ticket));
            }
        }
        // A way back to where it began.
        if let Some(further) = others.remove(id) {
            own.before = own.before.max(further.before);
            own.needs = own.needs.and(further.needs);
        }
        std::iter::once(own).chain(others.into_values()).collect()
    }

    /// Where else somebody must be served before one with this ticket here: the other places of
    /// those before it, and, for a path, those before it at paths above and below.
    fn waited_for_too(&self, id: &'a MutexId, before: i64) -> Vec<(&'a MutexId, i64, &'a Waiter)> {
        let store = self.store;
        let mut places = Vec::new();
        let served = self.up_to(id, before);
        for (ticket, _) in served.filter(|(_, waiter)| !waiter.owner.is_same(self.asker)) {
            let others = store.places().filter(|(other, _)| *other != id);
            places.extend(
                others.filter_map(|(other, place)| Some((other, ticket, place.line.get(&ticket)?))),
            );
        }
        for (served, waiter) in self.up_to(id, before) {
            let wish = (&waiter.owner, waiter.access, waiter.reach);
            for (at, place) in store.around(id) {
                let earlier = place.line.range(..served).filter(|(_, other)| {
                    must_take_turns(other, at, id, wish) && !other.owner.is_same(self.asker)
                });
                places.extend(earlier.map(|(ticket, other)| (at, *ticket, other)));
            }
        }
        places
    }

    /// Those before a ticket in a line, other than the asker.
    fn before(
        &self,
        id: &MutexId,
        ticket: i64,
    ) -> impl Iterator<Item = (i64, &'a Waiter)> + use<'a> {
        let (store, asker) = (self.store, self.asker);
        store
            .place(id)
            .into_iter()
            .flat_map(move |place| place.line.range(..ticket))
            .map(|(ticket, waiter)| (*ticket, waiter))
            .filter(|(_, waiter)| !waiter.owner.is_same(asker))
    }

    /// The same and the one with the ticket, who may be the asker.
    fn up_to(
        &self,
        id: &MutexId,
        ticket: i64,
    ) -> impl Iterator<Item = (i64, &'a Waiter)> + use<'a> {
        let itself = self.store.place(id);
        let itself = itself.and_then(|place| place.line.get(&ticket));
        self.before(id, ticket)
            .chain(itself.map(|waiter| (ticket, waiter)))
    }

    fn circle_in(&mut self, line: &Line<'a>) -> Option<String> {
        // Those before it must get in, too.
        let before = self.before(line.id, line.before);
        let mut needs = before.fold(line.needs, |needs, (_, waiter)| {
            needs.and(Needs::of(waiter.access))
        });
        let mut stuck = 0;
        let mut found = None;
        for hold in self.store.live(line.id, self.now) {
            if let Some(here) = self.circle_through(hold) {
                stuck += 1;
                needs = needs.and(Needs {
                    alone: hold.permit == 0,
                    strictest: hold.permits,
                });
                found = found
                    .filter(|found: &String| !found.is_empty())
                    .or(Some(here));
            }
        }
        if !needs.can_be_met_beside(stuck) {
            return found;
        }
        if let Some(beside) = self.circle_beside(line) {
            return Some(beside);
        }
        let asker_is_before = self.ticket < line.before && self.asker_waits_at(line.id, |_| true)
            || self.asker_is_before_at_another_path(line);
        asker_is_before.then(|| ", where the one who asks is before it".to_owned())
    }

    /// A hold at a path above or below that is in the way of one in the line, and stays.
    fn circle_beside(&mut self, line: &Line<'a>) -> Option<String> {
        let store = self.store;
        let served: Vec<_> = self.up_to(line.id, line.before).collect();
        let mut found = None;
        for (_, place) in store.around(line.id) {
            for hold in place.live(self.now) {
                let mut served = served.iter();
                if !served.any(|(_, waiter)| keeps_out(hold, line.id, &waiter.owner, waiter.access))
                {
                    continue;
                }
                if let Some(here) = self.circle_through(hold) {
                    found = found
                        .filter(|found: &String| !found.is_empty())
                        .or(Some(here));
                }
            }
        }
        found
    }

    fn asker_waits_at(&self, id: &MutexId, as_wanted: impl Fn(&Waiter) -> bool) -> bool {
        let place = self.store.place(id);
        let waiter = place.and_then(|place| place.line.get(&self.ticket));
        waiter.is_some_and(|waiter| waiter.owner.is_same(self.asker) && as_wanted(waiter))
    }

    fn asker_is_before_at_another_path(&self, line: &Line<'a>) -> bool {
        let mut behind = self
            .up_to(line.id, line.before)
            .filter(|(ticket, _)| self.ticket < *ticket);
        behind.any(|(_, behind)| {
            let wish = (&behind.owner, behind.access, behind.reach);
            self.store.around(line.id).any(|(at, _)| {
                self.asker_waits_at(at, |waiter| must_take_turns(waiter, at, line.id, wish))
            })
        })
    }

    /// `None` if the one who has this hold may come to release it.
    fn circle_through(&mut self, hold: &'a Mutex) -> Option<String> {
        let token = hold.fencing_token;
        if hold.check_owner(self.asker) || self.while_holding.contains(&token) {
            return Some(", which the one who asks holds".to_owned());
        } else if self.passed.contains(&token) {
            return Some(String::new());
        } else if self.cleared.contains(&token) || self.passed.len() >= LONGEST_CIRCLE {
            return None;
        }
        let store = self.store;
        let mut found = None;
        self.passed.push(token);
        for (id, ticket, access) in waits(store, hold) {
            let rest = self.circle(id, access, ticket);
            if let Some(rest) = rest.as_ref().filter(|rest| !rest.is_empty()) {
                let holder = name(&hold.owner);
                found = Some(format!(", held by {holder}, who waits for {rest}"));
                break;
            }
            found = found.or(rest);
        }
        self.passed.pop();
        if found.is_none() {
            self.cleared.push(token);
        }
        found
    }
}

/// What the one who has this hold waits for.
fn waits<'a>(
    store: &'a Store,
    hold: &'a Mutex,
) -> impl Iterator<Item = (&'a MutexId, i64, Access)> {
    store
        .places()
        .flat_map(|(id, place)| place.line.iter().map(move |place| (id, place)))
        .filter(|(_, (_, waiter))| {
            waiter.owner.is_same(&hold.owner) || waiter.while_holding.contains(&hold.fencing_token)
        })
        .map(|(id, (ticket, waiter))| (id, *ticket, waiter.access))
}

fn name(owner: &MutexOwner) -> String {
    match owner.name() {
        "" => format!("session {}", owner.session_id()),
        name => name.to_owned(),
    }
}
