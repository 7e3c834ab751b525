//! What it would cost without this library: on connections of their own, with prepared statements.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{
    Failure,
    race::{Contender, Entrant, RoundTrips, Tasks, Work},
    run::Run,
};
use crate::postgres::FloorClient;

/// The most connections: more would make none of them faster.
const MOST: usize = 64;
/// How many connections the rest of a run needs.
const OTHERS: i64 = 30;

pub(super) const RAW: &str = "raw";
pub(super) const ROUND_TRIP: &str = "round trip";

/// Connections that tasks share, one at a time.
#[derive(Clone)]
pub(super) struct Floors {
    clients: Arc<Vec<Mutex<FloorClient>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RoundTrip,
    Raw,
    Careful,
    Session,
}

struct Floor {
    kind: Kind,
    clients: Arc<Vec<Mutex<FloorClient>>>,
    /// How many of them are used.
    width: usize,
}

impl Floors {
    /// As many connections as fit so many tasks and the server.
    pub(super) async fn connect(run: &mut Run<'_>, tasks: usize) -> Result<Self, Failure> {
        run.place.mutexes().await?;
        let schema = run.place.schema()?;
        let free = run.place.surroundings.free_connections;
        let count = tasks.min(most(free));
        // Kept for itself: the lot is the same however many there are.
        let seed = i64::from_ne_bytes(crate::random::bytes());
        let mut clients = Vec::new();
        for _ in 0..count {
            let client = FloorClient::connect(run.place.direct(), &schema, seed).await?;
            clients.push(Mutex::new(client));
        }
        Ok(Self {
            clients: Arc::new(clients),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.clients.len()
    }

    /// Takes part with so many tasks, and as many connections as there are.
    pub(super) fn entrant(&self, kind: Kind, tasks: usize, least: usize) -> Entrant {
        let name = match kind {
            Kind::RoundTrip => ROUND_TRIP,
            Kind::Raw => RAW,
            Kind::Careful => "five statements",
            Kind::Session => "session lock",
        };
        self.named(name.to_owned(), kind, tasks, least).base()
    }

    /// Raw pairs by fewer clients, each of which is a task.
    pub(super) fn raw_by(&self, clients: usize, least: usize) -> Entrant {
        let name = match clients {
            1 => "raw, 1 client".to_owned(),
            clients => format!("raw, {clients} clients"),
        };
        self.named(name, Kind::Raw, clients, least)
    }

    fn named(&self, name: String, kind: Kind, tasks: usize, least: usize) -> Entrant {
        let floor = Floor {
            kind,
            clients: Arc::clone(&self.clients),
            width: tasks.min(self.clients.len()).max(1),
        };
        let tasks = Tasks {
            contender: Arc::new(floor),
            count: tasks,
            least,
        };
        let round_trips = match kind {
            Kind::RoundTrip => 1.0,
            Kind::Raw | Kind::Session => 2.0,
            Kind::Careful => 9.0,
        };
        Entrant::new(name, tasks).round_trips(RoundTrips::Known(round_trips))
    }
}

impl Contender for Floor {
    fn once<'a>(&'a self, task: usize, name: &'a str) -> Work<'a, Duration> {
        Box::pin(async move {
            let began = Instant::now();
            let client = self.clients[task % self.width].lock().await;
            let owner = "session";
            match self.kind {
                Kind::RoundTrip => client.round_trip().await?,
                Kind::Raw => client.raw_pair(name, owner).await?,
                Kind::Careful => client.careful_pair(name, owner).await?,
                Kind::Session => client.session_pair(name).await?,
            }
            Ok(began.elapsed())
        })
    }
}

/// How many connections the floors have where the server would take so many more.
pub(super) fn most(free: i64) -> usize {
    usize::try_from(free - OTHERS).unwrap_or(0).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_floors_leave_connections_to_others() {
        for (free, most) in [(-5, 1), (10, 1), (31, 1), (70, 40), (97, 64), (500, 64)] {
            assert_eq!(super::most(free), most, "{free}");
        }
    }
}
