//! Real contention, recorded and checked.

use std::{ops::AddAssign, sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet, time::timeout};

use super::{
    checker::{Violation, violations},
    contenders::{Contender, Manner},
    decisions::Decisions,
    history::{Access, History, Verdict},
    holds,
    recorder::{Connection, Recorder},
};
use crate::support::Database;

/// How long a contention may take before the test is considered hung. Not a measure of anything.
const HUNG: Duration = Duration::from_secs(300);

/// Lets contenders of both manners fight, while an observer looks on.
pub(super) async fn contention(
    database: &Database,
    contenders: u32,
    rounds: u32,
    cuts: u64,
) -> History {
    let mut decisions = Decisions::announced();
    let recorder = Arc::new(Recorder::new());
    let mut all = Vec::new();
    for number in 0..contenders {
        let (manner, name) = if number % 2 == 0 {
            (Manner::Attached, format!("attached {number}"))
        } else {
            (Manner::Returning, format!("returning {number}"))
        };
        let decisions = decisions.branch();
        all.push(Contender::new(&recorder, database.url(), &name, manner, decisions, cuts).await);
    }
    let mut observer = Connection::open(database.url()).await;
    // Nobody is done before the last has begun.
    let begin = Arc::new(Barrier::new(all.len()));
    let mut tasks = JoinSet::new();
    for contender in all {
        let begin = Arc::clone(&begin);
        tasks.spawn(async move {
            begin.wait().await;
            contender.contend(rounds).await;
        });
    }
    let watching = async {
        loop {
            recorder.look(&mut observer).await;
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(ended) => ended.unwrap(),
                    None => break,
                },
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    timeout(HUNG, watching).await.expect("the contenders hang");
    recorder.look(&mut observer).await;
    recorder.history()
}

/// What has to happen in a contention for its history to mean something.
#[derive(Debug, Default)]
struct Events {
    refused: usize,
    queued: usize,
    served_after_waiting: usize,
    sharing: usize,
    all_of_several: usize,
    unknown: usize,
    found_again: usize,
}

impl Events {
    fn of(history: &History) -> Self {
        let holds = holds::acknowledged(history);
        let verdicts = |wanted: fn(Verdict) -> bool| {
            let rows = history.rows();
            rows.filter(|(_, _, row)| wanted(row.verdict)).count()
        };
        let queued_before = |owner: &str| {
            history
                .captures()
                .any(|capture| capture.owner == owner && capture.ticket().is_some())
        };
        Self {
            refused: verdicts(|verdict| verdict == Verdict::Busy),
            queued: verdicts(|verdict| matches!(verdict, Verdict::Queued { .. })),
            served_after_waiting: holds
                .iter()
                .filter(|hold| queued_before(&hold.owner))
                .count(),
            sharing: holds
                .iter()
                .filter(|one| one.access != Access::Exclusive)
                .filter(|one| {
                    holds.iter().any(|other| {
                        other.mutex == one.mutex
                            && other.token < one.token
                            && other.is_there_at(one.from)
                    })
                })
                .count(),
            all_of_several: history
                .captures()
                .filter(|capture| capture.wants.len() > 1)
                .filter(|capture| {
                    let granted = |(_, rows): (_, &[_])| rows.len() == capture.wants.len();
                    capture.answer.is_some_and(granted) && capture.ticket().is_none()
                })
                .count(),
            unknown: history.unknown_captures().count(),
            found_again: verdicts(|verdict| verdict == Verdict::Refreshed),
        }
    }
}

impl AddAssign for Events {
    fn add_assign(&mut self, more: Self) {
        self.refused += more.refused;
        self.queued += more.queued;
        self.served_after_waiting += more.served_after_waiting;
        self.sharing += more.sharing;
        self.all_of_several += more.all_of_several;
        self.unknown += more.unknown;
        self.found_again += more.found_again;
    }
}

#[track_caller]
fn keeps_every_promise(history: &History) {
    let broken: Vec<Violation> = violations(history);
    assert!(
        broken.is_empty(),
        "{broken:#?}\nin the history of {} calls",
        history.calls().len()
    );
}

/// How many fights there may be until all has happened: what happens in one is chance.
const FIGHTS: usize = 10;

async fn fight(cuts: u64) -> (Database, Events) {
    let database = Database::fresh().await;
    let history = contention(&database, 8, 60, cuts).await;
    keeps_every_promise(&history);
    let events = Events::of(&history);
    println!("{} calls, {events:?}", history.calls().len());
    (database, events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fight_over_few() {
    let mut events = Events::default();
    for _ in 0..FIGHTS {
        let (database, more) = fight(0).await;
        events += more;
        assert_eq!((events.unknown, events.found_again), (0, 0));
        let rest = database.session().await;
        let left_over = "select ((select count(*) from pgmutex.hold) + (select count(*) from pgmutex.waiting))::text";
        assert_eq!(rest.ask(left_over).await, "0");
        if events.refused > 20
            && events.queued > 100
            && events.served_after_waiting > 50
            && events.sharing > 10
            && events.all_of_several > 5
        {
            return;
        }
    }
    panic!("{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fight_over_few_while_connections_are_cut() {
    let mut events = Events::default();
    for _ in 0..FIGHTS {
        let (_database, more) = fight(8).await;
        events += more;
        if events.queued > 50 && events.sharing > 0 && events.unknown > 10 && events.found_again > 0
        {
            return;
        }
    }
    panic!("{events:?}");
}
