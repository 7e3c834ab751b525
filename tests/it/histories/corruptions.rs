//! Right histories of one who does one thing after the other, as a small model of the database
//! answers it, and what the checker says when one answer in them is made wrong.

use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

use super::{
    checker::{Violation, violations},
    history::{Access, Answer, Call, History, Request, Row, Seen, Verdict, Want},
    stories::{moment, row},
};

const OWNERS: [&str; 5] = ["a", "b", "c", "d", "e"];
const MUTEXES: [&str; 2] = ["k", "m"];
const ACCESSES: [Access; 4] = [
    Access::Exclusive,
    Access::Shared { limit: None },
    Access::Shared { limit: Some(2) },
    Access::Shared { limit: Some(1) },
];

/// What somebody may do next; what it comes to depends on what it holds and waits for.
#[derive(Clone, Debug)]
struct Impulse {
    owner: usize,
    wants: Vec<Want>,
    waits: bool,
    leaves: bool,
    looks: bool,
}

fn impulse() -> impl Strategy<Value = Impulse> {
    let access = || (0..ACCESSES.len()).prop_map(|index| ACCESSES[index]);
    let one = (0..MUTEXES.len(), access()).prop_map(|(mutex, access)| {
        vec![Want {
            mutex: MUTEXES[mutex].to_owned(),
            access,
        }]
    });
    let both = (access(), access()).prop_map(|(first, second)| {
        let pairs = MUTEXES.iter().zip([first, second]);
        pairs
            .map(|(mutex, access)| Want {
                mutex: (*mutex).to_owned(),
                access,
            })
            .collect()
    });
    (
        0..OWNERS.len(),
        prop_oneof![3 => one.boxed(), 1 => both.boxed()],
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(owner, wants, waits, leaves, looks)| Impulse {
            owner,
            wants,
            waits,
            leaves,
            looks,
        })
}

/// The database, as simple as it can be: one call after the other.
#[derive(Default)]
struct Model {
    holds: Vec<Seen>,
    /// In the order of the tickets.
    line: Vec<Waiter>,
    tokens: i64,
    tickets: i64,
    calls: Vec<Call>,
}

struct Waiter {
    owner: String,
    ticket: i64,
    wants: Vec<Want>,
}

impl Model {
    fn history(impulses: &[Impulse]) -> History {
        let mut model = Self::default();
        for impulse in impulses {
            model.follow(impulse);
        }
        History::of(model.calls)
    }

    fn say(&mut self, owner: &str, request: Request, answer: Answer) {
        let begun = 2 * self.calls.len() as u64;
        self.calls.push(Call {
            owner: owner.to_owned(),
            request,
            invoked: moment(begun),
            answer: Some((moment(begun + 1), answer)),
        });
    }

    fn follow(&mut self, impulse: &Impulse) {
        let owner = OWNERS[impulse.owner];
        if impulse.looks {
            self.say("observer", Request::Look, Answer::Seen(self.holds.clone()));
        } else if let Some(held) = self.holds.iter().position(|hold| hold.owner == owner) {
            let Seen { mutex, token, .. } = self.holds.remove(held);
            self.say(
                owner,
                Request::Release { mutex, token },
                Answer::Released(true),
            );
        } else if let Some(place) = self.line.iter().position(|waiter| waiter.owner == owner) {
            if impulse.leaves {
                for Want { mutex, .. } in self.line.remove(place).wants {
                    self.say(owner, Request::Leave { mutex }, Answer::Left);
                }
            } else {
                let wants = self.line[place].wants.clone();
                self.capture(owner, wants, true);
            }
        } else {
            self.capture(owner, impulse.wants.clone(), impulse.waits);
        }
    }

    fn capture(&mut self, owner: &str, wants: Vec<Want>, waits: bool) {
        let mut blockers: Vec<Row> = wants
            .iter()
            .filter_map(|want| self.blocker(owner, want))
            .collect();
        let place = self.line.iter().position(|waiter| waiter.owner == owner);
        if blockers.is_empty() {
            if let Some(place) = place {
                self.line.remove(place);
            }
            let rows = wants.iter().map(|want| self.grant(owner, want)).collect();
            self.say(
                owner,
                Request::Capture { wants, waits },
                Answer::Asked(rows),
            );
            return;
        }
        if waits {
            let ticket = match place {
                Some(place) => self.line[place].ticket,
                None => self.queue(owner, &wants),
            };
            for blocker in &mut blockers {
                blocker.verdict = Verdict::Queued { ticket };
            }
        }
        self.say(
            owner,
            Request::Capture { wants, waits },
            Answer::Asked(blockers),
        );
    }

