//! Whatever is asked, in whatever order, every backend answers alike.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, Mutex as StdMutex},
};

use chrono::{TimeDelta, Utc};
use pgmutex::{
    Access, CaptureAllRequest, CaptureOutcome, CaptureRequest, Captured, CapturedAll, Error,
    FencingToken, ForceReleaseRequest, HoldToKeep, Mutex, MutexBackend, MutexId, MutexOwner,
    MutexQuery, MutexState, Reach, RefreshRequest, ReleaseRequest, Released, ReleasedEach,
    SessionBackend, StateRequest,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, TestRunner},
};

use crate::support::Database;

/// What is asked, of mutexes and owners by their numbers.
#[derive(Clone, Debug)]
enum Call {
    Capture(Wish),
    CaptureEach(Vec<Wish>),
    CaptureAll {
        owner: usize,
        wishes: Vec<(usize, Access, Reach)>,
        wait: bool,
        while_holding_of: Option<usize>,
    },
    AskAgain(usize),
    Refresh(usize, usize),
    Release(usize, usize),
    ReleaseByLastToken(usize, usize),
    ReleaseOwner(usize),
    Leave(usize, usize),
    ForceRelease(usize),
    Keep,
    Request(usize, usize),
    /// So much time that all that is held is over.
    TimePasses,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    mutex: usize,
    owner: usize,
    access: Access,
    reach: Reach,
}

const PLAIN: [&str; 3] = ["0", "1", "2"];
const PATHS: [&str; 7] = ["/", "/a/", "/a/b/", "/a/b/c/", "/a/b0/", "/a/d/", "/e/"];
const OWNERS: usize = 4;

fn any_access() -> impl Strategy<Value = Access> {
    select(vec![
        Access::Exclusive,
        Access::Exclusive,
        Access::shared(),
        Access::permit_of(1),
        Access::permit_of(2),
        Access::permit_of(3),
    ])
}

fn any_reach(names: &[&str]) -> BoxedStrategy<Reach> {
    let of = |parents, children| Reach { parents, children };
    match names == PATHS {
        true => select(vec![
            Reach::all(),
            Reach::all(),
            Reach::none(),
            of(true, false),
            of(false, true),
        ])
        .boxed(),
        false => Just(Reach::none()).boxed(),
    }
}

fn any_call(names: &'static [&'static str]) -> impl Strategy<Value = Call> {
    let mutexes = names.len();
    let wish = || {
        (0..mutexes, 0..OWNERS, any_access(), any_reach(names)).prop_map(
            |(mutex, owner, access, reach)| Wish {
                mutex,
                owner,
                access,
                reach,
            },
        )
    };
    let all = (
        0..OWNERS,
        subsequence((0..mutexes).collect::<Vec<_>>(), 1..=3).prop_shuffle(),
        vec((any_access(), any_reach(names)), mutexes),
        prop::bool::weighted(0.8),
        prop::option::weighted(0.2, 0..OWNERS),
    )
        .prop_map(
            |(owner, mutexes, manners, wait, while_holding_of)| Call::CaptureAll {
                owner,
                wishes: mutexes
                    .into_iter()
                    .zip(manners)
                    .map(|(mutex, (access, reach))| (mutex, access, reach))
                    .collect(),
                wait,
                while_holding_of,
            },
        );
    let (mutex, who) = (move || 0..mutexes, || 0..OWNERS);
    prop_oneof![
        4 => wish().prop_map(Call::Capture),
        1 => vec(wish(), 0..4).prop_map(Call::CaptureEach),
        6 => all,
        6 => who().prop_map(Call::AskAgain),
        1 => (mutex(), who()).prop_map(|(mutex, who)| Call::Refresh(mutex, who)),
        4 => (mutex(), who()).prop_map(|(mutex, who)| Call::Release(mutex, who)),
        1 => (mutex(), who()).prop_map(|(mutex, who)| Call::ReleaseByLastToken(mutex, who)),
        1 => who().prop_map(Call::ReleaseOwner),
        1 => (mutex(), who()).prop_map(|(mutex, who)| Call::Leave(mutex, who)),
        1 => mutex().prop_map(Call::ForceRelease),
        1 => Just(Call::Keep),
        1 => (mutex(), who()).prop_map(|(mutex, who)| Call::Request(mutex, who)),
        1 => Just(Call::TimePasses),
    ]
}

