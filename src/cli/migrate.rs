use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::time::{sleep, timeout_at};

use super::{Exit, Failure, Output, database::Database, duration, m3_compat::M3Compat, say};
use crate::{
    domain::M3MutexImport,
    mutexes::Mutexes,
    postgres::{MigrationStep, SchemaName, migration_script},
};

/// How soon a database that did not answer, or a schema that is not up to date, is looked at again.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(1);

/// Brings the schema in a database up to date
///
/// Any number of processes may do it at once: they take turns, and all but the first find everything
/// done. All or nothing: a migration that fails, or a process that dies, leaves the schema as it was.
/// It prints the migrations that it applied. A schema that a newer version of this program has
/// migrated is refused with 78.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Change nothing: print what is missing, and end with 3 if something is
    ///
    /// With --wait it ends with 0 as soon as somebody else has migrated: for those that start beside a migrating job.
    #[arg(long)]
    check: bool,

    /// Change nothing: print the script that would be run, for psql; nothing if nothing is missing
    ///
    /// Without a database it is the script that makes the schema.
    #[arg(long, conflicts_with = "check")]
    sql: bool,

    /// Wait for so long, at most, for a database that cannot be reached yet and for others who migrate
    ///
    /// By default a database that cannot be reached is a failure at once, and others are waited for as long as they
    /// take.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// For rehearsals: be a program whose newest migration is this one
    #[arg(long, value_name = "VERSION", hide = true)]
    newest: Option<i64>,

    #[command(flatten)]
    m3_compat: M3Compat,
}

#[derive(Debug, Serialize)]
struct Applied {
    applied: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    m3_mutex: Option<M3MutexImport>,
}

#[derive(Debug, Serialize)]
struct Pending {
    found: Option<i64>,
    expected: i64,
    pending: Vec<String>,
}

impl Migrate {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        if self.sql && database.url()?.is_none() {
            let schema = SchemaName::new(database.schema.as_str())?;
            output.line(&migration_script(None, &schema).await?)?;
            return Ok(Exit::Success);
        }
        let until = self.wait.map(|wait| Instant::now() + wait);
        let mutexes = reached(database, until).await?;
        if self.sql {
            let script = mutexes.migration_script().await?;
            if !script.is_empty() {
                output.line(&script)?;
            }
            return Ok(Exit::Success);
        }
        match self.check {
            true => check(&mutexes, until, output).await,
            false => self.migrate(&mutexes, until, output).await,
        }
    }

    async fn migrate(
        self,
        mutexes: &Mutexes,
        until: Option<Instant>,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let is_watched = std::io::stderr().is_terminal();
        let mut tell = |step| match step {
            MigrationStep::Waiting => say("another process is migrating: waiting for it"),
            MigrationStep::Applying { name, number, of } if is_watched => {
                say(&format!("applying {name} ({number} of {of})"));
            }
            MigrationStep::Applying { .. } => {}
        };
        let migrating = mutexes.migrate_up_to(self.newest, &mut tell);
        let report = match until {
            None => migrating.await?,
            // What is dropped is rolled back.
            Some(until) => timeout_at(until.into(), migrating).await.map_err(|_| {
                Failure::new(
                    Exit::Busy,
                    "the time is up, most likely because another process is still migrating; nothing was changed",
                )
            })??,
        };
        let m3_mutex = self.m3_compat.install(mutexes).await?;
        if output.is_json {
            let applied = report.applied;
            output.json(&Applied { applied, m3_mutex })?;
            return Ok(Exit::Success);
        }
        for name in report.applied {
            output.line(&name)?;
        }
        if let Some(import) = m3_mutex {
            self.m3_compat.report(&import, output)?;
        }
        Ok(Exit::Success)
    }
}

async fn check(
    mutexes: &Mutexes,
    until: Option<Instant>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let mut pause = SOON;
    let status = loop {
        let is_time_up = until.is_none_or(|until| Instant::now() + pause > until);
        let status = match mutexes.schema_status().await {
            Ok(Some(status)) => status,
            Ok(None) => return Ok(Exit::Success),
            Err(error) if error.is_transient() && !is_time_up => {
                sleep(pause).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if status.pending.is_empty() || is_time_up {
            break status;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LATER);
    };
    let is_behind = !status.pending.is_empty();
    if output.is_json {
        output.json(&Pending {
            found: status.found,
            expected: status.expected,
            pending: status.pending,
        })?;
    } else {
        for name in status.pending {
            output.line(&name)?;
        }
    }
    match is_behind {
        true => Err(Failure::new(
            Exit::Pending,
            "the schema is not up to date: run `pgmutex migrate`",
        )),
        false => Ok(Exit::Success),
    }
}

/// Connects; a database that is still starting is given time.
async fn reached(database: &Database, until: Option<Instant>) -> Result<Mutexes, Failure> {
    let mut pause = SOON;
    loop {
        match database.connect().await {
            Err(failure)
                if failure.exit == Exit::Unavailable
                    && until.is_some_and(|until| Instant::now() + pause < until) =>
            {
                sleep(pause).await;
                pause = (pause * 2).min(LATER);
            }
            done => return done,
        }
    }
}
