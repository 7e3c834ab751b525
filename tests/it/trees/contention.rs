//! Many fight over a tree: what each saw is recorded, and checked.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};
use tokio_postgres::Client;

use crate::{
    histories::{breakages::Breakage, decisions::Decisions},
    support::Database,
};

/// How long a fight may take before the test is considered hung. Not a measure of anything.
const HUNG: Duration = Duration::from_secs(120);

const PATHS: [&str; 8] = [
    "/", "/a/", "/a/b/", "/a/b/c/", "/a/b/d/", "/a/e/", "/f/", "/f/g/",
];

const FORGETS_THE_LOCKS_ABOVE: Breakage = Breakage {
    function: "lock_mutex",
    right: "unnest(paths_above(lock_mutex.mutex_id) || lock_mutex.mutex_id)",
    wrong: "unnest(array[lock_mutex.mutex_id])",
};
const OVERLOOKS_WHAT_IS_ABOVE: Breakage = Breakage {
    function: "hold_in_the_way",
    right: "and h.lock_children and",
    wrong: "and false and",
};
const OVERLOOKS_WHAT_IS_BELOW: Breakage = Breakage {
    function: "hold_in_the_way",
    right: "and h.lock_parents and",
    wrong: "and false and",
};
const DRAWS_TOKENS_BACKWARDS: Breakage = Breakage {
    function: "draw_fencing_token",
    right: "+ nextval(",
    wrong: "+ 1000000 - nextval(",
};

/// A hold as its owner saw it: certainly there between the answer and the release.
#[derive(Clone, Debug)]
struct Held {
    path: &'static str,
    owner: String,
    is_shared: bool,
    lock_parents: bool,
    lock_children: bool,
    token: i64,
    asked: Instant,
    answered: Instant,
    released: Instant,
}

#[derive(Debug)]
enum Violation {
    /// The second was captured while the first was held, and in the way.
    Together(Box<(Held, Held)>),
    /// The second was captured later, with a smaller token.
    TokenBackwards(Box<(Held, Held)>),
}

fn is_in_the_way(first: &Held, second: &Held) -> bool {
    let reaches = first.path == second.path
        || second.path.starts_with(first.path) && first.lock_children
        || first.path.starts_with(second.path) && first.lock_parents;
    reaches && first.owner != second.owner && !(first.is_shared && second.is_shared)
}

/// Decisions about paths above each other never happen at the same time, so their tokens tell their
/// order.
fn violations(history: &[Held]) -> Vec<Violation> {
    let mut found = Vec::new();
    for first in history {
        for second in history {
            let pair = || Box::new((first.clone(), second.clone()));
            let is_later = first.answered < second.asked;
            if first.path == second.path && is_later && first.token >= second.token {
                found.push(Violation::TokenBackwards(pair()));
            }
            let was_there = first.released > second.answered;
            if first.token < second.token && was_there && is_in_the_way(first, second) {
                found.push(Violation::Together(pair()));
            }
        }
    }
    found
}

#[derive(Debug, Default)]
struct Fight {
    held: Vec<Held>,
    refused: usize,
    queued: usize,
}

struct Contender {
    client: Client,
    name: String,
    decisions: Decisions,
    fight: Arc<Mutex<Fight>>,
}

impl Contender {
    async fn contend(mut self, rounds: u32) {
        for round in 0..rounds {
            let owner = format!("{} {round}", self.name);
            let waits = self.decisions.percent(50);
            let Some(first) = self.capture(&owner, waits, None).await else {
                continue;
            };
            // Some have two: nobody is in their own way.
            let second = match self.decisions.percent(25) {
                true => self.capture(&owner, false, Some(first.path)).await,
                false => None,
            };
            for _ in 0..self.decisions.below(4) {
                self.client.simple_query("select").await.unwrap();
            }
            for held in [Some(first), second].into_iter().flatten() {
                self.release(held).await;
            }
        }
    }

    /// A path of some kind, as its owner has it then.
    async fn capture(
        &mut self,
        owner: &str,
        waits: bool,
        other_than: Option<&str>,
    ) -> Option<Held> {
        let path = self.decisions.one_of(&PATHS);
        if other_than == Some(path) {
            // What it has alone it would begin to share.
            return None;
        }
        let is_shared = self.decisions.percent(30);
        let (parents, children) = (self.decisions.percent(70), self.decisions.percent(70));
        let access = if is_shared { "shared" } else { "exclusive" };
        let asked = Instant::now();
        loop {
            let row = self
                .client
                .query_one(
                    "select outcome, fencing_token from pgmutex.capture('lab', 'tree', $1, $2, access => $3, wait => $4, \
                                                                        lock_parents => $5, lock_children => $6)",
                    &[&path, &owner, &access, &waits, &parents, &children],
                )
                .await
                .unwrap();
            let answered = Instant::now();
            match row.get(0) {
                "captured" => {
                    return Some(Held {
                        path,
                        owner: owner.to_owned(),
                        is_shared,
                        lock_parents: parents,
                        lock_children: children,
                        token: row.get(1),
                        asked,
                        answered,
                        released: answered,
                    });
                }
                "queued" => self.fight.lock().unwrap().queued += 1,
                "busy" => {
                    self.fight.lock().unwrap().refused += 1;
                    return None;
                }
                other => panic!("{other}"),
            }
            let pause = Duration::from_millis(1 + self.decisions.below(3));
            tokio::time::sleep(pause).await;
        }
    }

