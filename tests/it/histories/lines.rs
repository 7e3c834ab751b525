//! What a history says about who waited, and when: surely, and possibly.

use std::{collections::BTreeSet, time::Duration};

use super::history::{Answer, Capture, History, Moment, NEVER, Request, Verdict};

/// A waiter that has not asked for 15 seconds need not be waited for; here it counts no longer as
/// surely alive a little earlier.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stretch of time through which somebody was in line, alive, with one ticket.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) mutex: String,
    pub(super) owner: String,
    pub(super) ticket: i64,
    pub(super) from: Moment,
    pub(super) until: Moment,
    asked: Moment,
}

/// A place in line that somebody may have had.
#[derive(Debug)]
pub(super) struct PerhapsWait {
    pub(super) mutex: String,
    pub(super) owner: String,
    from: Moment,
    until: Moment,
}

/// Another ticket for one who never left.
#[derive(Debug)]
pub(super) struct NewTicket {
    pub(super) mutex: String,
    pub(super) owner: String,
    pub(super) tickets: [i64; 2],
}

impl PerhapsWait {
    pub(super) fn may_be_there_between(&self, begin: Moment, end: Moment) -> bool {
        self.from <= end && begin <= self.until
    }
}

/// Who surely waited, and who was given a second place.
pub(super) fn sure(history: &History) -> (Vec<Wait>, Vec<NewTicket>) {
    let (mut waits, mut new_tickets) = (Vec::new(), Vec::new());
    for (owner, mutex) in those_who_waited(history) {
        let mut current: Option<Wait> = None;
        for call in history.calls_about(owner, mutex) {
            let queued = call
                .as_capture()
                .and_then(|capture| Some((capture.answer?.0, capture.ticket()?)));
            let Some((at, ticket)) = queued else {
                waits.extend(current.take().map(|wait| wait.ended_by(call.invoked)));
                if call.answer.is_none() && call.request != Request::EndOfSession {
                    // It may take effect at any time, and end every later wait.
                    break;
                }
                continue;
            };
            match &mut current {
                Some(wait) if wait.ticket == ticket && call.invoked < wait.asked + PATIENCE => {
                    wait.asked = call.invoked;
                    continue;
                }
                Some(wait) if wait.ticket != ticket && at < wait.asked + PATIENCE => {
                    new_tickets.push(NewTicket {
                        mutex: mutex.to_owned(),
                        owner: owner.to_owned(),
                        tickets: [wait.ticket, ticket],
                    });
                }
                _ => {}
            }
            waits.extend(current.take().map(|wait| wait.ended_by(call.invoked)));
            current = Some(Wait {
                mutex: mutex.to_owned(),
                owner: owner.to_owned(),
                ticket,
                from: at,
                until: NEVER,
                asked: call.invoked,
            });
        }
        waits.extend(current.map(|wait| wait.ended_by(NEVER)));
    }
    (waits, new_tickets)
}

impl Wait {
    fn ended_by(mut self, moment: Moment) -> Self {
        self.until = moment.min(self.asked + PATIENCE);
        self
    }
}

fn those_who_waited(history: &History) -> BTreeSet<(&str, &str)> {
    history
        .captures()
        .filter(|capture| capture.ticket().is_some())
        .flat_map(|capture| {
            let names = capture.wants.iter().map(|want| want.mutex.as_str());
            names.map(move |mutex| (capture.owner, mutex))
        })
        .collect()
}

pub(super) fn possible(history: &History) -> Vec<PerhapsWait> {
    history
        .captures()
        .filter(|capture| capture.waits)
        .filter(|capture| capture.answer.is_none() || capture.ticket().is_some())
        .flat_map(|capture| {
            capture.wants.iter().map(move |want| PerhapsWait {
                mutex: want.mutex.clone(),
                owner: capture.owner.to_owned(),
                from: capture.invoked,
                until: end_of_wait(history, capture, &want.mutex),
            })
        })
        .collect()
}

/// When a place that was given is surely no more.
fn end_of_wait(history: &History, queued: Capture<'_>, mutex: &str) -> Moment {
    let Some((queued_at, _)) = queued.answer else {
        return NEVER;
    };
    history
        .calls_about(queued.owner, mutex)
        .filter(|call| call.invoked >= queued_at)
        .filter_map(|call| match &call.answer {
            Some((at, Answer::Left)) => Some(*at),
            Some((at, Answer::Asked(rows))) => rows
                .iter()
                .any(|row| row.mutex == mutex && row.verdict == Verdict::Captured)
                .then_some(*at),
            _ => None,
        })
        .min()
        .unwrap_or(NEVER)
}

/// The earliest moment from which a capture that succeeded may have had a place in line.
pub(super) fn entry(history: &History, winner: Capture<'_>, mutex: &str) -> Moment {
    let mut unknown = NEVER;
    let mut place = NEVER;
    for call in history.calls_about(winner.owner, mutex) {
        if call.invoked >= winner.invoked {
            break;
        }
        match (call.as_capture(), &call.answer) {
            (Some(capture), None) if capture.waits => unknown = unknown.min(call.invoked),
            (Some(capture), Some(_)) if capture.ticket().is_some() => {
                place = place.min(call.invoked);
            }
            (_, Some((_, Answer::Left))) => place = NEVER,
            (Some(_), Some((_, Answer::Asked(rows))))
                if rows
                    .iter()
                    .any(|row| row.mutex == mutex && row.verdict == Verdict::Captured) =>
            {
                place = NEVER;
            }
            _ => {}
        }
    }
    winner.invoked.min(unknown).min(place)
}
