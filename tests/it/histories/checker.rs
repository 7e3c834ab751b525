//! Says which promises a history breaks. It only speaks where no allowed course of events could have
//! led to what was seen: what is not known counts for the database.

use super::{
    history::{Access, Answer, Call, Capture, History, Moment, Request, Row, Seen, Verdict},
    holds::{self, Hold, PerhapsHold},
    lines::{self, PerhapsWait},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// Two holds at once, and one of them is exclusive.
    Overlap { mutex: String, tokens: [i64; 2] },
    /// More holds at once than one of the holders allows.
    LimitExceeded {
        mutex: String,
        limit: i32,
        tokens: Vec<i64>,
    },
    /// Two holds at once with one permit.
    PermitTwice { mutex: String, tokens: [i64; 2] },
    /// A permit that this access cannot have.
    PermitOutOfRange {
        mutex: String,
        token: i64,
        permit: i32,
    },
    /// A token that is not larger than that of an earlier hold.
    TokenBackwards {
        mutex: String,
        earlier: i64,
        later: i64,
    },
    /// One token for two holds.
    TokenReused { mutex: String, token: i64 },
    /// Served before one who waited when it came.
    PassedInLine {
        mutex: String,
        waiting: String,
        passed_by: String,
    },
    /// A second ticket for one who never left.
    PlaceLost {
        mutex: String,
        owner: String,
        tickets: [i64; 2],
    },
    /// Some of several, where all or none were asked for.
    HalfTaken { mutex: String, owner: String },
    /// A hold that nobody ended, and that is not there.
    HoldLost {
        mutex: String,
        owner: String,
        token: i64,
    },
    /// A hold that nobody can have.
    HoldFromNowhere {
        mutex: String,
        owner: String,
        token: i64,
    },
    /// Refused, although nobody held or waited.
    RefusedForNothing { mutex: String, owner: String },
}

pub(super) fn violations(history: &History) -> Vec<Violation> {
    let checker = Checker {
        history,
        holds: holds::acknowledged(history),
        perhaps_holds: holds::possible(history),
        perhaps_waits: lines::possible(history),
        found: Vec::new(),
    };
    checker.check()
}

struct Checker<'a> {
    history: &'a History,
    holds: Vec<Hold>,
    perhaps_holds: Vec<PerhapsHold>,
    perhaps_waits: Vec<PerhapsWait>,
    found: Vec<Violation>,
}

/// One of several holds that were there at the same instant.
struct Together {
    token: i64,
    permit: i32,
    access: Access,
}