    async fn release(&mut self, mut held: Held) {
        held.released = Instant::now();
        let (path, owner) = (held.path, held.owner.clone());
        self.fight.lock().unwrap().held.push(held);
        let release = "select outcome from pgmutex.release('lab', 'tree', $1, $2)";
        let row = self
            .client
            .query_one(release, &[&path, &owner])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), "released");
    }
}

async fn fight(database: &Database, contenders: u32, rounds: u32) -> Fight {
    let mut decisions = Decisions::announced();
    let fight = Arc::new(Mutex::new(Fight::default()));
    let mut tasks = JoinSet::new();
    for number in 0..contenders {
        let contender = Contender {
            client: database.client().await,
            name: number.to_string(),
            decisions: decisions.branch(),
            fight: Arc::clone(&fight),
        };
        tasks.spawn(contender.contend(rounds));
    }
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    };
    timeout(HUNG, ended).await.expect("the contenders hang");
    std::mem::take(&mut *fight.lock().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fight_over_a_tree_and_nobody_has_what_another_locks() {
    let database = Database::fresh().await;
    let fight = fight(&database, 8, 60).await;
    let found = violations(&fight.held);
    assert!(found.is_empty(), "{found:#?}");
    assert!(fight.held.len() > 100, "{}", fight.held.len());
    assert!(fight.refused > 20 && fight.queued > 50, "{fight:?}");
    let left_over = "select ((select count(*) from pgmutex.hold) + (select count(*) from pgmutex.waiting))::text";
    assert_eq!(database.session().await.ask(left_over).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contenders_notice_a_tree_that_is_broken() {
    for (breakage, is_shown) in [
        (
            OVERLOOKS_WHAT_IS_ABOVE,
            is_together as fn(&Violation) -> bool,
        ),
        (OVERLOOKS_WHAT_IS_BELOW, is_together),
        (DRAWS_TOKENS_BACKWARDS, is_backwards),
    ] {
        let database = Database::fresh().await;
        let function = breakage.function;
        breakage.happens_to(&database.client().await).await;
        // One fight may go well by chance; the next need not.
        let mut fights = 0;
        while !violations(&fight(&database, 6, 20).await.held)
            .iter()
            .any(is_shown)
        {
            fights += 1;
            assert!(fights < 20, "{function}");
        }
    }
}

fn is_together(violation: &Violation) -> bool {
    matches!(violation, Violation::Together(pair) if pair.0.path != pair.1.path)
}

fn is_backwards(violation: &Violation) -> bool {
    matches!(violation, Violation::TokenBackwards(pair) if pair.0.path == pair.1.path)
}

/// Who looks while another is writing does not see the other's hold.
#[tokio::test]
async fn forgotten_locks_above_are_noticed() {
    let database = Database::fresh().await;
    FORGETS_THE_LOCKS_ABOVE
        .happens_to(&database.client().await)
        .await;
    let fight = Arc::new(Mutex::new(Fight::default()));
    let captures = async |client: &Client, path: &'static str, owner: &str| {
        let asked = Instant::now();
        let capture = "select outcome, fencing_token from pgmutex.capture('lab', 'tree', $1, $2, lock_parents => true, lock_children => true)";
        let row = client.query_one(capture, &[&path, &owner]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "captured");
        fight.lock().unwrap().held.push(Held {
            path,
            owner: owner.to_owned(),
            is_shared: false,
            lock_parents: true,
            lock_children: true,
            token: row.get(1),
            asked,
            answered: Instant::now(),
            released: Instant::now() + HUNG,
        });
    };
    let (a, b) = (database.client().await, database.client().await);
    a.batch_execute("begin").await.unwrap();
    captures(&a, "/a/", "a").await;
    captures(&b, "/a/b/", "b").await;
    a.batch_execute("commit").await.unwrap();
    let found = violations(&fight.lock().unwrap().held);
    assert!(found.iter().any(is_together), "{found:?}");
}
