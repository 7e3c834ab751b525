//! What was asked and answered, and when.

use std::{collections::BTreeSet, time::Duration};

/// A time, counted from the beginning of the history.
pub(super) type Moment = Duration;

/// After everything.
pub(super) const NEVER: Moment = Duration::MAX;

/// Every call that was made, in the order in which they were begun.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    calls: Vec<Call>,
}

/// One call by one owner. It took effect at one instant between the two moments; without an answer,
/// at any later instant or never.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) owner: String,
    pub(super) request: Request,
    /// Read before anything was sent.
    pub(super) invoked: Moment,
    /// With the moment read after it had arrived; nothing if the outcome is unknown.
    pub(super) answer: Option<(Moment, Answer)>,
}

/// Within a history, an owner asks for a mutex only while it has no hold of it, unless it repeats a
/// capture whose outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// All of these or none; `waits` asks for a ticket.
    Capture { wants: Vec<Want>, waits: bool },
    /// Ends the hold with this token.
    Release { mutex: String, token: i64 },
    /// Gives up the ticket.
    Leave { mutex: String },
    /// Who holds what?
    Look,
    /// The database session that the owner's holds and tickets depend on is about to end: from now
    /// on they may be over. It has no answer.
    EndOfSession,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) mutex: String,
    pub(super) access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Exclusive,
    /// With at most so many holders at once.
    Shared {
        limit: Option<i32>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Asked(Vec<Row>),
    /// Whether there was such a hold.
    Released(bool),
    Left,
    Seen(Vec<Seen>),
}

/// One row of the answer to a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) mutex: String,
    pub(super) verdict: Verdict,
    /// Whose hold the row shows: the asker's own if it was granted, else the one in the way.
    pub(super) holder: String,
    /// Of that hold; 0 if it is only about to be captured by one who waits.
    pub(super) token: i64,
    pub(super) permit: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Captured,
    Refreshed,
    Busy,
    Queued { ticket: i64 },
}

/// A hold that a look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mutex: String,
    pub(super) owner: String,
    pub(super) token: i64,
    pub(super) permit: i32,
    pub(super) access: Access,
}

/// A capture, with what the checker wants to know of it.
#[derive(Clone, Copy)]
pub(super) struct Capture<'a> {
    pub(super) owner: &'a str,
    pub(super) wants: &'a [Want],
    pub(super) waits: bool,
    pub(super) invoked: Moment,
    pub(super) answer: Option<(Moment, &'a [Row])>,
}

impl History {
    pub(super) fn of(mut calls: Vec<Call>) -> Self {
        calls.sort_by_key(|call| call.invoked);
        Self { calls }
    }

    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(super) fn captures(&self) -> impl Iterator<Item = Capture<'_>> {
        self.calls.iter().filter_map(Call::as_capture)
    }

    /// The captures whose outcome is not known.
    pub(super) fn unknown_captures(&self) -> impl Iterator<Item = Capture<'_>> {
        self.captures().filter(|capture| capture.answer.is_none())
    }

    /// The rows of all captures that were answered, each with the moment of the answer.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Capture<'_>, Moment, &Row)> {
        self.captures().flat_map(|capture| {
            let (at, rows) = capture.answer.unwrap_or_default();
            rows.iter().map(move |row| (capture, at, row))
        })
    }

    /// When releases of this hold were begun and answered.
    pub(super) fn releases(
        &self,
        owner: &str,
        mutex: &str,
        token: Option<i64>,
    ) -> impl Iterator<Item = (Moment, Option<Moment>)> {
        self.calls.iter().filter_map(move |call| {
            let Request::Release {
                mutex: released,
                token: with,
            } = &call.request
            else {
                return None;
            };
            let fits = call.owner == owner
                && released == mutex
                && token.is_none_or(|token| token == *with);
            fits.then(|| (call.invoked, call.answered_at()))
        })
    }

    /// When sessions of this owner were about to end.
    pub(super) fn ends_of_session(&self, owner: &str) -> impl Iterator<Item = Moment> {
        self.calls
            .iter()
            .filter(move |call| call.owner == owner && call.request == Request::EndOfSession)
            .map(|call| call.invoked)
    }

    pub(super) fn mutexes(&self) -> BTreeSet<&str> {
        self.captures()
            .flat_map(|capture| capture.wants)
            .map(|want| want.mutex.as_str())
            .collect()
    }

    /// The calls of one owner that have to do with this mutex.
    pub(super) fn calls_about(&self, owner: &str, mutex: &str) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| {
            call.owner == owner
                && match &call.request {
                    Request::Capture { wants, .. } => wants.iter().any(|want| want.mutex == mutex),
                    Request::Release { mutex: named, .. } | Request::Leave { mutex: named } => {
                        named == mutex
                    }
                    Request::EndOfSession => true,
                    Request::Look => false,
                }
        })
    }
}

impl Call {
    pub(super) fn answered_at(&self) -> Option<Moment> {
        self.answer.as_ref().map(|(at, _)| *at)
    }

    pub(super) fn as_capture(&self) -> Option<Capture<'_>> {
        let Request::Capture { wants, waits } = &self.request else {
            return None;
        };
        let answer = match &self.answer {
            Some((at, Answer::Asked(rows))) => Some((*at, rows.as_slice())),
            _ => None,
        };
        Some(Capture {
            owner: &self.owner,
            wants,
            waits: *waits,
            invoked: self.invoked,
            answer,
        })
    }
}

impl<'a> Capture<'a> {
    pub(super) fn wanted(self, mutex: &str) -> Option<&'a Want> {
        self.wants.iter().find(|want| want.mutex == mutex)
    }

    /// The ticket it was given: one for all that it wants.
    pub(super) fn ticket(self) -> Option<i64> {
        let (_, rows) = self.answer?;
        rows.iter().find_map(|row| match row.verdict {
            Verdict::Queued { ticket } => Some(ticket),
            _ => None,
        })
    }
}

impl Access {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared { .. } => "shared",
        }
    }

    pub(super) fn limit(self) -> Option<i32> {
        match self {
            Self::Exclusive => None,
            Self::Shared { limit } => limit,
        }
    }
}

impl Verdict {
    pub(super) fn is_grant(self) -> bool {
        matches!(self, Self::Captured | Self::Refreshed)
    }
}
