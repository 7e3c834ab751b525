use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::{
    Exit, Failure, Output,
    database::Database,
    holder,
    list::Entry as _,
    mutex_name::{HOW_TO_NAME, MutexName, written},
    output::Look,
    say, spoken,
    table::Table,
};
use crate::{
    domain::{Mutex, MutexId, MutexQuery, Waiter, WaiterQuery},
    mutexes::Mutexes,
};

/// How many places in line are shown.
const LINE: u32 = 1000;

/// Shows how a mutex stands: who holds it, under which rule, how long still, and who waits
///
/// Of a shared mutex all holders are shown. Of a path of a tree also who locks it from above or below.
/// It ends with 0 whether the mutex is free or held.
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME)]
pub(super) struct Show {
    /// The mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: MutexName,
}

/// How a mutex stands, as JSON.
#[derive(Serialize)]
struct Standing<H, W> {
    name: String,
    /// `held`, `free`, or `locked` by whoever holds another path.
    state: &'static str,
    at: DateTime<Utc>,
    holds: Vec<H>,
    locked_by: Option<H>,
    waiters: Vec<W>,
}

impl Show {
    pub(super) fn mutex(&self) -> &MutexId {
        self.mutex.id()
    }

    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        let (id, name) = (self.mutex.id(), self.mutex.to_string());
        let holds = mutexes.list(&MutexQuery::of(id)).await?.mutexes;
        let waiters = WaiterQuery::of(id).page_size(LINE);
        let waiters = mutexes.waiters(&waiters).await?;
        let held_beside = match holds.is_empty() {
            true => self.held_beside(&mutexes).await?,
            false => None,
        };
        let now = mutexes.now().await?;
        let state = match (holds.is_empty(), &held_beside) {
            (false, _) => "held",
            (true, Some(_)) => "locked",
            (true, None) => "free",
        };
        if output.is_json {
            output.json(&Standing {
                name,
                state,
                at: now,
                holds: holds.iter().map(Mutex::json).collect(),
                locked_by: held_beside.as_ref().map(Mutex::json),
                waiters: waiters.iter().map(Waiter::json).collect(),
            })?;
            return Ok(Exit::Success);
        }
        let look = match state {
            "free" => Look::Good,
            _ => Look::Warning,
        };
        let state = output.look(look, state);
        output.line(&format!("{name} {state}"))?;
        for (place, hold) in holds.iter().enumerate() {
            if place > 0 {
                output.line("")?;
            }
            output.fields(&spoken::hold(hold, now))?;
        }
        if let Some(beside) = &held_beside {
            output.line(&format!("by whoever holds {}", written(&beside.id)))?;
            output.fields(&spoken::hold(beside, now))?;
        }
        if !waiters.is_empty() {
            output.line("in line")?;
            // All for this mutex, so its name is left out.
            let rows: Vec<Vec<String>> = waiters
                .iter()
                .map(|waiter| waiter.row(now).split_off(1))
                .collect();
            output.rows(&mut Table::new(&Waiter::HEADER[1..]), &rows)?;
        }
        if waiters.len() >= LINE.try_into().unwrap_or(usize::MAX) {
            say(&format!(
                "these are the first {LINE} in line: `pgmutex list --waiting --limit 0` has all"
            ));
        }
        Ok(Exit::Success)
    }

    /// The hold of another path that keeps everybody from this one.
    async fn held_beside(&self, mutexes: &Mutexes) -> Result<Option<Mutex>, Failure> {
        let nobody = holder::nobody()?;
        let in_the_way = mutexes.holder_in_the_way(&self.mutex, &nobody).await?;
        Ok(in_the_way.filter(|hold| hold.id != *self.mutex.id() && hold.fencing_token.get() != 0))
    }
}
