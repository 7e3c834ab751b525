//! Databases that are broken on purpose: what was recorded from them shows it.

use std::sync::Arc;

use tokio_postgres::Client;

use super::{
    checker::{Violation, violations},
    contention::contention,
    history::{History, Verdict, Want},
    recorder::{Connection, Recorder},
    stories::{exclusive, shared, shared_by},
};
use crate::support::Database;

/// A line of a function that somebody has changed.
pub(crate) struct Breakage {
    pub(crate) function: &'static str,
    pub(crate) right: &'static str,
    pub(crate) wrong: &'static str,
}

const FORGETS_THE_LOCK: Breakage = Breakage {
    function: "capture",
    right: "lock_key := mutex_key(capture.mutex_group, capture.mutex_mode, capture.mutex_id);",
    wrong: "lock_key := nextval('mutex_ticket_sequence');",
};
const LETS_READERS_IN_BESIDE_A_WRITER: Breakage = Breakage {
    function: "capture_contended",
    right: "or wants_permit > 0 and other.permit > 0 and others <",
    wrong: "or wants_permit > 0 and others <",
};
const IGNORES_THE_LIMIT_OF_OTHERS: Breakage = Breakage {
    function: "capture_contended",
    right: "coalesce(least(strictest, capture_contended.permits), others + 1)",
    wrong: "coalesce(capture_contended.permits, others + 1)",
};
const IGNORES_THE_LINE: Breakage = Breakage {
    function: "capture_contended",
    right: "if ahead is null\n",
    wrong: "if true\n",
};
const DRAWS_TOKENS_BACKWARDS: Breakage = Breakage {
    function: "capture",
    right: "+ nextval(",
    wrong: "+ 1000000 - nextval(",
};
const GIVES_A_NEW_TICKET_EACH_TIME: Breakage = Breakage {
    function: "join_line",
    right: "coalesce(join_line.ticket, own_ticket)",
    wrong: "coalesce(join_line.ticket, nextval('mutex_ticket_sequence'))",
};
const KEEPS_WHAT_IT_COULD_GET: Breakage = Breakage {
    function: "capture_all",
    right: "if cardinality(blockers) > 0 then",
    wrong: "if false then",
};
const DOES_NOT_KNOW_ITS_OWN: Breakage = Breakage {
    function: "release",
    right: "then 'not_held' else 'released' end",
    wrong: "then 'released' else 'not_held' end",
};

impl Breakage {
    pub(crate) async fn happens_to(&self, client: &Client) {
        let definition = "
            select pg_get_functiondef(p.oid) from pg_proc p
            where p.proname = $1 and p.pronamespace = 'pgmutex'::regnamespace";
        let right: String = client
            .query_one(definition, &[&self.function])
            .await
            .unwrap()
            .get(0);
        assert!(right.contains(self.right), "{} has changed", self.function);
        let wrong = right.replace(self.right, self.wrong);
        client
            .batch_execute(&format!(
                "set search_path to pgmutex; {wrong}; reset search_path"
            ))
            .await
            .unwrap();
    }
}

