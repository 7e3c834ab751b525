//! `bench`: what locks cost on a database, beside what they would cost without this library.

#[cfg(feature = "bench-peers")]
mod etcd;
mod floors;
mod guards;
mod hand_over;
mod idle;
mod list;
mod measured;
mod memory;
mod ours;
mod pairs;
mod part;
mod peer;
#[cfg(all(test, feature = "test-peers"))]
#[path = "../../../tests/peers/support/mod.rs"]
mod peer_servers;
mod place;
mod plan;
mod pool;
mod race;
mod random;
#[cfg(feature = "bench-peers")]
mod redis;
mod refresh;
mod report;
mod rows;
mod run;
mod server;
mod surroundings;
mod targets;
mod trees;

use std::{io::IsTerminal as _, time::Instant};

use clap::Args;

use super::{
    Exit, Failure, Output,
    database::{Database, UNNAMED},
    interrupt::interrupted,
    say,
};
#[cfg(all(unix, feature = "private-server"))]
use crate::private_server::PrivatePostgres;
use peer::{Kind, Named};
use place::Place;
use plan::{GUARDS, Plan, ROWS, Scenario, Set};
use report::Report;
use run::Run;
use targets::Conditions;

/// Measures how fast locks are on a database, beside what they cost without this library
///
/// All that it compares takes turns in short slices of one run, so that whatever else the machine does slows all of
/// them alike: read the quotients rather than the times. It works in schemas of its own, `pgmutex_bench_…`, which are
/// removed in the end, also after SIGINT, SIGTERM and SIGHUP (a second signal leaves them, and says how to remove
/// them); it does not touch any other. The default set writes up to a gigabyte of WAL. But it keeps the server busy: use a
/// database on which nobody depends.
///
/// Compared with: one round trip; raw, which is an insert and a delete, each durable; five statements, as a careful
/// client would send them to capture (begin, advisory lock, select, insert, commit), and four to release; a session's
/// advisory lock.
///
/// P50 and P99 are milliseconds, CPU microseconds of all the server's processes, WAL bytes of its log, TRIPS round
/// trips, all for each operation. CPU can be seen where the server is on this machine.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// How much to measure
    #[arg(long, value_enum, default_value_t = Set::Default, value_name = "SET")]
    set: Set,

    /// The same as --set smoke
    #[arg(long, conflicts_with = "set")]
    quick: bool,

    /// Measure only this; may be said more than once
    #[arg(long, value_enum, value_name = "NAME")]
    scenario: Vec<Scenario>,

    /// What decides the order of the turns and the names of the mutexes [default: a random one]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// How many holds there are at the most [default: 1000000]
    ///
    /// 10000000 take minutes, and about 4 GB.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(ROWS))]
    rows: Option<u64>,

    /// How many guards are held at once [default: 10000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(GUARDS))]
    guards: Option<u64>,

    /// Compare with this Redis, too: SET NX PX, and a script that compares and deletes
    #[arg(long, value_name = "URL")]
    redis: Option<String>,

    /// Compare with this etcd, too: a lease, a transaction that creates the key if it is not there, and a revoke
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
}

/// Where the database is.
struct Found {
    url: String,
    #[cfg(all(unix, feature = "private-server"))]
    private: Option<PrivatePostgres>,
}

impl Bench {
    pub(super) fn run(self, database: &Database, output: &mut Output) -> Result<Exit, Failure> {
        let (plan, peers) = (self.plan(), self.peers());
        // It blocks: before there is a runtime.
        let found = found(database)?;
        // As the applications have it that are measured here.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let report = runtime.block_on(measured(&plan, &peers, database, &found.url));
        drop(runtime);
        #[cfg(all(unix, feature = "private-server"))]
        drop(found.private);
        report?.print(output)
    }

    fn plan(&self) -> Plan {
        let set = match self.quick {
            true => Set::Smoke,
            false => self.set,
        };
        let seed = self.seed.unwrap_or_else(|| {
            // Small enough for all who read JSON.
            u64::from(u32::from_ne_bytes(crate::random::bytes()))
        });
        let mut plan = Plan::new(set, seed);
        if !self.scenario.is_empty() {
            plan.scenarios = self.scenario.clone();
            plan.scenarios.sort_unstable();
            plan.scenarios.dedup();
        }
        if let Some(rows) = self.rows {
            plan.rows.retain(|fewer| *fewer < rows);
            plan.rows.push(rows);
        }
        if let Some(guards) = self.guards {
            plan.guards = usize::try_from(guards).unwrap_or(usize::MAX);
        }
        plan
    }

