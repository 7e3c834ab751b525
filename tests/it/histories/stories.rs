//! Histories written by hand. Moments are small numbers; owners and mutexes are letters.

use std::{ops::Range, time::Duration};

use super::history::{Access, Answer, Call, Moment, Request, Row, Seen, Verdict, Want};

pub(super) fn moment(number: u64) -> Moment {
    Duration::from_millis(number)
}

pub(super) fn exclusive(mutex: &str) -> Want {
    Want {
        mutex: mutex.to_owned(),
        access: Access::Exclusive,
    }
}

pub(super) fn shared(mutex: &str) -> Want {
    Want {
        mutex: mutex.to_owned(),
        access: Access::Shared { limit: None },
    }
}

pub(super) fn shared_by(limit: i32, mutex: &str) -> Want {
    Want {
        mutex: mutex.to_owned(),
        access: Access::Shared { limit: Some(limit) },
    }
}

fn call(span: Range<u64>, owner: &str, request: Request, answer: Answer) -> Call {
    Call {
        owner: owner.to_owned(),
        request,
        invoked: moment(span.start),
        answer: Some((moment(span.end), answer)),
    }
}

pub(super) fn row(mutex: &str, verdict: Verdict, holder: &str, token: i64, permit: i32) -> Row {
    Row {
        mutex: mutex.to_owned(),
        verdict,
        holder: holder.to_owned(),
        token,
        permit,
    }
}

pub(super) fn asked(
    span: Range<u64>,
    owner: &str,
    wants: &[Want],
    waits: bool,
    rows: Vec<Row>,
) -> Call {
    let wants = wants.to_vec();
    let request = Request::Capture { wants, waits };
    call(span, owner, request, Answer::Asked(rows))
}

fn granted(
    span: Range<u64>,
    owner: &str,
    want: Want,
    verdict: Verdict,
    (token, permit): (i64, i32),
) -> Call {
    let rows = vec![row(&want.mutex, verdict, owner, token, permit)];
    asked(span, owner, &[want], true, rows)
}

/// An exclusive capture.
pub(super) fn captured(span: Range<u64>, owner: &str, mutex: &str, token: i64) -> Call {
    granted(span, owner, exclusive(mutex), Verdict::Captured, (token, 0))
}

/// A shared capture, with its permit.
pub(super) fn joined(span: Range<u64>, owner: &str, want: Want, token: i64, permit: i32) -> Call {
    granted(span, owner, want, Verdict::Captured, (token, permit))
}

/// An exclusive capture that found the hold there already.
pub(super) fn refreshed(span: Range<u64>, owner: &str, mutex: &str, token: i64) -> Call {
    granted(
        span,
        owner,
        exclusive(mutex),
        Verdict::Refreshed,
        (token, 0),
    )
}

/// A capture that does not wait and finds this hold in its way.
pub(super) fn refused(span: Range<u64>, owner: &str, want: Want, holder: &str, token: i64) -> Call {
    let rows = vec![row(&want.mutex, Verdict::Busy, holder, token, 0)];
    asked(span, owner, &[want], false, rows)
}

/// A capture that waits and finds this hold in its way.
pub(super) fn queued(
    span: Range<u64>,
    owner: &str,
    want: Want,
    (holder, token): (&str, i64),
    ticket: i64,
) -> Call {
    let verdict = Verdict::Queued { ticket };
    let rows = vec![row(&want.mutex, verdict, holder, token, 0)];
    asked(span, owner, &[want], true, rows)
}

/// A capture without an answer.
pub(super) fn lost_capture(invoked: u64, owner: &str, wants: &[Want], waits: bool) -> Call {
    Call {
        owner: owner.to_owned(),
        request: Request::Capture {
            wants: wants.to_vec(),
            waits,
        },
        invoked: moment(invoked),
        answer: None,
    }
}

pub(super) fn released(span: Range<u64>, owner: &str, mutex: &str, token: i64) -> Call {
    release(span, owner, mutex, token, true)
}

/// A release that finds nothing.
pub(super) fn not_held(span: Range<u64>, owner: &str, mutex: &str, token: i64) -> Call {
    release(span, owner, mutex, token, false)
}

fn release(span: Range<u64>, owner: &str, mutex: &str, token: i64, was_held: bool) -> Call {
    let mutex = mutex.to_owned();
    let request = Request::Release { mutex, token };
    call(span, owner, request, Answer::Released(was_held))
}

/// A release without an answer.
pub(super) fn lost_release(invoked: u64, owner: &str, mutex: &str, token: i64) -> Call {
    Call {
        answer: None,
        ..released(invoked..invoked, owner, mutex, token)
    }
}

pub(super) fn left(span: Range<u64>, owner: &str, mutex: &str) -> Call {
    let mutex = mutex.to_owned();
    call(span, owner, Request::Leave { mutex }, Answer::Left)
}

/// The owner's session ends after this moment.
pub(super) fn ended(invoked: u64, owner: &str) -> Call {
    Call {
        owner: owner.to_owned(),
        request: Request::EndOfSession,
        invoked: moment(invoked),
        answer: None,
    }
}

/// A look that shows these exclusive holds.
pub(super) fn looked(span: Range<u64>, holds: &[(&str, &str, i64)]) -> Call {
    let seen = holds
        .iter()
        .map(|(mutex, owner, token)| Seen {
            mutex: (*mutex).to_owned(),
            owner: (*owner).to_owned(),
            token: *token,
            permit: 0,
            access: Access::Exclusive,
        })
        .collect();
    call(span, "observer", Request::Look, Answer::Seen(seen))
}