/// A backend that is asked, and what it has answered so far.
struct Asked<'a> {
    backend: &'a dyn MutexBackend,
    group: &'a str,
    names: &'static [&'static str],
    /// In the order in which they appeared.
    tokens: Vec<FencingToken>,
    tickets: Vec<i64>,
    last_tokens: BTreeMap<(MutexId, String), FencingToken>,
    /// What an owner is in line for, in all the lines, and has done nothing else since.
    waits: BTreeMap<usize, CaptureAllRequest>,
}

impl Asked<'_> {
    fn id(&self, mutex: usize) -> MutexId {
        MutexId::new(self.group, "m", self.names[mutex]).unwrap()
    }

    /// Of this case alone: some calls are about all that an owner has.
    fn owner(&self, owner: usize) -> MutexOwner {
        MutexOwner::new(format!("{owner} of {}", self.group)).unwrap()
    }

    fn wish(&self, wish: Wish) -> CaptureRequest {
        CaptureRequest {
            id: self.id(wish.mutex),
            owner: self.owner(wish.owner),
            access: wish.access,
            reach: wish.reach,
            auto_release: None,
            status_data: None,
        }
    }

    fn hold(&mut self, hold: &Mutex) -> String {
        let token = match hold.fencing_token.get() {
            0 => 0,
            _ => number(&mut self.tokens, hold.fencing_token),
        };
        let whose = (hold.id.clone(), hold.owner.session_id().to_owned());
        self.last_tokens.insert(whose, hold.fencing_token);
        format!(
            "{} of {} permit {}/{:?} token {token} {:?}",
            hold.id.id(),
            hold.owner.session_id(),
            hold.permit,
            hold.permits,
            hold.reach
        )
    }

    fn captured(&mut self, captured: &Captured) -> String {
        // What is over may have made way for one who was refused then.
        let how = match captured.outcome {
            CaptureOutcome::Refreshed => "refreshed",
            _ => "captured",
        };
        format!("{how} {}", self.hold(&captured.mutex))
    }

    fn error(&mut self, error: &Error) -> String {
        match error {
            Error::Busy { id, holder, .. } => format!("{} busy {}", id.id(), self.hold(holder)),
            Error::Lost { id, .. } => format!("{} lost", id.id()),
            Error::WaitCircle { id, .. } => format!("{} circle", id.id()),
            error => panic!("{error:?}"),
        }
    }

    fn released(&mut self, released: &Released) -> String {
        match released {
            Released::Released(hold) => format!("released {}", self.hold(hold)),
            Released::NotHeld => "not held".to_owned(),
        }
    }

    fn released_each(&mut self, each: &ReleasedEach) -> String {
        match each {
            ReleasedEach::Done(released) => self.released(released),
            ReleasedEach::Busy(hold) => format!("busy {}", self.hold(hold)),
        }
    }

    async fn holds(&mut self) -> Vec<String> {
        let query = MutexQuery::all().group(self.group);
        let page = self.backend.list(&query).await.unwrap();
        page.mutexes.iter().map(|hold| self.hold(hold)).collect()
    }

    async fn capture_all(&mut self, owner: usize, request: CaptureAllRequest) -> Vec<String> {
        match self.backend.capture_all(&request).await {
            Ok(CapturedAll::Captured(captured)) => {
                let describe = |captured| self.captured(captured);
                captured.iter().map(describe).collect()
            }
            Ok(CapturedAll::Queued(ticket)) => {
                self.waits.insert(owner, request);
                let place = number(&mut self.tickets, ticket.number);
                vec![format!("queued {place} {}", self.hold(&ticket.holder))]
            }
            Err(error) => vec![self.error(&error)],
        }
    }

    /// Forgets the waits that a call may change.
    fn forget(&mut self, call: &Call) {
        match call {
            Call::Capture(Wish { owner, .. })
            | Call::CaptureAll { owner, .. }
            | Call::Release(_, owner)
            | Call::ReleaseByLastToken(_, owner)
            | Call::ReleaseOwner(owner)
            | Call::Leave(_, owner) => {
                self.waits.remove(owner);
            }
            Call::CaptureEach(wishes) => {
                let asks = |owner: &usize| wishes.iter().any(|wish| wish.owner == *owner);
                self.waits.retain(|owner, _| !asks(owner));
            }
            Call::ForceRelease(_) => self.waits.clear(),
            Call::AskAgain(_)
            | Call::Refresh(..)
            | Call::Keep
            | Call::Request(..)
            | Call::TimePasses => {}
        }
    }

    async fn answer(&mut self, call: &Call) -> Vec<String> {
        let backend = self.backend;
        self.forget(call);
        match call {
            Call::Capture(wish) => vec![match backend.capture(&self.wish(*wish)).await {
                Ok(captured) => self.captured(&captured),
                Err(error) => self.error(&error),
            }],
            Call::CaptureEach(wishes) => {
                let requests: Vec<_> = wishes.iter().map(|wish| self.wish(*wish)).collect();
                let answers = backend.capture_each(&requests).await.unwrap();
                let describe = |answer: &Result<Captured, Error>| match answer {
                    Ok(captured) => self.captured(captured),
                    Err(error) => self.error(error),
                };
                answers.iter().map(describe).collect()
            }
            Call::CaptureAll {
                owner,
                wishes,
                wait,
                while_holding_of,
            } => {
                let wishes = wishes.iter().map(|(mutex, access, reach)| Wish {
                    mutex: *mutex,
                    owner: *owner,
                    access: *access,
                    reach: *reach,
                });
                let captures = wishes.map(|wish| self.wish(wish)).collect();
                let while_holding = match while_holding_of {
                    Some(other) => {
                        let query = MutexQuery::all()
                            .group(self.group)
                            .session_id(self.owner(*other).session_id());
                        let page = backend.list(&query).await.unwrap();
                        page.mutexes.iter().map(|hold| hold.fencing_token).collect()
                    }
                    None => Vec::new(),
                };
                let request = CaptureAllRequest {
                    captures,
                    wait: *wait,
                    while_holding,
                };
                if *wait {
                    // An owner waits for one thing at a time.
                    for mutex in 0..self.names.len() {
                        let (id, owner) = (self.id(mutex), self.owner(*owner));
                        backend.leave_line(&id, &owner).await.unwrap();
                    }
                }
                self.capture_all(*owner, request).await
            }
            Call::AskAgain(owner) => match self.waits.remove(owner) {
                Some(request) => self.capture_all(*owner, request).await,
                None => Vec::new(),
            },
            Call::Refresh(mutex, owner) => {
                let request = RefreshRequest {
                    id: self.id(*mutex),
                    owner: self.owner(*owner),
                    token: None,
                    status_data: None,
                };
                vec![match backend.refresh(&request).await {
                    Ok(hold) => self.hold(&hold),
                    Err(error) => self.error(&error),
                }]
            }
            Call::Release(mutex, owner) | Call::ReleaseByLastToken(mutex, owner) => {
                let whose = (self.id(*mutex), self.owner(*owner).session_id().to_owned());
                let token = self.last_tokens.get(&whose).copied();
                let request = ReleaseRequest {
                    id: self.id(*mutex),
                    owner: self.owner(*owner),
                    token: token.filter(|_| matches!(call, Call::ReleaseByLastToken(..))),
                };
                vec![match backend.release(&request).await {
                    Ok(released) => self.released(&released),
                    Err(error) => self.error(&error),
                }]
            }
            Call::ReleaseOwner(owner) => {
                let answers = backend.release_owner(&self.owner(*owner)).await.unwrap();
                let mut released: Vec<_> = answers
                    .iter()
                    .map(|each| self.released_each(each))
                    .collect();
                released.sort();
                released
            }
            Call::Leave(mutex, owner) => {
                backend
                    .leave_line(&self.id(*mutex), &self.owner(*owner))
                    .await
                    .unwrap();
                Vec::new()
            }
            Call::ForceRelease(mutex) => {
                let request = ForceReleaseRequest {
                    id: self.id(*mutex),
                    reason: "test".to_owned(),
                    token: None,
                };
                // Of what is over it does not matter whether it was still there.
                backend.force_release(&request).await.unwrap();
                Vec::new()
            }
            Call::Keep => {
                let kept = self.last_tokens.iter().map(|((id, _), token)| HoldToKeep {
                    id: id.clone(),
                    token: *token,
                });
                let holds: Vec<_> = kept.collect();
                let mut lost: Vec<_> = backend
                    .keep(&holds)
                    .await
                    .unwrap()
                    .iter()
                    .map(|not_kept| (number(&mut self.tokens, not_kept.token), not_kept.is_lost))
                    .map(|lost| format!("{lost:?}"))
                    .collect();
                lost.sort();
                lost
            }
            Call::TimePasses => Vec::new(),
            Call::Request(mutex, owner) => {
                let request = StateRequest {
                    id: self.id(*mutex),
                    owner: self.owner(*owner),
                };
                vec![match backend.request(&request).await.unwrap().value {
                    MutexState::Free => "free".to_owned(),
                    MutexState::CapturedByMe(hold) => format!("mine {}", self.hold(&hold)),
                    MutexState::CapturedByOther(hold) => format!("other's {}", self.hold(&hold)),
                }]
            }
        }
    }
}