    fn queue(&mut self, owner: &str, wants: &[Want]) -> i64 {
        self.tickets += 1;
        self.line.push(Waiter {
            owner: owner.to_owned(),
            ticket: self.tickets,
            wants: wants.to_vec(),
        });
        self.tickets
    }

    fn holders<'a>(&'a self, mutex: &'a str) -> impl Iterator<Item = &'a Seen> + Clone {
        self.holds.iter().filter(move |hold| hold.mutex == mutex)
    }

    /// What keeps this owner from it: a hold, or somebody who came before.
    fn blocker(&self, owner: &str, want: &Want) -> Option<Row> {
        let holders = self.holders(&want.mutex);
        let limit = holders
            .clone()
            .filter_map(|hold| hold.access.limit())
            .chain(want.access.limit())
            .min();
        let number = holders.clone().count();
        let one_is_exclusive = holders.clone().any(|hold| hold.access == Access::Exclusive);
        let exclusive = want.access == Access::Exclusive || one_is_exclusive;
        let full = limit.is_some_and(|limit| number >= usize::try_from(limit).unwrap());
        let ahead = self
            .line
            .iter()
            .take_while(|waiter| waiter.owner != owner)
            .find(|waiter| waiter.wants.iter().any(|other| other.mutex == want.mutex));
        let first = holders.clone().next();
        match (first, ahead) {
            (Some(hold), _) if exclusive || full || ahead.is_some() => Some(row(
                &want.mutex,
                Verdict::Busy,
                &hold.owner,
                hold.token,
                hold.permit,
            )),
            (None, Some(waiter)) => Some(row(&want.mutex, Verdict::Busy, &waiter.owner, 0, 0)),
            _ => None,
        }
    }

    fn grant(&mut self, owner: &str, want: &Want) -> Row {
        self.tokens += 1;
        let (token, permit) = (self.tokens, self.free_permit(want));
        self.holds.push(Seen {
            mutex: want.mutex.clone(),
            owner: owner.to_owned(),
            token,
            permit,
            access: want.access,
        });
        row(&want.mutex, Verdict::Captured, owner, token, permit)
    }

    fn free_permit(&self, want: &Want) -> i32 {
        if want.access == Access::Exclusive {
            return 0;
        }
        let taken = |permit: &i32| self.holders(&want.mutex).any(|hold| hold.permit == *permit);
        (1..).find(|permit| !taken(permit)).unwrap()
    }
}

/// A way to make a right history wrong.
struct Corruption {
    /// Every place where it can be done, as a changed history.
    everywhere: fn(&History) -> Vec<History>,
    shows: fn(&Violation) -> bool,
}

/// The checker finds the corruption in whatever history it is possible, wherever it is done.
fn is_found(corruption: &Corruption) {
    let mut runner = TestRunner::new(Config {
        cases: 80,
        failure_persistence: None,
        ..Config::default()
    });
    let done = std::cell::Cell::new(0);
    let found = runner.run(
        &(vec(impulse(), 1..80), any::<Index>()),
        |(impulses, which)| {
            let right = Model::history(&impulses);
            prop_assert_eq!(violations(&right), []);
            let corrupted = (corruption.everywhere)(&right);
            if corrupted.is_empty() {
                return Ok(());
            }
            done.set(done.get() + 1);
            let wrong = which.get(&corrupted);
            let found = violations(wrong);
            prop_assert!(
                found.iter().any(corruption.shows),
                "{found:?} in {wrong:#?}"
            );
            Ok(())
        },
    );
    found.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(done.get() > 10, "it was only possible {} times", done.get());
}

/// The histories that differ in the answer of one call.
fn with_another_answer(
    history: &History,
    change: impl Fn(&Call, &Answer) -> Option<Answer>,
) -> Vec<History> {
    let calls = history.calls();
    let changed = calls.iter().enumerate().filter_map(|(index, call)| {
        let (at, answer) = call.answer.as_ref()?;
        let mut calls = calls.to_vec();
        calls[index].answer = Some((*at, change(call, answer)?));
        Some(History::of(calls))
    });
    changed.collect()
}

#[test]
fn a_refusal_turned_into_a_grant() {
    fn granted(call: &Call, answer: &Answer) -> Option<Answer> {
        let (capture, Answer::Asked(rows)) = (call.as_capture()?, answer) else {
            return None;
        };
        if rows.iter().any(|row| row.verdict.is_grant()) {
            return None;
        }
        let grants = capture.wants.iter().zip(1_000_000..).map(|(want, token)| {
            let permit = i32::from(want.access != Access::Exclusive);
            row(&want.mutex, Verdict::Captured, &call.owner, token, permit)
        });
        Some(Answer::Asked(grants.collect()))
    }
    is_found(&Corruption {
        everywhere: |history| with_another_answer(history, granted),
        shows: |violation| {
            matches!(
                violation,
                Violation::Overlap { .. }
                    | Violation::LimitExceeded { .. }
                    | Violation::PassedInLine { .. }
            )
        },
    });
}

