//! Real contention, recorded and checked.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

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
const HUNG: Duration = Duration::from_secs(90);

/// Lets contenders of both manners fight, while an observer looks on.
pub(super) async fn contention(
    database: &Database,
    contenders: u32,
    rounds: u32,
    cuts: u64,
) -> History {
    let mut decisions = Decisions::announced();
    let recorder = Arc::new(Recorder::new());
    let mut tasks = JoinSet::new();
    for number in 0..contenders {
        let (manner, name) = if number % 2 == 0 {
            (Manner::Attached, format!("attached {number}"))
        } else {
            (Manner::Returning, format!("returning {number}"))
        };
        let decisions = decisions.branch();
        let contender =
            Contender::new(&recorder, database.url(), &name, manner, decisions, cuts).await;
        tasks.spawn(contender.contend(rounds));
    }
    let mut observer = Connection::open(database.url()).await;
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
#[derive(Debug)]
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

#[track_caller]
fn keeps_every_promise(history: &History) {
    let broken: Vec<Violation> = violations(history);
    assert!(
        broken.is_empty(),
        "{broken:#?}\nin the history of {} calls",
        history.calls().len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fight_over_few() {
    let database = Database::fresh().await;
    let history = contention(&database, 8, 45, 0).await;
    keeps_every_promise(&history);
    let events = Events::of(&history);
    println!("{} calls, {events:?}", history.calls().len());
    assert!(events.refused > 20, "{events:?}");
    assert!(events.queued > 100, "{events:?}");
    assert!(events.served_after_waiting > 50, "{events:?}");
    assert!(events.sharing > 10, "{events:?}");
    assert!(events.all_of_several > 5, "{events:?}");
    assert_eq!((events.unknown, events.found_again), (0, 0));
    let rest = database.session().await;
    let left_over = "select ((select count(*) from pgmutex.hold) + (select count(*) from pgmutex.waiting))::text";
    assert_eq!(rest.ask(left_over).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fight_over_few_while_connections_are_cut() {
    let database = Database::fresh().await;
    let history = contention(&database, 8, 40, 8).await;
    keeps_every_promise(&history);
    let events = Events::of(&history);
    println!("{} calls, {events:?}", history.calls().len());
    assert!(events.queued > 50, "{events:?}");
    assert!(events.sharing > 0, "{events:?}");
    assert!(events.unknown > 10, "{events:?}");
    assert!(events.found_again > 0, "{events:?}");
}