/// Numbers what appears, so that two backends can be compared.
fn number<T: PartialEq>(seen: &mut Vec<T>, value: T) -> usize {
    match seen.iter().position(|one| *one == value) {
        Some(position) => position + 1,
        None => {
            seen.push(value);
            seen.len()
        }
    }
}

#[test]
fn every_backend_answers_alike() {
    are_alike(&PLAIN);
}

#[test]
fn every_backend_answers_alike_about_paths() {
    are_alike(&PATHS);
}

/// The database's clock cannot be moved, so the holds are made older.
const AGE: &str = "update pgmutex.mutex_model \
                   set captured_since = captured_since - interval '1 hour', held_since = held_since - interval '1 hour' \
                   where mutex_group = $1";

/// More on demand.
fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.map_or(64, |cases| cases.parse().expect("it is a number"))
}

fn are_alike(names: &'static [&'static str]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let database = runtime.block_on(Database::fresh());
    let postgres = database.backend();
    let client = runtime.block_on(database.client());
    let count = Cell::new(0);
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    };
    let compared = TestRunner::new(config).run(&vec(any_call(names), 1..40), |calls| {
        count.set(count.get() + 1);
        let group = format!("case {}", count.get());
        let now = Arc::new(StdMutex::new(Utc::now()));
        let clock = Arc::clone(&now);
        let process = SessionBackend::new().with_clock(move || *clock.lock().unwrap());
        let backends: [&dyn MutexBackend; 2] = [&postgres, &process];
        let mut asked = backends.map(|backend| Asked {
            backend,
            group: &group,
            names,
            tokens: Vec::new(),
            tickets: Vec::new(),
            last_tokens: BTreeMap::new(),
            waits: BTreeMap::new(),
        });
        runtime.block_on(async {
            for (step, call) in calls.iter().enumerate() {
                if let Call::TimePasses = call {
                    *now.lock().unwrap() += TimeDelta::hours(1);
                    client.execute(AGE, &[&group]).await.unwrap();
                }
                let mut answers = Vec::new();
                for one in &mut asked {
                    answers.push((one.answer(call).await, one.holds().await));
                }
                prop_assert_eq!(&answers[0], &answers[1], "step {} {:?}", step, call);
            }
            Ok(())
        })
    });
    compared.unwrap_or_else(|failure| panic!("{failure}"));
}