#[test]
fn a_release_that_finds_nothing() {
    is_found(&Corruption {
        everywhere: |history| {
            with_another_answer(history, |_, answer| {
                (*answer == Answer::Released(true)).then_some(Answer::Released(false))
            })
        },
        shows: |violation| matches!(violation, Violation::HoldLost { .. }),
    });
}

#[test]
fn a_look_that_does_not_show_a_hold() {
    is_found(&Corruption {
        everywhere: |history| {
            with_another_answer(history, |_, answer| match answer {
                Answer::Seen(seen) => Some(Answer::Seen(seen.split_last()?.1.to_vec())),
                _ => None,
            })
        },
        shows: |violation| matches!(violation, Violation::HoldLost { .. }),
    });
}

#[test]
fn a_capture_of_two_that_gives_one() {
    is_found(&Corruption {
        everywhere: |history| {
            with_another_answer(history, |_, answer| match answer {
                Answer::Asked(rows) if rows.len() > 1 && rows[0].verdict.is_grant() => {
                    Some(Answer::Asked(rows[1..].to_vec()))
                }
                _ => None,
            })
        },
        shows: |violation| matches!(violation, Violation::HalfTaken { .. }),
    });
}

/// The histories in which one of the grants shows another token or permit than it did.
fn with_another_grant(history: &History, change: impl Fn(&Row) -> Option<Row>) -> Vec<History> {
    with_another_answer(history, |_, answer| {
        let Answer::Asked(rows) = answer else {
            return None;
        };
        let changed = |row: &Row| row.verdict.is_grant().then(|| change(row)).flatten();
        let index = rows.iter().position(|row| changed(row).is_some())?;
        let mut rows = rows.clone();
        rows[index] = changed(&rows[index])?;
        Some(Answer::Asked(rows))
    })
}

fn earlier_grants<'a>(history: &'a History, row: &'a Row) -> impl Iterator<Item = &'a Row> {
    let grants = history.rows().map(|(_, _, earlier)| earlier);
    grants.filter(|earlier| {
        earlier.verdict.is_grant() && earlier.mutex == row.mutex && earlier.token < row.token
    })
}

#[test]
fn a_token_smaller_than_all_others() {
    is_found(&Corruption {
        everywhere: |history| {
            with_another_grant(history, |row| {
                earlier_grants(history, row).next()?;
                Some(Row {
                    token: -1,
                    ..row.clone()
                })
            })
        },
        shows: |violation| matches!(violation, Violation::TokenBackwards { .. }),
    });
}

#[test]
fn a_token_that_another_had() {
    is_found(&Corruption {
        everywhere: |history| {
            with_another_grant(history, |row| {
                let earlier = earlier_grants(history, row).last()?;
                Some(Row {
                    token: earlier.token,
                    ..row.clone()
                })
            })
        },
        shows: |violation| matches!(violation, Violation::TokenReused { .. }),
    });
}

#[test]
fn a_permit_that_another_has() {
    is_found(&Corruption {
        everywhere: |history| {
            let holds = super::holds::acknowledged(history);
            with_another_grant(history, |row| {
                let own = holds.iter().find(|hold| hold.token == row.token)?;
                let other = holds.iter().find(|hold| {
                    hold.mutex == own.mutex && hold.token != own.token && hold.is_there_at(own.from)
                })?;
                Some(Row {
                    permit: other.permit,
                    ..row.clone()
                })
            })
        },
        shows: |violation| matches!(violation, Violation::PermitTwice { .. }),
    });
}

#[test]
fn another_ticket_for_one_who_waits() {
    is_found(&Corruption {
        everywhere: |history| {
            let queued_before = |call: &Call| {
                let earlier = history
                    .calls()
                    .iter()
                    .rfind(|earlier| earlier.owner == call.owner && earlier.invoked < call.invoked);
                earlier.is_some_and(|earlier| {
                    earlier
                        .as_capture()
                        .is_some_and(|capture| capture.ticket().is_some())
                })
            };
            with_another_answer(history, |call, answer| {
                call.as_capture()?.ticket()?;
                let Answer::Asked(rows) = answer else {
                    return None;
                };
                let verdict = Verdict::Queued { ticket: 1_000_000 };
                let rows = rows.iter().map(|row| Row {
                    verdict,
                    ..row.clone()
                });
                queued_before(call).then(|| Answer::Asked(rows.collect()))
            })
        },
        shows: |violation| matches!(violation, Violation::PlaceLost { .. }),
    });
}
