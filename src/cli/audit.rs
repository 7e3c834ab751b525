use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::{
    Exit, Failure, Output,
    database::Database,
    duration,
    mutex_name::{HOW_TO_NAME, MutexName, written},
    printable::printable,
    say, spoken,
    table::Table,
};
use crate::{
    domain::{AuditEvent, AuditQuery},
    json::Owner,
    mutexes::Mutexes,
};

/// The audit: who captured, released, evicted and forced which mutex when
///
/// It is off until the owner of the schema enables it for the database.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    List(Box<List>),
    Enable(Enable),
    Disable(Disable),
    Keep(Keep),
}

/// Lists events, the oldest first
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME)]
struct List {
    /// Of this mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: Option<MutexName>,

    /// Of mutexes in this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// From this time on, such as 2030-01-31T12:00:00Z, or for so long until now, such as 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Time>,

    /// Until this time, or until so long ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Time>,

    /// So many at most; 0: all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u64,
}

/// Has every beginning and end of a hold recorded from now on
#[derive(Debug, Args)]
struct Enable {}

/// Records no more; what was recorded stays
#[derive(Debug, Args)]
struct Disable {}

/// Makes room for the coming months, and drops months that are older than wanted: for a cron job
#[derive(Debug, Args)]
struct Keep {
    /// For how long events are kept at least, such as 1y
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    retention: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Time {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

/// For clap.
fn time(text: &str) -> Result<Time, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Time::At(time.to_utc()));
    }
    let ago = duration::parse(text)
        .ok()
        .and_then(|ago| TimeDelta::from_std(ago).ok());
    ago.map(Time::Ago)
        .ok_or_else(|| "write it as in 2030-01-31T12:00:00Z, or 2h for two hours ago".to_owned())
}

impl Time {
    /// On the database's clock.
    async fn seen_from(self, mutexes: &Mutexes) -> Result<DateTime<Utc>, Failure> {
        match self {
            Self::At(time) => Ok(time),
            Self::Ago(ago) => {
                let time = mutexes.now().await?.checked_sub_signed(ago);
                time.ok_or_else(|| Failure::usage("there is no time so long ago"))
            }
        }
    }
}

/// An event, as JSON.
#[derive(Serialize)]
struct Event<'a> {
    name: String,
    at: DateTime<Utc>,
    event: &'static str,
    group: &'a str,
    mode: &'a str,
    id: &'a str,
    permit: Option<u32>,
    fencing_token: i64,
    owner: Owner,
    reason: Option<&'a str>,
    database_role: &'a str,
    client_address: Option<String>,
    application_name: &'a str,
}

impl<'a> From<&'a AuditEvent> for Event<'a> {
    fn from(event: &'a AuditEvent) -> Self {
        Self {
            name: written(&event.id),
            at: event.at,
            event: event.deed.word(),
            group: event.id.group(),
            mode: event.id.mode(),
            id: event.id.id(),
            permit: (event.permit > 0).then_some(event.permit),
            fencing_token: event.fencing_token.get(),
            owner: Owner::from(&event.owner),
            reason: event.reason.as_deref(),
            database_role: &event.database_role,
            client_address: event.client_address.map(|address| address.to_string()),
            application_name: &event.application_name,
        }
    }
}

impl Audit {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        match self.act {
            Act::List(list) => list.run(&mutexes, output).await?,
            Act::Enable(_) => {
                let is_new = mutexes.enable_audit().await?;
                switched(output, true, is_new)?;
                if is_new && !output.is_json {
                    say("call `pgmutex audit keep` now and then, at least every three months");
                }
            }
            Act::Disable(_) => {
                let is_new = mutexes.disable_audit().await?;
                switched(output, false, is_new)?;
            }
            Act::Keep(keep) => {
                let kept = mutexes.keep_audit(keep.retention).await?;
                match output.is_json {
                    true => output.json(&kept)?,
                    false => output.line(&format!(
                        "{} months made, {} dropped, {} events moved",
                        kept.made, kept.dropped, kept.moved
                    ))?,
                }
            }
        }
        Ok(Exit::Success)
    }
}

fn switched(output: &mut Output, enabled: bool, is_new: bool) -> Result<(), Failure> {
    if output.is_json {
        return output.json(&json!({ "enabled": enabled, "changed": is_new }));
    }
    let how = if enabled { "enabled" } else { "disabled" };
    let already = if is_new { "" } else { " already" };
    output.line(&format!("{how}{already}"))
}

/// How many events are asked for at once.
const PAGE: u32 = 1000;

impl List {
    async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let mut query = AuditQuery::all();
        if let Some(mutex) = &self.mutex {
            query = query.mutex(mutex.id());
        }
        if let Some(group) = self.group {
            query = query.group(group);
        }
        if let Some(since) = self.since {
            query = query.since(since.seen_from(mutexes).await?);
        }
        if let Some(until) = self.until {
            query = query.until(until.seen_from(mutexes).await?);
        }
        let header = ["AT", "MUTEX", "EVENT", "HOLDER", "TOKEN", "ROLE", "REASON"];
        let mut table = Table::new(&header);
        let mut left = if self.limit == 0 {
            u64::MAX
        } else {
            self.limit
        };
        let mut is_first = true;
        loop {
            let size = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let page = mutexes.audit(&query.clone().page_size(size)).await?;
            if output.is_json {
                output.json_lines(page.iter().map(Event::from))?;
            } else if !page.is_empty() {
                output.rows(&mut table, &page.iter().map(row).collect::<Vec<_>>())?;
            } else if is_first {
                say("nothing is recorded; `pgmutex audit enable` switches the audit on");
            }
            is_first = false;
            left -= u64::from(size);
            let is_full = page.len() >= usize::try_from(size).unwrap_or(usize::MAX);
            let Some(last) = page.last().filter(|_| is_full) else {
                return Ok(());
            };
            query = query.after(last);
            if left == 0 {
                if !mutexes.audit(&query.page_size(1)).await?.is_empty() {
                    let limit = self.limit;
                    say(&format!(
                        "these are the first {limit}, there are more: say --since, --limit N, or --limit 0 for all"
                    ));
                }
                return Ok(());
            }
        }
    }
}

fn row(event: &AuditEvent) -> Vec<String> {
    vec![
        event.at.format("%Y-%m-%d %H:%M:%S").to_string(),
        written(&event.id),
        event.deed.word().to_owned(),
        spoken::owner(&event.owner),
        event.fencing_token.to_string(),
        printable(&event.database_role),
        printable(event.reason.as_deref().unwrap_or_default()),
    ]
}
