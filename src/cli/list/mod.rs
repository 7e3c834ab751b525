//! `pgmutex list`: what is held, and who waits.

mod entry;
mod filter;
mod watch;

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Output, database::Database, duration, say, table::Table};
use crate::mutexes::Mutexes;
pub(super) use entry::Entry;
use filter::Filter;

/// How many entries are asked for at once.
const PAGE: u32 = 1000;

/// Shows what is held: who holds it, since when, how long still
///
/// Ordered by group, mode and id. HELD is for how long, LEFT is the time until the rule ends the hold
/// if nobody refreshes it. With --json each hold is an object on a line of its own.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Show who waits instead, and behind whom
    #[arg(long, conflicts_with_all = ["user_id", "login", "rule", "include_over", "count"])]
    waiting: bool,

    /// So many at most; 0: all
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=u64::from(u32::MAX)))]
    limit: u64,

    /// Only say how many there are
    #[arg(long, conflicts_with = "watch")]
    count: bool,

    /// Show it again when somebody captures, releases or waits, until interrupted; look so often [default: 2s]
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s", value_parser = interval)]
    watch: Option<Duration>,

    #[command(flatten, next_help_heading = "Filters")]
    filter: Filter,
}

/// For clap.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    match interval < Duration::from_millis(100) {
        true => Err("it is at least 100ms".to_owned()),
        false => Ok(interval),
    }
}

impl List {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        if self.count {
            let count = mutexes.count(&self.filter.holds()).await?;
            match output.is_json {
                true => output.json(&json!({ "count": count }))?,
                false => output.line(&count.to_string())?,
            }
            return Ok(Exit::Success);
        }
        match self.waiting {
            false => self.show(&mutexes, self.filter.holds(), output).await,
            true => self.show(&mutexes, self.filter.waiters(), output).await,
        }
    }

    async fn show(
        &self,
        mutexes: &Mutexes,
        query: impl entry::Query,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        match self.watch {
            Some(interval) => watch::watch(mutexes, &query, self.limit, interval, output).await,
            None => print(mutexes, &query, self.limit, output).await,
        }
    }
}

/// Prints page by page, so that it takes no more room for a million than for a thousand.
async fn print<Q: entry::Query>(
    mutexes: &Mutexes,
    query: &Q,
    limit: u64,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let mut table = Table::new(Q::Entry::HEADER);
    let mut after: Option<Q::Entry> = None;
    let mut left = if limit == 0 { u64::MAX } else { limit };
    loop {
        let size = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = query.page(mutexes, size, after.as_ref()).await?;
        let is_full = page.len() >= size.try_into().unwrap_or(usize::MAX);
        if output.is_json {
            output.json_lines(page.iter().map(Entry::json))?;
        } else if !page.is_empty() {
            let now = mutexes.now().await?;
            let rows: Vec<_> = page.iter().map(|entry| entry.row(now)).collect();
            output.rows(&mut table, &rows)?;
        } else if after.is_none() {
            say(Q::Entry::NONE);
        }
        left -= u64::from(size);
        after = page.into_iter().next_back().or(after);
        if !is_full {
            return Ok(Exit::Success);
        }
        if left == 0 {
            if !query.page(mutexes, 1, after.as_ref()).await?.is_empty() {
                say(&format!(
                    "these are the first {limit}, there are more: say --limit N, or --limit 0 for all"
                ));
            }
            return Ok(Exit::Success);
        }
    }
}