    fn peers(&self) -> Vec<Named> {
        let named = |kind, url: &Option<String>| {
            let url = url.clone();
            url.map(|url| Named { kind, url })
        };
        let peers = [
            named(Kind::Redis, &self.redis),
            named(Kind::Etcd, &self.etcd),
        ];
        peers.into_iter().flatten().collect()
    }
}

/// Measures it all, and removes what it made, whatever comes of it.
async fn measured(
    plan: &Plan,
    peers: &[Named],
    database: &Database,
    url: &str,
) -> Result<Report, Failure> {
    let began = Instant::now();
    // Before anything is made: those that cannot be reached.
    let mut described = Vec::new();
    for peer in peers {
        let mut peer = peer.connect().await?;
        described.push(peer.described().await?);
    }
    let is_watched = std::io::stderr().is_terminal();
    let mut place = Place::found(database, url.to_owned()).await?;
    let (on, mut warnings) = surroundings::looked_at(&place.surroundings, plan);
    for warning in &warnings {
        say(warning);
    }
    let mut is_interrupted = false;
    let parts = {
        let mut run = Run::new(plan, &mut place, peers, is_watched);
        let parts = tokio::select! {
            parts = run.measure() => parts,
            signal = interrupted() => {
                is_interrupted = true;
                Err(match signal {
                    Ok(exit) => Failure::silent(exit),
                    Err(failure) => failure,
                })
            }
        };
        for warning in &run.warnings {
            say(warning);
        }
        warnings.append(&mut run.warnings);
        parts
    };
    let cleared = cleared(&mut place, is_interrupted).await;
    let parts = match (parts, cleared) {
        (Ok(parts), Ok(())) => parts,
        // What went wrong first counts; what is left behind is to be known, too.
        (Err(failure), Err(left)) => {
            say(&left.to_string());
            return Err(failure);
        }
        (Err(failure), Ok(())) | (Ok(_), Err(failure)) => return Err(failure),
    };
    let conditions = Conditions {
        rows: &plan.rows,
        guards: plan.guards,
        raw_clients: floors::most(place.surroundings.free_connections),
        redis: described_of(peers, &described, Kind::Redis),
        says_little: surroundings::says_little(&on, plan),
    };
    Ok(Report {
        targets: targets::targets(&parts, &conditions),
        on,
        set: plan.set,
        seed: plan.seed,
        seconds: began.elapsed().as_secs_f64(),
        warnings,
        peers: described,
        parts,
    })
}

/// What such a peer says of itself, if one was named.
fn described_of<'a>(peers: &[Named], described: &'a [String], kind: Kind) -> Option<&'a str> {
    let place = peers.iter().position(|peer| peer.kind == kind)?;
    described.get(place).map(String::as_str)
}

/// Removes what was made; a second signal ends that.
async fn cleared(place: &mut Place, is_interrupted: bool) -> Result<(), Failure> {
    let second_signal = async {
        if !is_interrupted {
            interrupted().await?;
        }
        interrupted().await
    };
    let ended = tokio::select! {
        cleared = place.clear() => return cleared,
        signal = second_signal => signal?,
    };
    Err(Failure::new(ended, place.left_behind()))
}

/// The database that was named; else a private server, as durable as others.
#[cfg(all(unix, feature = "private-server"))]
fn found(database: &Database) -> Result<Found, Failure> {
    if let Some(url) = database.url()? {
        return Ok(Found { url, private: None });
    }
    let private = PrivatePostgres::builder()
        .durable(true)
        .setting("max_connections", "200")
        .start()
        .map_err(|error| Failure::from(format!("{error}; or {UNNAMED}")))?;
    Ok(Found {
        url: private.url("postgres"),
        private: Some(private),
    })
}

#[cfg(not(all(unix, feature = "private-server")))]
fn found(database: &Database) -> Result<Found, Failure> {
    let url = database.url()?.ok_or_else(|| Failure::usage(UNNAMED))?;
    Ok(Found { url })
}
