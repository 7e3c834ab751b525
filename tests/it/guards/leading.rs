//! One leader at a time.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pgmutex::{Error, Leader, Leadership, Mutexes};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{held, in_line, must};
use crate::support::{Database, Session, mutex_id};

const LONG: Duration = Duration::from_secs(3600);

/// How many lead at the moment: never two.
#[derive(Clone, Default)]
struct Throne(Arc<AtomicUsize>);

struct Seat(Arc<AtomicUsize>);

impl Throne {
    fn sit(&self) -> Seat {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "two lead");
        Seat(Arc::clone(&self.0))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Terms = mpsc::UnboundedSender<(&'static str, Leadership)>;

/// Leads until told otherwise, and tells of each term.
fn lead(leader: Leader, name: &'static str, throne: &Throne, terms: &Terms) -> JoinHandle<()> {
    let (throne, terms) = (throne.clone(), terms.clone());
    tokio::spawn(async move {
        let reign = leader.run(async |term| {
            let _seat = throne.sit();
            terms.send((name, term)).unwrap();
            pending::<()>().await;
        });
        reign.await.unwrap();
    })
}

fn leader(mutexes: &Mutexes) -> Leader {
    mutexes.leader(&mutex_id("m")).timeout(LONG)
}

struct Court {
    session: Session,
    mutexes: Mutexes,
    throne: Throne,
    terms: Terms,
    begun: mpsc::UnboundedReceiver<(&'static str, Leadership)>,
    database: Database,
}

impl Court {
    async fn new() -> Self {
        let database = Database::fresh().await;
        let (terms, begun) = mpsc::unbounded_channel();
        Self {
            session: database.session().await,
            mutexes: database.mutexes().await,
            throne: Throne::default(),
            terms,
            begun,
            database,
        }
    }

    fn lead(&self, name: &'static str) -> JoinHandle<()> {
        lead(leader(&self.mutexes), name, &self.throne, &self.terms)
    }

    async fn next_term(&mut self) -> (&'static str, Leadership) {
        must(self.begun.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn whoever_resigns_goes_to_the_end_of_the_line() {
    let mut court = Court::new().await;
    let mut leaders = Vec::new();
    for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
        leaders.push(court.lead(name));
        if place == 0 {
            held(&court.session, 1).await;
        } else {
            in_line(&court.session, place).await;
        }
    }
    let mut token = None;
    for name in ["a", "b", "c", "a", "b"] {
        let (leads, term) = court.next_term().await;
        assert_eq!(leads, name);
        assert!(token.is_none_or(|token| term.fencing_token() > token));
        token = Some(term.fencing_token());
        in_line(&court.session, 2).await;
        assert_eq!(court.throne.0.load(Ordering::SeqCst), 1);
        term.resign();
        must(term.lost()).await;
    }
    for leader in leaders {
        leader.abort();
    }
    held(&court.session, 0).await;
    in_line(&court.session, 0).await;
}

#[tokio::test]
async fn whoever_loses_the_mutex_leads_no_more_and_waits_again() {
    let mut court = Court::new().await;
    let a = court.lead("a");
    let (_, first) = court.next_term().await;
    let b = court.lead("b");
    in_line(&court.session, 1).await;
    let id = mutex_id("m");
    a.abort();
    let _ = a.await;
    let (name, second) = court.next_term().await;
    assert_eq!(name, "b");
    assert!(second.fencing_token() > first.fencing_token());
    // Taken away, and free: the same one leads again, in a new term.
    court.mutexes.force_release(&id, "test").await.unwrap();
    // A write behind its fence tells it, long before a heartbeat would.
    let mut client = court.database.client().await;
    let transaction = client.transaction().await.unwrap();
    let fenced = second.guard().fence(&transaction).await;
    assert!(matches!(fenced, Err(Error::Lost { .. })), "{fenced:?}");
    must(second.lost()).await;
    let (name, third) = court.next_term().await;
    assert_eq!(name, "b");
    assert!(third.fencing_token() > second.fencing_token());
    b.abort();
    held(&court.session, 0).await;
}

#[tokio::test]
async fn a_task_that_ends_gives_its_output_and_the_mutex_back() {
    let court = Court::new().await;
    for rounds in 1..=2 {
        let mut terms = 0;
        let leader = leader(&court.mutexes);
        let output = leader.run(|term| {
            terms += 1;
            async move {
                if terms < rounds {
                    term.resign();
                    pending::<()>().await;
                }
                terms
            }
        });
        assert_eq!(must(output).await.unwrap(), rounds);
        held(&court.session, 0).await;
    }
}

#[tokio::test]
async fn a_term_has_a_text_and_an_end_if_that_is_wanted() {
    let mut court = Court::new().await;
    let bounded = leader(&court.mutexes)
        .max_hold(Duration::from_secs(1))
        .status_data("reminders");
    let a = lead(bounded, "a", &court.throne, &court.terms);
    let (_, first) = court.next_term().await;
    let text = first.guard().mutex().status_data.as_deref();
    assert_eq!(text, Some("reminders"));
    let b = court.lead("b");
    // Nobody resigns, and nothing is taken away.
    must(first.lost()).await;
    while court.next_term().await.0 != "b" {}
    a.abort();
    b.abort();
    held(&court.session, 0).await;
}

#[tokio::test]
async fn many_who_resign_or_are_given_up_are_never_two() {
    let names = ["a", "b", "c", "d"];
    let mut court = Court::new().await;
    let leaders = names.map(|name| court.lead(name));
    for round in 0..24 {
        let (name, term) = court.next_term().await;
        if round % 8 == 7 {
            let place = names.iter().position(|one| *one == name).unwrap();
            leaders[place].abort();
        } else {
            term.resign();
        }
    }
    for leader in leaders {
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled(), "two led");
    }
    held(&court.session, 0).await;
    in_line(&court.session, 0).await;
}
