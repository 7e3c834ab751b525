//! What a history says about who held what, and when: surely, and possibly.

use super::history::{Access, Capture, History, Moment, NEVER, Verdict};

/// A hold that was acknowledged to its owner.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) mutex: String,
    pub(super) owner: String,
    pub(super) token: i64,
    pub(super) permit: i32,
    pub(super) access: Access,
    /// It began after this.
    pub(super) perhaps_from: Moment,
    /// It was there when this came: its owner had been told.
    pub(super) from: Moment,
    /// It was there until this: nobody had begun to end it.
    pub(super) until: Moment,
    /// It was over when this came.
    pub(super) perhaps_until: Moment,
}

/// A hold that exists if a capture without an answer took effect.
#[derive(Debug)]
pub(super) struct PerhapsHold {
    pub(super) mutex: String,
    pub(super) owner: String,
    pub(super) access: Access,
    pub(super) from: Moment,
}

impl Hold {
    pub(super) fn is_there_throughout(&self, begin: Moment, end: Moment) -> bool {
        self.from <= begin && end < self.until
    }

    pub(super) fn is_there_at(&self, moment: Moment) -> bool {
        self.from <= moment && moment < self.until
    }

    pub(super) fn may_be_there_between(&self, begin: Moment, end: Moment) -> bool {
        self.perhaps_from <= end && begin <= self.perhaps_until
    }
}

/// Each acknowledged hold once, in the order of their acknowledgements.
pub(super) fn acknowledged(history: &History) -> Vec<Hold> {
    let mut holds: Vec<Hold> = Vec::new();
    for (capture, at, row) in history.rows() {
        let Some(want) = capture.wanted(&row.mutex) else {
            continue;
        };
        let known = holds.iter().any(|hold| {
            hold.mutex == row.mutex && hold.owner == capture.owner && hold.token == row.token
        });
        if !row.verdict.is_grant() || known {
            continue;
        }
        let (until, perhaps_until) = end(history, capture.owner, &row.mutex, row.token, at);
        holds.push(Hold {
            mutex: row.mutex.clone(),
            owner: capture.owner.to_owned(),
            token: row.token,
            permit: row.permit,
            access: want.access,
            perhaps_from: beginning(history, capture, &row.mutex, row.verdict),
            from: at,
            until,
            perhaps_until,
        });
    }
    holds.sort_by_key(|hold| hold.from);
    holds
}

/// A hold that a capture found there already began with an earlier one, whose outcome was unknown.
fn beginning(history: &History, capture: Capture<'_>, mutex: &str, verdict: Verdict) -> Moment {
    let earlier = history
        .unknown_captures()
        .filter(|unknown| unknown.owner == capture.owner && unknown.wanted(mutex).is_some())
        .map(|unknown| unknown.invoked)
        .filter(|_| verdict == Verdict::Refreshed);
    earlier.chain([capture.invoked]).min().unwrap()
}

fn end(
    history: &History,
    owner: &str,
    mutex: &str,
    token: i64,
    acknowledged: Moment,
) -> (Moment, Moment) {
    let releases: Vec<_> = history.releases(owner, mutex, Some(token)).collect();
    let begun = releases.iter().map(|(begun, _)| *begun);
    let session = history
        .ends_of_session(owner)
        .filter(|end| *end >= acknowledged);
    // Whatever a release answers, the hold with this token is not there any more.
    let answered = releases
        .iter()
        .filter(|(begun, _)| *begun >= acknowledged)
        .filter_map(|(_, answered)| *answered);
    (
        begun.chain(session).min().unwrap_or(NEVER),
        answered.min().unwrap_or(NEVER),
    )
}

pub(super) fn possible(history: &History) -> Vec<PerhapsHold> {
    history
        .unknown_captures()
        .flat_map(|capture| {
            capture.wants.iter().map(move |want| PerhapsHold {
                mutex: want.mutex.clone(),
                owner: capture.owner.to_owned(),
                access: want.access,
                from: capture.invoked,
            })
        })
        .collect()
}