impl Checker<'_> {
    fn check(mut self) -> Vec<Violation> {
        for mutex in self.history.mutexes() {
            self.check_exclusion(mutex);
            self.check_tokens(mutex);
        }
        self.check_lines();
        for (capture, at, row) in self.history.rows() {
            if row.verdict.is_grant() {
                self.check_grant(capture, row);
            } else {
                self.check_blocker(capture, at, row);
                self.check_refusal(capture, at, row);
            }
        }
        for capture in self.history.captures() {
            self.check_completeness(capture);
        }
        for call in self.history.calls() {
            match (&call.request, &call.answer) {
                (Request::Release { mutex, token }, Some((at, Answer::Released(false)))) => {
                    self.check_lost_at_release(call, *at, mutex, *token);
                }
                (_, Some((at, Answer::Seen(seen)))) => self.check_look(call.invoked, *at, seen),
                _ => {}
            }
        }
        self.found
    }

    /// I1, at every instant at which a hold is known to be there: those where one becomes known will
    /// do.
    fn check_exclusion(&mut self, mutex: &str) {
        let holds: Vec<&Hold> = self
            .holds
            .iter()
            .filter(|hold| hold.mutex == mutex)
            .collect();
        for newest in &holds {
            if !newest.is_there_at(newest.from) {
                continue;
            }
            let mut together = vec![Together::from(*newest)];
            together.extend(
                holds
                    .iter()
                    .filter(|hold| hold.token != newest.token || hold.owner != newest.owner)
                    .filter(|hold| hold.is_there_at(newest.from))
                    .map(|hold| Together::from(*hold)),
            );
            incompatible(mutex, &together, &mut self.found);
        }
    }

    /// I2: all different, and in the order of captures that did not overlap in time.
    fn check_tokens(&mut self, mutex: &str) {
        let holds: Vec<&Hold> = self
            .holds
            .iter()
            .filter(|hold| hold.mutex == mutex)
            .collect();
        for (index, later) in holds.iter().enumerate() {
            for earlier in &holds[..index] {
                if earlier.token == later.token {
                    self.found.push(Violation::TokenReused {
                        mutex: mutex.to_owned(),
                        token: later.token,
                    });
                } else if earlier.from < later.perhaps_from && earlier.token > later.token {
                    self.found.push(Violation::TokenBackwards {
                        mutex: mutex.to_owned(),
                        earlier: earlier.token,
                        later: later.token,
                    });
                }
            }
        }
    }

    /// I6: nobody passes one who was in line when it came, and still is when it has been served.
    fn check_lines(&mut self) {
        let (waits, new_tickets) = lines::sure(self.history);
        for (winner, at, row) in self.history.rows() {
            if row.verdict != Verdict::Captured {
                continue;
            }
            let entry = lines::entry(self.history, winner, &row.mutex);
            for wait in waits.iter().filter(|wait| {
                wait.mutex == row.mutex
                    && wait.owner != winner.owner
                    && wait.from < entry
                    && at < wait.until
            }) {
                self.found.push(Violation::PassedInLine {
                    mutex: row.mutex.clone(),
                    waiting: wait.owner.clone(),
                    passed_by: winner.owner.to_owned(),
                });
            }
        }
        for new in new_tickets {
            self.found.push(Violation::PlaceLost {
                mutex: new.mutex,
                owner: new.owner,
                tickets: new.tickets,
            });
        }
    }

    fn check_grant(&mut self, capture: Capture<'_>, row: &Row) {
        let Some(want) = capture.wanted(&row.mutex) else {
            self.found
                .push(self.unexplained(&row.mutex, capture.owner, row.token));
            return;
        };
        let in_range = match want.access {
            Access::Exclusive => row.permit == 0,
            Access::Shared { limit } => {
                row.permit >= 1 && limit.is_none_or(|limit| row.permit <= limit)
            }
        };
        if !in_range {
            self.found.push(Violation::PermitOutOfRange {
                mutex: row.mutex.clone(),
                token: row.token,
                permit: row.permit,
            });
        }
        let acknowledged_before = self.holds.iter().find(|hold| {
            hold.mutex == row.mutex
                && hold.owner == capture.owner
                && hold.token == row.token
                && hold.from < capture.invoked
        });
        if row.verdict == Verdict::Captured && acknowledged_before.is_some() {
            self.found.push(Violation::TokenReused {
                mutex: row.mutex.clone(),
                token: row.token,
            });
        } else if row.verdict == Verdict::Refreshed
            && acknowledged_before.is_none_or(|hold| hold.perhaps_until < capture.invoked)
            && !self.perhaps_holds.iter().any(|hold| {
                hold.mutex == row.mutex
                    && hold.owner == capture.owner
                    && hold.from < capture.invoked
            })
        {
            self.found
                .push(self.unexplained(&row.mutex, capture.owner, row.token));
        }
    }

    /// The one that is said to be in the way must have been able to be.
    fn check_blocker(&mut self, capture: Capture<'_>, at: Moment, row: &Row) {
        let possible = if row.token == 0 {
            self.history.captures().any(|other| {
                other.owner == row.holder
                    && other.waits
                    && other.wanted(&row.mutex).is_some()
                    && other.invoked <= at
            })
        } else {
            self.can_be_held(&row.mutex, &row.holder, row.token, capture.invoked, at)
        };
        if !possible {
            self.found
                .push(self.unexplained(&row.mutex, &row.holder, row.token));
        }
    }

    fn can_be_held(
        &self,
        mutex: &str,
        owner: &str,
        token: i64,
        begin: Moment,
        end: Moment,
    ) -> bool {
        let acknowledged = self
            .holds
            .iter()
            .find(|hold| hold.mutex == mutex && hold.owner == owner && hold.token == token);
        match acknowledged {
            Some(hold) => hold.may_be_there_between(begin, end),
            None => self
                .perhaps_holds
                .iter()
                .any(|hold| hold.mutex == mutex && hold.owner == owner && hold.from <= end),
        }
    }

    /// What a hold that cannot be shows. Whoever has one of several that it was refused has half of
    /// them.
    fn unexplained(&self, mutex: &str, owner: &str, token: i64) -> Violation {
        let (mutex, owner) = (mutex.to_owned(), owner.to_owned());
        let refused_several = self.history.captures().any(|capture| {
            capture.owner == owner
                && capture.wants.len() > 1
                && capture.wanted(&mutex).is_some()
                && capture
                    .answer
                    .is_some_and(|(_, rows)| rows.iter().any(|row| !row.verdict.is_grant()))
        });
        if refused_several {
            Violation::HalfTaken { mutex, owner }
        } else {
            Violation::HoldFromNowhere {
                mutex,
                owner,
                token,
            }
        }
    }

    /// A refusal needs a reason: whatever of the possible was really there, it must have been in the
    /// way.
    fn check_refusal(&mut self, capture: Capture<'_>, at: Moment, row: &Row) {
        let Some(want) = capture.wanted(&row.mutex) else {
            return;
        };
        let someone_waits = self.perhaps_waits.iter().any(|wait| {
            wait.mutex == row.mutex
                && wait.owner != capture.owner
                && wait.may_be_there_between(capture.invoked, at)
        });
        let acknowledged = self
            .holds
            .iter()
            .filter(|hold| {
                hold.mutex == row.mutex && hold.may_be_there_between(capture.invoked, at)
            })
            .map(|hold| (hold.owner.as_str(), hold.access));
        let perhaps = self
            .perhaps_holds
            .iter()
            .filter(|hold| hold.mutex == row.mutex && hold.from <= at)
            .map(|hold| (hold.owner.as_str(), hold.access));
        let possible: Vec<(&str, Access)> = acknowledged.chain(perhaps).collect();
        let own = possible.iter().any(|(owner, _)| *owner == capture.owner);
        let someone_exclusive = possible
            .iter()
            .any(|(_, access)| *access == Access::Exclusive);
        let limit = possible
            .iter()
            .filter_map(|(_, access)| access.limit())
            .chain(want.access.limit())
            .min();
        let room = limit.is_none_or(|limit| possible.len() < usize::try_from(limit).unwrap());
        let free = possible.is_empty()
            || want.access != Access::Exclusive && !someone_exclusive && room && !own;
        if free && !someone_waits {
            self.found.push(Violation::RefusedForNothing {
                mutex: row.mutex.clone(),
                owner: capture.owner.to_owned(),
            });
        }
    }

    /// All or nothing, in one answer.
    fn check_completeness(&mut self, capture: Capture<'_>) {
        let Some((_, rows)) = capture.answer else {
            return;
        };
        let granted = |mutex: &str| {
            rows.iter()
                .any(|row| row.mutex == mutex && row.verdict.is_grant())
        };
        if !rows.iter().any(|row| row.verdict.is_grant()) {
            return;
        }
        for want in capture.wants.iter().filter(|want| !granted(&want.mutex)) {
            self.found.push(Violation::HalfTaken {
                mutex: want.mutex.clone(),
                owner: capture.owner.to_owned(),
            });
        }
    }

    fn check_lost_at_release(&mut self, release: &Call, at: Moment, mutex: &str, token: i64) {
        let others = self
            .history
            .releases(&release.owner, mutex, Some(token))
            .filter(|(begun, _)| *begun < at)
            .count()
            > 1;
        let session_ended = self
            .history
            .ends_of_session(&release.owner)
            .any(|end| end < at);
        let acknowledged = self.holds.iter().any(|hold| {
            hold.mutex == mutex
                && hold.owner == release.owner
                && hold.token == token
                && hold.from <= release.invoked
        });
        if acknowledged && !others && !session_ended {
            self.found.push(Violation::HoldLost {
                mutex: mutex.to_owned(),
                owner: release.owner.clone(),
                token,
            });
        }
    }

    /// A look shows one instant: all that must be there, nothing that cannot be, and nothing that
    /// does not go together.
    fn check_look(&mut self, begin: Moment, end: Moment, seen: &[Seen]) {
        for hold in &self.holds {
            let shown = seen.iter().any(|seen| {
                seen.mutex == hold.mutex && seen.owner == hold.owner && seen.token == hold.token
            });
            if hold.is_there_throughout(begin, end) && !shown {
                self.found.push(Violation::HoldLost {
                    mutex: hold.mutex.clone(),
                    owner: hold.owner.clone(),
                    token: hold.token,
                });
            }
        }
        for one in seen {
            if !self.can_be_held(&one.mutex, &one.owner, one.token, begin, end) {
                self.found
                    .push(self.unexplained(&one.mutex, &one.owner, one.token));
            }
            self.check_seen_with_the_rest(one, end, seen);
        }
        for mutex in self.history.mutexes() {
            let together: Vec<Together> = seen
                .iter()
                .filter(|seen| seen.mutex == mutex)
                .map(Together::from)
                .collect();
            for index in 0..together.len() {
                incompatible(mutex, &together[index..], &mut self.found);
            }
        }
    }

    /// What only a capture of several with an unknown outcome can have given is there with the rest
    /// of them.
    fn check_seen_with_the_rest(&mut self, one: &Seen, end: Moment, seen: &[Seen]) {
        let acknowledged = self.holds.iter().any(|hold| {
            hold.mutex == one.mutex && hold.owner == one.owner && hold.token == one.token
        });
        let session_ended = self.history.ends_of_session(&one.owner).any(|at| at < end);
        if acknowledged || session_ended {
            return;
        }
        let sources: Vec<Capture<'_>> = self
            .history
            .unknown_captures()
            .filter(|capture| capture.owner == one.owner && capture.wanted(&one.mutex).is_some())
            .collect();
        let Some(source) = sources.first() else {
            return;
        };
        for rest in source.wants {
            let with_each = sources
                .iter()
                .all(|source| source.wanted(&rest.mutex).is_some());
            let given_back = self
                .history
                .releases(&one.owner, &rest.mutex, None)
                .any(|(begun, _)| begun < end);
            let shown = seen
                .iter()
                .any(|seen| seen.mutex == rest.mutex && seen.owner == one.owner);
            if with_each && !given_back && !shown {
                self.found.push(Violation::HalfTaken {
                    mutex: rest.mutex.clone(),
                    owner: one.owner.clone(),
                });
            }
        }
    }
}

