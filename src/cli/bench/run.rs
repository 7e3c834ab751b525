//! One run: what every scenario needs.

use std::time::Instant;

use super::{
    Failure,
    part::Part,
    peer::Named,
    place::Place,
    plan::{Plan, Scenario},
    random::Random,
    server::{Processes, Server},
};
use super::{hand_over, idle, list, memory, pairs, pool, refresh, rows, trees};

pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) place: &'a mut Place,
    pub(super) peers: &'a [Named],
    pub(super) random: Random,
    processes: Option<Processes>,
    /// Whether somebody looks at what it says of its progress.
    pub(super) is_watched: bool,
    pub(super) began: Instant,
    /// What makes the figures say less, and was not known before.
    pub(super) warnings: Vec<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        place: &'a mut Place,
        peers: &'a [Named],
        is_watched: bool,
    ) -> Self {
        Self {
            processes: Processes::of(&place.surroundings),
            random: Random::new(plan.seed),
            plan,
            place,
            peers,
            is_watched,
            began: Instant::now(),
            warnings: Vec::new(),
        }
    }

    pub(super) async fn measure(&mut self) -> Result<Vec<Part>, Failure> {
        let mut parts = Vec::new();
        for scenario in &self.plan.scenarios {
            self.tell(scenario.name());
            parts.extend(match scenario {
                Scenario::Memory => memory::measure(self).await?,
                Scenario::Idle => idle::measure(self).await?,
                Scenario::Refresh => refresh::measure(self).await?,
                Scenario::Pairs => pairs::measure(self).await?,
                Scenario::HandOver => hand_over::measure(self).await?,
                Scenario::Trees => trees::measure(self).await?,
                Scenario::Pool => pool::measure(self).await?,
                Scenario::Rows => rows::measure(self).await?,
                Scenario::List => list::measure(self).await?,
            });
        }
        Ok(parts)
    }

    pub(super) fn server(&self) -> Server<'_> {
        Server::new(&self.place.workbench, self.processes.as_ref())
    }

    pub(super) fn tell(&self, what: &str) {
        if self.is_watched {
            super::say(what);
        }
    }
}
