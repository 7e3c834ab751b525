//! What was recorded of the uses of a pool's sessions, and what it shows. All times are the
//! database's, in microseconds.

use std::collections::BTreeMap;

type Time = i64;

/// One call that asked for a session.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) worker: usize,
    /// Before it was sent, and when the answer was here.
    pub(super) from: Time,
    pub(super) until: Time,
    pub(super) given: Option<Use>,
}

/// A session as it was given.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) session: i64,
    pub(super) taken_at: Time,
    /// When it may be used again at the earliest.
    pub(super) next_use: Time,
    /// For a lease: before it was given back, and when that was done.
    pub(super) given_back: Option<(Time, Time)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// Two workers had it at once.
    WithTwo {
        session: i64,
        workers: (usize, usize),
    },
    /// It was used before its time.
    TooEarly { session: i64, worker: usize },
    /// There was one unused for longer, which nobody else was asking for.
    PassedOver { session: i64, better: i64 },
    /// There was one, and nobody else was asking for it.
    NoneThoughThereWas { worker: usize, session: i64 },
}

/// Everything that the history shows to be wrong, of a pool with sessions of these numbers that had
/// never been used.
pub(super) fn violations(sessions: &[i64], calls: &[Asked]) -> Vec<Violation> {
    let mut uses: BTreeMap<i64, Vec<(&Asked, &Use)>> =
        sessions.iter().map(|id| (*id, Vec::new())).collect();
    for call in calls {
        if let Some(used) = &call.given {
            uses.entry(used.session).or_default().push((call, used));
        }
    }
    for of_one in uses.values_mut() {
        of_one.sort_by_key(|(_, used)| used.taken_at);
    }
    let mut found = Vec::new();
    for (session, of_one) in &uses {
        for pair in of_one.windows(2) {
            let ((earlier, before), (later, after)) = (pair[0], pair[1]);
            if before
                .given_back
                .is_some_and(|(from, _)| after.taken_at < from)
            {
                found.push(Violation::WithTwo {
                    session: *session,
                    workers: (earlier.worker, later.worker),
                });
            }
            if after.taken_at < before.next_use {
                found.push(Violation::TooEarly {
                    session: *session,
                    worker: later.worker,
                });
            }
        }
    }
    for call in calls {
        found.extend(violation_of_order(&uses, calls, call));
    }
    found
}

fn violation_of_order(
    uses: &BTreeMap<i64, Vec<(&Asked, &Use)>>,
    calls: &[Asked],
    call: &Asked,
) -> Option<Violation> {
    // In the order in which sessions are to be taken: never used ones first.
    let rank = |session: i64, before: Time| {
        let of_one = &uses[&session];
        let last = of_one.iter().rev().find(|(_, used)| used.taken_at < before);
        (last.map_or(Time::MIN, |(_, used)| used.taken_at), session)
    };
    let could_be_had = uses.iter().filter_map(|(session, of_one)| {
        // As long as this call was under way, it was free, and nobody else was asking for it.
        let is_over = |(other, used): &(&Asked, &Use)| {
            used.given_back.map_or(other.until, |(_, until)| until)
        };
        let (before, after): (Vec<_>, Vec<_>) = of_one
            .iter()
            .partition(|used| is_over(used).max(used.1.next_use) < call.from);
        let is_free = after.iter().all(|(other, _)| other.from > call.until);
        // Who has seen it as it was before its last use keeps others from it to the end of its own call: a
        // row that has changed since it was seen is locked before it is found to be of no use.
        let last = before.iter().map(&is_over).max();
        let may_be_locked = |last: Time| {
            let mut others = calls.iter().filter(|other| other.worker != call.worker);
            others.any(|other| other.from < last && other.until > call.from)
        };
        (is_free && !last.is_some_and(may_be_locked)).then_some(*session)
    });
    match &call.given {
        Some(given) => could_be_had
            .filter(|other| *other != given.session)
            .find(|other| rank(*other, given.taken_at) < rank(given.session, given.taken_at))
            .map(|better| Violation::PassedOver {
                session: given.session,
                better,
            }),
        None => {
            let mut could_be_had = could_be_had;
            could_be_had
                .next()
                .map(|session| Violation::NoneThoughThereWas {
                    worker: call.worker,
                    session,
                })
        }
    }
}
