//! Capture and release of what nobody else wants.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{
    Failure,
    floors::{Floors, Kind},
    ours::{GUARDS, Guarded, OURS, Pair, in_tasks},
    part::{Part, tasks_in_words},
    peer::{Named, Peer},
    plan::Scenario,
    race::{Contender, Entrant, Work},
    run::Run,
};

/// By how many clients the raw table is measured, too: its best is what counts.
const FEWER: [usize; 6] = [1, 2, 4, 8, 16, 32];

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let mutexes = run.place.mutexes().await?;
    let most = run.plan.tasks.iter().copied().max().unwrap_or(1);
    let floors = Floors::connect(run, most).await?;
    let mut parts = Vec::new();
    for tasks in run.plan.tasks.clone() {
        let least = match tasks {
            1 => run.plan.least_in_a_slice(),
            _ => 1,
        };
        let kinds = [Kind::Raw, Kind::RoundTrip, Kind::Careful, Kind::Session];
        let mut entrants: Vec<Entrant> =
            kinds.map(|kind| floors.entrant(kind, tasks, least)).into();
        let fewer = FEWER
            .into_iter()
            .filter(|fewer| *fewer < tasks.min(floors.count()));
        entrants.extend(fewer.map(|clients| floors.raw_by(clients, 1)));
        entrants.push(Pair::entrant(OURS, &mutexes, tasks, least)?);
        if tasks == 1 {
            entrants.push(in_tasks(GUARDS, Guarded(mutexes.clone()), tasks, least));
        }
        for peer in run.peers {
            entrants.push(peers(peer, run.place.name(), tasks, least).await?);
        }
        let setting = tasks_in_words(tasks);
        let part = Part::raced(run, Scenario::Pairs, setting, run.plan.rounds, entrants).await?;
        parts.push(part.with_tasks(tasks));
    }
    Ok(parts)
}

/// Each task has a connection of its own.
async fn peers(
    named: &Named,
    prefix: &str,
    tasks: usize,
    least: usize,
) -> Result<Entrant, Failure> {
    let mut connections = Vec::new();
    for _ in 0..tasks {
        connections.push(Mutex::new(named.connect().await?));
    }
    let name = named.kind.name();
    let peers = Peers {
        name,
        prefix: prefix.to_owned(),
        connections,
    };
    Ok(in_tasks(name, peers, tasks, least).base().uncounted())
}

struct Peers {
    name: &'static str,
    /// Of this run alone: neither an application's keys, nor what another run has left.
    prefix: String,
    connections: Vec<Mutex<Box<dyn Peer>>>,
}

impl Contender for Peers {
    fn once<'a>(&'a self, task: usize, name: &'a str) -> Work<'a, Duration> {
        Box::pin(async move {
            let name = format!("{}/{name}", self.prefix);
            let began = Instant::now();
            let mut peer = self.connections[task].lock().await;
            let failed = |error| format!("{}: {error}", self.name);
            if !peer.capture(&name).await.map_err(failed)? {
                return Err(failed("somebody has a name that is new".to_owned()).into());
            }
            peer.release(&name).await.map_err(failed)?;
            Ok(began.elapsed())
        })
    }
}
