//! Pages of the list, from somewhere among few and many holds.

use std::time::{Duration, Instant};

use super::{
    Failure,
    floors::{Floors, Kind},
    ours::{id, in_tasks},
    part::Part,
    plan::Scenario,
    race::{Contender, RoundTrips, Work},
    rows,
    run::Run,
};
use crate::{
    domain::{MutexQuery, PagePosition},
    mutexes::Mutexes,
};

/// As many as the live page shows of them.
const PAGE_SIZE: u32 = 50;

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let floors = Floors::connect(run, 1).await?;
    let least = run.plan.least_in_a_slice();
    let mut entrants = vec![floors.entrant(Kind::RoundTrip, 1, least)];
    for (rows, mutexes) in rows::filled(run).await? {
        // It writes nothing: nothing of it is counted.
        let entrant =
            in_tasks(&rows::name(rows), Pages(mutexes), 1, least).round_trips(RoundTrips::Unknown);
        entrants.push(match entrants.len() {
            1 => entrant.base(),
            _ => entrant,
        });
    }
    let setting = format!("pages of {PAGE_SIZE}");
    let part = Part::raced(run, Scenario::List, setting, run.plan.rounds, entrants).await?;
    Ok(vec![part])
}

struct Pages(Mutexes);

impl Contender for Pages {
    fn once<'a>(&'a self, _: usize, name: &'a str) -> Work<'a, Duration> {
        Box::pin(async move {
            let query = MutexQuery::all()
                .page_size(PAGE_SIZE)
                .after(PagePosition::behind(id(name)?));
            let began = Instant::now();
            self.0.list(&query).await?;
            Ok(began.elapsed())
        })
    }
}