/// One after the other; each step is a call.
enum Step {
    Captures(&'static str, Vec<Want>),
    Waits(&'static str, Vec<Want>),
    /// All that it was granted.
    Releases(&'static str),
    SomebodyLooks,
}
use Step::{Captures, Releases, SomebodyLooks, Waits};

async fn recorded(database: &Database, steps: &[Step]) -> History {
    let recorder = Recorder::new();
    let mut connection = Connection::open(database.url()).await;
    let mut holds = Vec::new();
    for step in steps {
        match step {
            Captures(owner, wants) | Waits(owner, wants) => {
                let waits = matches!(step, Waits(..));
                let asking = recorder.capture(&mut connection, owner, wants, waits, None);
                let rows = asking.await.unwrap().into_iter();
                holds.extend(rows.filter(|row| row.verdict.is_grant()));
            }
            Releases(owner) => {
                let (own, others): (Vec<_>, Vec<_>) =
                    holds.into_iter().partition(|row| row.holder == **owner);
                holds = others;
                for row in own {
                    let hold = (row.mutex.as_str(), row.token);
                    let releasing = recorder.release(&mut connection, owner, hold, None);
                    releasing.await.unwrap();
                }
            }
            SomebodyLooks => {
                recorder.look(&mut connection).await;
            }
        }
    }
    recorder.history()
}

/// The same steps keep every promise in a database that is right, and show this in the broken one.
async fn is_noticed(breakage: Breakage, steps: Vec<Step>, shown: fn(&Violation) -> bool) {
    let database = Database::fresh().await;
    let right = recorded(&database, &steps).await;
    assert_eq!(violations(&right), [], "in a database that is right");
    // Of one who waits and does not ask again for some seconds nothing is expected, and the next step
    // may come as late as that.
    let mut found = Vec::new();
    for _ in 0..5 {
        let database = Database::fresh().await;
        breakage.happens_to(&database.client().await).await;
        found.extend(violations(&recorded(&database, &steps).await));
        if found.iter().any(shown) {
            return;
        }
    }
    panic!("not noticed: {found:?}");
}

#[tokio::test]
async fn readers_beside_a_writer_are_noticed() {
    is_noticed(
        LETS_READERS_IN_BESIDE_A_WRITER,
        vec![
            Captures("a", vec![exclusive("m")]),
            Captures("b", vec![shared("m")]),
        ],
        |violation| matches!(violation, Violation::Overlap { .. }),
    )
    .await;
}

#[tokio::test]
async fn more_holders_than_one_of_them_allows_are_noticed() {
    is_noticed(
        IGNORES_THE_LIMIT_OF_OTHERS,
        vec![
            Captures("a", vec![shared_by(1, "m")]),
            Captures("b", vec![shared("m")]),
        ],
        |violation| matches!(violation, Violation::LimitExceeded { limit: 1, .. }),
    )
    .await;
}

#[tokio::test]
async fn a_newcomer_who_passes_the_line_is_noticed() {
    is_noticed(
        IGNORES_THE_LINE,
        vec![
            Captures("a", vec![exclusive("m")]),
            Waits("b", vec![exclusive("m")]),
            Releases("a"),
            Captures("c", vec![exclusive("m")]),
        ],
        |violation| matches!(violation, Violation::PassedInLine { .. }),
    )
    .await;
}

#[tokio::test]
async fn tokens_that_run_backwards_are_noticed() {
    is_noticed(
        DRAWS_TOKENS_BACKWARDS,
        vec![
            Captures("a", vec![exclusive("m")]),
            Releases("a"),
            Captures("b", vec![exclusive("m")]),
        ],
        |violation| matches!(violation, Violation::TokenBackwards { .. }),
    )
    .await;
}

#[tokio::test]
async fn a_place_that_is_lost_is_noticed() {
    is_noticed(
        GIVES_A_NEW_TICKET_EACH_TIME,
        vec![
            Captures("a", vec![exclusive("m")]),
            Waits("b", vec![exclusive("m")]),
            Waits("b", vec![exclusive("m")]),
        ],
        |violation| matches!(violation, Violation::PlaceLost { .. }),
    )
    .await;
}

#[tokio::test]
async fn half_of_what_was_asked_for_is_noticed() {
    is_noticed(
        KEEPS_WHAT_IT_COULD_GET,
        vec![
            Captures("a", vec![exclusive("m")]),
            Captures("b", vec![exclusive("k"), exclusive("m")]),
            SomebodyLooks,
        ],
        |violation| matches!(violation, Violation::HalfTaken { .. }),
    )
    .await;
}

#[tokio::test]
async fn a_hold_that_its_owner_does_not_find_is_noticed() {
    is_noticed(
        DOES_NOT_KNOW_ITS_OWN,
        vec![Captures("a", vec![exclusive("m")]), Releases("a")],
        |violation| matches!(violation, Violation::HoldLost { .. }),
    )
    .await;
}

/// Without the lock, whoever looks while another is writing does not see the other's hold.
#[tokio::test]
async fn a_forgotten_lock_is_noticed() {
    let database = Database::fresh().await;
    FORGETS_THE_LOCK.happens_to(&database.client().await).await;
    let recorder = Arc::new(Recorder::new());
    let mut a = Connection::open(database.url()).await;
    let mut b = Connection::open(database.url()).await;
    let meanwhile = async {
        let wants = [exclusive("m")];
        let rows = recorder.capture(&mut b, "b", &wants, false, None).await;
        assert_eq!(rows.unwrap()[0].verdict, Verdict::Captured);
    };
    recorder
        .capture_in_a_transaction(&mut a, "a", &[shared("m")], meanwhile)
        .await;
    let found = violations(&recorder.history());
    assert!(
        matches!(found.as_slice(), [Violation::Overlap { .. }]),
        "{found:?}"
    );
}

/// Not only steps that were laid out for it show a breakage: so does a fight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contenders_notice_what_is_broken() {
    let database = Database::fresh().await;
    let client = database.client().await;
    LETS_READERS_IN_BESIDE_A_WRITER.happens_to(&client).await;
    IGNORES_THE_LINE.happens_to(&client).await;
    // One fight may go well by chance; the next need not.
    let mut found = Vec::new();
    for _ in 0..20 {
        found.extend(violations(&contention(&database, 8, 15, 0).await));
        let shows = |breakage: fn(&Violation) -> bool| found.iter().any(breakage);
        if shows(|violation| matches!(violation, Violation::Overlap { .. }))
            && shows(|violation| matches!(violation, Violation::PassedInLine { .. }))
        {
            return;
        }
    }
    panic!("not noticed: {found:?}");
}
