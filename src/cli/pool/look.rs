use clap::Args;

use super::{
    Failure, Output, Table,
    session::{Named, Shown},
};
use crate::{
    cli::{printable::printable, say},
    domain::SessionFilter,
    mutexes::Mutexes,
    pool::SessionPool,
};

/// How many sessions are asked for at once.
const PAGE: u32 = 1000;

/// Shows how the pools stand, or one pool; it reads every session of theirs
#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Only this pool
    collection: Option<String>,
}

impl Stats {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let pools = match self.collection {
            Some(collection) => {
                let pool: SessionPool = SessionPool::new(mutexes, collection);
                vec![pool.aggregate_statistics().await?]
            }
            None => {
                let pool: SessionPool = SessionPool::new(mutexes, "");
                pool.statistics_of_all().await?
            }
        };
        if output.is_json {
            return output.json_lines(&pools);
        }
        if pools.is_empty() {
            say("there is no pool");
            return Ok(());
        }
        let header = [
            "POOL", "TOTAL", "READY", "IN USE", "LOCKED", "BLOCKED", "INACTIVE", "USES", "SUCCESS",
        ];
        let rows: Vec<Vec<String>> = pools
            .iter()
            .map(|pool| {
                let counts = [
                    pool.total,
                    pool.ready,
                    pool.in_use,
                    pool.locked,
                    pool.blocked,
                    pool.inactive,
                    pool.uses,
                ];
                let rate = pool
                    .success_rate
                    .map(|rate| format!("{:.0}%", rate * 100.0));
                let name = std::iter::once(printable(&pool.collection));
                name.chain(counts.iter().map(u64::to_string))
                    .chain([rate.unwrap_or_default()])
                    .collect()
            })
            .collect();
        output.rows(&mut Table::new(&header), &rows)
    }
}

/// Lists the sessions of a pool
#[derive(Debug, Args)]
pub(super) struct List {
    /// The pool
    collection: String,

    /// Only those for which these conditions hold, as in '[{"path": "country", "test": "equal", "value": "DE"}]'
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<SessionFilter>,

    #[command(flatten)]
    shown: Shown,
}

/// For clap.
fn filter(text: &str) -> Result<SessionFilter, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl List {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let pool: SessionPool = SessionPool::new(mutexes, self.collection);
        let filter = self.filter.unwrap_or_default();
        let mut table = Table::new(&self.shown.header());
        let mut after = None;
        loop {
            let page = pool.find(filter.clone(), Some(PAGE), after).await?;
            if page.is_empty() {
                if after.is_none() {
                    say("there is no such session");
                }
                return Ok(());
            }
            if output.is_json {
                output.json_lines(page.iter().map(|session| self.shown.json(session)))?;
            } else {
                let now = mutexes.now().await?;
                let rows = page.iter().map(|session| self.shown.row(session, now));
                output.rows(&mut table, &rows.collect::<Vec<_>>())?;
            }
            after = page.last().map(|session| session.id);
        }
    }
}

/// Shows one session
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    session: Named,

    #[command(flatten)]
    shown: Shown,
}

impl Show {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let (pool, id) = self.session.pool(mutexes);
        let session = pool.session(id).await?;
        self.shown.print(output, &session, mutexes.now().await?)
    }
}
