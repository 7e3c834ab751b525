//! Whatever is asked, many at once get the answers that each would get alone, and leave the same rows.

use std::{cell::Cell, time::Duration};

use pgmutex::{
    Access, AutoRelease, CaptureAllRequest, CaptureOutcome, CaptureRequest, CapturedAll, Error,
    FencingToken, Mutex, MutexBackend, MutexId, PostgresBackend, Reach, RefreshRequest,
    ReleaseRequest, Released, Result,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;

use crate::support::{Database, Session, owner};

/// Few names, so that requests meet.
const IDS: [&str; 5] = ["a", "b", "c", "d", "/tree/"];

#[derive(Clone, Debug)]
struct Asked {
    id: &'static str,
    owner: &'static str,
    access: Access,
    rule: Rule,
    status_data: Option<&'static str>,
    wait: bool,
    while_holding: bool,
    token: Token,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    None,
    Never,
    Timeout,
    Deadline,
    Passed,
    Custom,
    /// That of a session which is there.
    Connection,
    Gone,
}

#[derive(Clone, Copy, Debug)]
enum Token {
    None,
    /// That of a hold of the mutex.
    Right,
    Wrong,
}

#[derive(Clone, Debug)]
enum Step {
    Capture(Vec<Asked>),
    Refresh(Vec<Asked>),
    Release(Vec<Asked>),
    /// An hour passes for one mutex's holds.
    Pass(&'static str),
}

fn asked() -> impl Strategy<Value = Asked> {
    let access = prop_oneof![
        3 => Just(Access::Exclusive),
        2 => Just(Access::shared()),
        1 => Just(Access::permit_of(2)),
    ];
    let rule = prop_oneof![
        3 => Just(Rule::None),
        4 => select(vec![Rule::Never, Rule::Timeout, Rule::Deadline, Rule::Custom, Rule::Connection]),
        1 => select(vec![Rule::Passed, Rule::Gone]),
    ];
    (
        select(IDS.to_vec()),
        select(vec!["me", "you", "they"]),
        access,
        rule,
        option::weighted(0.3, select(vec!["", "x", "y"])),
        any::<bool>(),
        proptest::bool::weighted(0.2),
        select(vec![Token::None, Token::None, Token::Right, Token::Wrong]),
    )
        .prop_map(
            |(id, owner, access, rule, status_data, wait, while_holding, token)| Asked {
                id,
                owner,
                access,
                rule,
                status_data,
                wait,
                while_holding,
                token,
            },
        )
}

/// What is usual: one asks for several mutexes, each for itself alone, under one rule.
fn usual() -> impl Strategy<Value = Vec<Asked>> {
    let ids = vec(
        prop_oneof![9 => select(IDS[..4].to_vec()), 1 => Just(IDS[4])],
        1..8,
    );
    (asked(), ids).prop_map(|(asked, ids)| {
        let with = |id| Asked {
            id,
            access: Access::Exclusive,
            ..asked.clone()
        };
        ids.into_iter().map(with).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => vec(asked(), 1..8).prop_map(Step::Capture),
        3 => usual().prop_map(Step::Capture),
        1 => vec(asked(), 1..8).prop_map(Step::Refresh),
        3 => vec(asked(), 1..8).prop_map(Step::Release),
        1 => select(IDS.to_vec()).prop_map(Step::Pass),
    ];
    vec(step, 1..10)
}

/// A database in which the steps are taken.
struct World {
    database: Database,
    backend: PostgresBackend,
    session: Session,
    /// The number of a database session.
    attached: u64,
}

impl World {
    async fn new() -> Self {
        let database = Database::fresh().await;
        let (backend, session) = (database.backend(), database.session().await);
        let attached = session.ask("select pgmutex.attach_session()::text").await;
        Self {
            database,
            backend,
            session,
            attached: attached.parse().unwrap(),
        }
    }

    /// Nobody holds anything or waits; and no waiter will be given up while the steps are taken.
    async fn begin(&self) {
        self.session
            .run("delete from pgmutex.mutex_model; delete from pgmutex.mutex_waiter")
            .await;
        // Whoever waits is heard of.
        for owner in ["me", "you"] {
            let asked = Asked {
                id: "a",
                owner,
                access: Access::Exclusive,
                rule: Rule::None,
                status_data: None,
                wait: true,
                while_holding: false,
                token: Token::None,
            };
            let wish = self.wish(&asked).await;
            self.backend.capture_all(&wish).await.unwrap();
        }
        self.session
            .run(
                "delete from pgmutex.mutex_model; delete from pgmutex.mutex_waiter; \
                  update pgmutex.mutex_listener set seen_at = clock_timestamp() + interval '1 day'",
            )
            .await;
    }

    async fn token(&self, id: &str) -> Option<FencingToken> {
        let first = format!(
            "select coalesce(min(fencing_token), 0)::text from pgmutex.hold where mutex_id = '{id}'"
        );
        let token: i64 = self.session.ask(&first).await.parse().unwrap();
        (token > 0).then(|| FencingToken::new(token))
    }

    async fn wish(&self, asked: &Asked) -> CaptureAllRequest {
        let auto_release = match asked.rule {
            Rule::None => None,
            Rule::Never => Some(AutoRelease::Never),
            Rule::Timeout => Some(AutoRelease::Timeout(Duration::from_secs(77))),
            Rule::Deadline => Some(AutoRelease::Deadline(
                "2100-01-01T00:00:00Z".parse().unwrap(),
            )),
            Rule::Passed => Some(AutoRelease::Deadline(
                "2000-01-01T00:00:00Z".parse().unwrap(),
            )),
            Rule::Custom => Some(AutoRelease::Custom {
                code: "tide".to_owned(),
                config: "high".to_owned(),
            }),
            Rule::Connection => Some(AutoRelease::Connection {
                session: self.attached,
                timeout: None,
            }),
            Rule::Gone => Some(AutoRelease::Connection {
                session: 5,
                timeout: None,
            }),
        };
        let while_holding = match asked.while_holding {
            true => self.token(IDS[0]).await.into_iter().collect(),
            false => Vec::new(),
        };
        CaptureAllRequest {
            captures: vec![CaptureRequest {
                id: id(asked),
                owner: owner(asked.owner),
                access: asked.access,
                reach: Reach::none(),
                auto_release,
                status_data: asked.status_data.map(str::to_owned),
            }],
            wait: asked.wait,
            while_holding,
        }
    }

    async fn named(&self, asked: &Asked) -> Option<FencingToken> {
        match asked.token {
            Token::None => None,
            Token::Right => self.token(asked.id).await,
            Token::Wrong => Some(FencingToken::new(7)),
        }
    }

    async fn wishes(&self, asked: &[Asked]) -> Vec<CaptureAllRequest> {
        let mut wishes = Vec::new();
        for asked in asked {
            wishes.push(self.wish(asked).await);
        }
        wishes
    }

    async fn refreshes(&self, asked: &[Asked]) -> Vec<RefreshRequest> {
        let mut refreshes = Vec::new();
        for asked in asked {
            refreshes.push(RefreshRequest {
                id: id(asked),
                owner: owner(asked.owner),
                token: self.named(asked).await,
                status_data: asked.status_data.map(str::to_owned),
            });
        }
        refreshes
    }

    async fn releases(&self, asked: &[Asked]) -> Vec<ReleaseRequest> {
        let mut releases = Vec::new();
        for asked in asked {
            releases.push(ReleaseRequest {
                id: id(asked),
                owner: owner(asked.owner),
                token: self.named(asked).await,
            });
        }
        releases
    }

    async fn pass(&self, id: &str) {
        self.session.age(id, "1 hour").await;
    }

    /// Takes a step together, and says what each was answered: `None` for one that was left alone.
    async fn together(&self, step: &Step) -> Vec<Option<String>> {
        match step {
            Step::Capture(asked) => {
                let wishes = self.wishes(asked).await;
                let answers = self.backend.capture_together(&wishes).await.unwrap();
                answers.into_iter().map(|one| one.map(captured)).collect()
            }
            Step::Refresh(asked) => {
                let refreshes = self.refreshes(asked).await;
                let answers = self.backend.refresh_together(&refreshes).await.unwrap();
                answers.into_iter().map(|one| one.map(refreshed)).collect()
            }
            Step::Release(asked) => {
                let releases = self.releases(asked).await;
                let answers = self.backend.release_together(&releases).await.unwrap();
                answers.into_iter().map(|one| one.map(released)).collect()
            }
            Step::Pass(id) => {
                self.pass(id).await;
                Vec::new()
            }
        }
    }

    /// Takes one of a step's requests alone. All of them are made at once, as if they went together.
    async fn alone(&self, requests: &Requests, place: usize) -> String {
        match requests {
            Requests::Capture(wishes) => captured(self.backend.capture_all(&wishes[place]).await),
            Requests::Refresh(refreshes) => {
                refreshed(self.backend.refresh(&refreshes[place]).await)
            }
            Requests::Release(releases) => released(self.backend.release(&releases[place]).await),
        }
    }

    async fn requests(&self, step: &Step) -> Requests {
        match step {
            Step::Capture(asked) => Requests::Capture(self.wishes(asked).await),
            Step::Refresh(asked) => Requests::Refresh(self.refreshes(asked).await),
            Step::Release(asked) => Requests::Release(self.releases(asked).await),
            Step::Pass(_) => Requests::Release(Vec::new()),
        }
    }

    /// Which mutexes are held, and by whom.
    async fn held(&self) -> Vec<(String, String)> {
        let holds = "select coalesce(string_agg(mutex_id || ' ' || owner_session, ','), '') from pgmutex.hold";
        let holds = self.session.ask(holds).await;
        let pairs = holds.split(',').filter_map(|pair| pair.split_once(' '));
        pairs
            .map(|(id, owner)| (id.to_owned(), owner.to_owned()))
            .collect()
    }

    /// What is there in the end. Times and numbers differ; which of a mutex's tokens is larger does not.
    async fn rows(&self) -> String {
        let holds = "select coalesce(string_agg(concat_ws(' ', mutex_id, permit, permits, owner_session, auto_release_rule, \
                            case when auto_release_rule <> 'connection' then auto_release_config end, status_data, \
                            later), ', ' order by mutex_id, permit), '') \
                     from (select h.*, rank() over (partition by mutex_id order by fencing_token) as later from pgmutex.hold h) h";
        let lines = "select coalesce(string_agg(concat_ws(' ', mutex_id, owner_session, access, permits, while_holding is not null, \
                            listener is not null), ', ' order by mutex_id, ticket), '') \
                     from pgmutex.mutex_waiter";
        format!(
            "held: {}; waiting: {}",
            self.session.ask(holds).await,
            self.session.ask(lines).await
        )
    }
}

enum Requests {
    Capture(Vec<CaptureAllRequest>),
    Refresh(Vec<RefreshRequest>),
    Release(Vec<ReleaseRequest>),
}

/// Whether someone was let in who came after one that was left alone and wants to wait for the mutex; unless it had a hold
/// of its own already.
fn passed(
    asked: &[Asked],
    answers: &[Option<String>],
    mut held: Vec<(String, String)>,
) -> Option<String> {
    let mut left_alone = Vec::new();
    for (asked, answer) in asked.iter().zip(answers) {
        let own = (asked.id.to_owned(), asked.owner.to_owned());
        match answer {
            None if asked.wait && !matches!(asked.rule, Rule::Passed | Rule::Gone) => {
                left_alone.push(asked.id);
            }
            Some(answer) if answer.starts_with("Captured") || answer.starts_with("evicted") => {
                if left_alone.contains(&asked.id) && !held.contains(&own) {
                    return Some(answer.clone());
                }
                held.push(own);
            }
            _ => {}
        }
    }
    None
}

fn id(asked: &Asked) -> MutexId {
    MutexId::new("tests", "alike", asked.id).unwrap()
}

fn hold(mutex: &Mutex) -> String {
    let rule = mutex.auto_release.dump();
    format!(
        "{} {} {} {:?} {} {:?} {}",
        mutex.id.id(),
        mutex.owner.session_id(),
        mutex.permit,
        mutex.permits,
        rule.0,
        mutex.status_data,
        mutex.fencing_token.get() == 0,
    )
}

fn captured(answer: Result<CapturedAll>) -> String {
    match answer {
        Ok(CapturedAll::Captured(holds)) => {
            let one = &holds[0];
            let outcome = match &one.outcome {
                CaptureOutcome::Evicted(evicted) => format!("evicted {}", evicted.session_id),
                outcome => format!("{outcome:?}"),
            };
            format!("{outcome}: {}", hold(&one.mutex))
        }
        Ok(CapturedAll::Queued(ticket)) => format!("queued behind {}", hold(&ticket.holder)),
        Err(error) => refused(&error),
    }
}

fn refreshed(answer: Result<Mutex>) -> String {
    answer.map_or_else(|error| refused(&error), |mutex| hold(&mutex))
}

fn released(answer: Result<Released>) -> String {
    match answer {
        Ok(Released::Released(mutex)) => format!("released {}", hold(&mutex)),
        Ok(Released::NotHeld) => "not held".to_owned(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &Error) -> String {
    match error {
        Error::Busy { id, holder, .. } => format!("{} is busy: {}", id.id(), hold(holder)),
        Error::Lost { id, .. } => format!("{} is lost", id.id()),
        Error::Refused { .. } | Error::WaitCircle { .. } => error.to_string(),
        error => panic!("{error:?}"),
    }
}

#[test]
fn many_at_once_are_answered_as_each_would_be_alone() {
    let runtime = Runtime::new().unwrap();
    let (many, single) = runtime.block_on(async { (World::new().await, World::new().await) });
    let (answered, left) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let compared = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            many.begin().await;
            single.begin().await;
            for step in &steps {
                let requests = many.requests(step).await;
                let held = many.held().await;
                let mut together = many.together(step).await;
                if let Step::Capture(asked) = step {
                    prop_assert_eq!(passed(asked, &together, held), None, "{:?}", step);
                }
                let alone: Vec<usize> = (0..together.len())
                    .filter(|place| together[*place].is_none())
                    .collect();
                for place in &alone {
                    together[*place] = Some(many.alone(&requests, *place).await);
                }
                // In the order in which they were decided about: those who were left alone came last.
                let requests = single.requests(step).await;
                let order: Vec<usize> = (0..together.len())
                    .filter(|place| !alone.contains(place))
                    .chain(alone.iter().copied())
                    .collect();
                let mut each = together.clone();
                for place in order {
                    each[place] = Some(single.alone(&requests, place).await);
                }
                if let Step::Pass(id) = step {
                    single.pass(id).await;
                }
                prop_assert_eq!(&together, &each, "{:?}", step);
                prop_assert_eq!(many.rows().await, single.rows().await, "{:?}", step);
                answered.set(answered.get() + together.len() - alone.len());
                left.set(left.get() + alone.len());
            }
            Ok(())
        })
    });
    compared.unwrap_or_else(|failure| panic!("{failure}"));
    let (answered, left) = (answered.get(), left.get());
    assert!(answered > left, "{answered} answered, {left} left alone");
    drop((many.database, single.database));
}
