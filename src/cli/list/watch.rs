//! A list that follows what happens.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::sleep;

use super::entry::{Entry, Query};
use crate::{
    cli::{Exit, Failure, Output, interrupt::unless_interrupted, say, table::Table},
    domain::Error,
    mutexes::Mutexes,
};

/// What there is at a time, as JSON.
#[derive(Serialize)]
struct Seen<T> {
    at: DateTime<Utc>,
    entries: Vec<T>,
}

/// Shows the list again and again: at a terminal in the same place, each time; elsewhere below what is
/// there already, when it has changed. Ends when it is interrupted, or when nobody reads any more.
pub(super) async fn watch<Q: Query>(
    mutexes: &Mutexes,
    query: &Q,
    limit: u64,
    interval: Duration,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let size = u32::try_from(limit).unwrap_or(0);
    if size == 0 {
        return Err(Failure::usage(
            "what is watched is kept in memory: say a --limit other than 0",
        ));
    }
    unless_interrupted(mutexes, async {
        let mut shown: Option<Vec<Q::Entry>> = None;
        let mut is_away = false;
        loop {
            match look(mutexes, query, size).await {
                Ok((seen, now)) => {
                    is_away = false;
                    let is_new = shown.as_ref().is_none_or(|shown| differ(shown, &seen));
                    if output.is_json {
                        if is_new {
                            let entries = seen.iter().map(Entry::json).collect();
                            output.json(&Seen { at: now, entries })?;
                        }
                    } else if is_new || output.is_terminal() {
                        let time = now.format("%Y-%m-%d %H:%M:%S UTC").to_string();
                        let rows: Vec<_> = seen.iter().map(|entry| entry.row(now)).collect();
                        let mut lines = vec![output.fitting(&time)];
                        match rows.is_empty() {
                            true => lines.push(output.fitting(Q::Entry::NONE)),
                            false => lines
                                .extend(output.laid_out(&mut Table::new(Q::Entry::HEADER), &rows)),
                        }
                        output.screen(lines)?;
                    }
                    shown = Some(seen);
                }
                // The server may come back: it is said once, and looked again.
                Err(error)
                    if shown.is_some() && (error.is_transient() || error.is_outcome_unknown()) =>
                {
                    if !std::mem::replace(&mut is_away, true) {
                        say(&error.to_string());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            sleep(interval).await;
            output.check_reader()?;
        }
    })
    .await
}

async fn look<Q: Query>(
    mutexes: &Mutexes,
    query: &Q,
    size: u32,
) -> Result<(Vec<Q::Entry>, DateTime<Utc>), Error> {
    let seen = query.page(mutexes, size, None).await?;
    Ok((seen, mutexes.now().await?))
}

fn differ<E: Entry>(shown: &[E], seen: &[E]) -> bool {
    shown.len() != seen.len()
        || shown
            .iter()
            .zip(seen)
            .any(|(shown, seen)| !shown.is_same(seen))
}