/// What is wrong with these holds of one mutex being there together; the first is compared with
/// each of the others.
fn incompatible(mutex: &str, together: &[Together], found: &mut Vec<Violation>) {
    let Some((first, others)) = together.split_first() else {
        return;
    };
    let mutex = mutex.to_owned();
    for other in others {
        let tokens = [other.token, first.token];
        if first.access == Access::Exclusive || other.access == Access::Exclusive {
            found.push(Violation::Overlap {
                mutex: mutex.clone(),
                tokens,
            });
        } else if first.permit == other.permit {
            found.push(Violation::PermitTwice {
                mutex: mutex.clone(),
                tokens,
            });
        }
    }
    let limit = together.iter().filter_map(|hold| hold.access.limit()).min();
    if let Some(limit) = limit
        && together.len() > usize::try_from(limit).unwrap()
    {
        found.push(Violation::LimitExceeded {
            mutex,
            limit,
            tokens: together.iter().map(|hold| hold.token).collect(),
        });
    }
}

impl From<&Hold> for Together {
    fn from(hold: &Hold) -> Self {
        Self {
            token: hold.token,
            permit: hold.permit,
            access: hold.access,
        }
    }
}

impl From<&Seen> for Together {
    fn from(seen: &Seen) -> Self {
        Self {
            token: seen.token,
            permit: seen.permit,
            access: seen.access,
        }
    }
}
