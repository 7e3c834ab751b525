//! Where it is measured: schemas of the bench's own, which are gone afterwards.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::{Database, Failure};
use crate::{
    cli::Exit,
    domain::Error,
    mutexes::Mutexes,
    postgres::{PreparedStatements, SchemaName, Surroundings, Workbench},
};

/// How many holds one statement adds: so that a signal does not wait for long.
const AT_ONCE: u64 = 100_000;
/// For how long it is tried to remove what was made: connections may be used up, or somebody still be
/// at work in it.
const REMOVING: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);
/// How long the first connection may take to answer before another takes its place.
const ANSWERING: Duration = Duration::from_secs(2);
/// How long what was under way may take to come to an end.
const ENDING: Duration = Duration::from_secs(5);

pub(super) struct Place {
    database: Database,
    url: String,
    /// Past any pooler.
    direct: String,
    pub(super) workbench: Arc<Workbench>,
    pub(super) surroundings: Surroundings,
    name: String,
    /// Those that may be there.
    schemas: Vec<SchemaName>,
    mutexes: Option<Mutexes>,
    filled: BTreeMap<u64, Mutexes>,
}

impl Place {
    /// Connects, and makes nothing yet.
    pub(super) async fn found(database: &Database, url: String) -> Result<Self, Failure> {
        let direct = database.direct().unwrap_or_else(|| url.clone());
        let workbench = Workbench::connect(&direct).await;
        let workbench = workbench.map_err(|error| match error {
            Error::NoSession { reason } => Failure::new(
                Exit::Unavailable,
                format!("{reason}: name a --direct-url, which leads past it"),
            ),
            error => error.into(),
        })?;
        let surroundings = workbench.surroundings().await?;
        let random = u64::from_ne_bytes(crate::random::bytes());
        Ok(Self {
            database: database.clone(),
            url,
            direct,
            workbench: Arc::new(workbench),
            surroundings,
            name: format!("pgmutex_bench_{random:016x}"),
            schemas: Vec::new(),
            mutexes: None,
            filled: BTreeMap::new(),
        })
    }

    pub(super) fn direct(&self) -> &str {
        &self.direct
    }

    /// Of this run alone.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The schema in which little is held, which the floors are in, too.
    pub(super) fn schema(&self) -> Result<SchemaName, Failure> {
        Ok(SchemaName::new(self.name.as_str())?)
    }

    /// Its mutexes.
    pub(super) async fn mutexes(&mut self) -> Result<Mutexes, Failure> {
        if let Some(mutexes) = &self.mutexes {
            return Ok(mutexes.clone());
        }
        let schema = self.schema()?;
        let mutexes = self.migrated(schema.clone()).await?;
        self.workbench.make_floor(&schema).await?;
        Ok(self.mutexes.insert(mutexes).clone())
    }

    /// The mutexes of a schema in which so many are held.
    pub(super) async fn filled(
        &mut self,
        rows: u64,
        mut tell: impl FnMut(u64),
    ) -> Result<Mutexes, Failure> {
        if let Some(mutexes) = self.filled.get(&rows) {
            return Ok(mutexes.clone());
        }
        let schema = SchemaName::new(format!("{}_{rows}", self.name))?;
        let mutexes = self.migrated(schema.clone()).await?;
        let mut next = 1;
        while next <= rows {
            tell(next - 1);
            let last = rows.min(next + AT_ONCE - 1);
            self.workbench.fill(&schema, next, last).await?;
            next = last + 1;
        }
        self.workbench.settle(&schema).await?;
        self.filled.insert(rows, mutexes.clone());
        Ok(mutexes)
    }

    async fn migrated(&mut self, schema: SchemaName) -> Result<Mutexes, Failure> {
        self.schemas.push(schema.clone());
        let mut builder = self.database.builder_in(schema)?;
        // What it comes to by itself after some hundred calls; here they are to count from the first.
        if self.direct == self.url {
            builder = builder.prepared_statements(PreparedStatements::Always);
        }
        let mutexes = builder.connect(&self.url).await?;
        mutexes.migrate().await?;
        Ok(mutexes)
    }

    /// Removes all that was made.
    pub(super) async fn clear(&mut self) -> Result<(), Failure> {
        let all = self
            .mutexes
            .take()
            .into_iter()
            .chain(std::mem::take(&mut self.filled).into_values());
        for mutexes in all {
            // What takes longer ends with its schema.
            let _ = timeout(ENDING, mutexes.shutdown()).await;
        }
        let until = Instant::now() + REMOVING;
        let mut is_told = false;
        while let Err(failure) = self.remove().await {
            if Instant::now() >= until {
                return Err(Failure::new(
                    failure.exit,
                    format!("{} ({failure})", self.left_behind()),
                ));
            }
            if !is_told {
                is_told = true;
                super::say(&format!(
                    "what was made for this run cannot be removed yet, it is tried again: {failure}"
                ));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What to do if it could not be cleared.
    pub(super) fn left_behind(&self) -> String {
        format!(
            "what was made for this run may be left behind; to remove it: {}",
            removal(&self.schemas)
        )
    }

    async fn remove(&mut self) -> Result<(), Failure> {
        if self.schemas.is_empty() {
            return Ok(());
        }
        self.have_workbench_at_hand().await?;
        while let Some(schema) = self.schemas.last() {
            self.workbench.drop_schema(schema).await?;
            self.schemas.pop();
        }
        Ok(())
    }

    /// The first connection, which is there even if the server takes no more of them; unless it is in
    /// the middle of a statement that nobody waits for any more, or gone.
    async fn have_workbench_at_hand(&mut self) -> Result<(), Failure> {
        if let Ok(Ok(())) = timeout(ANSWERING, self.workbench.answers()).await {
            return Ok(());
        }
        let workbench = Workbench::connect_again(&self.direct).await?;
        workbench.end_session(&self.surroundings).await?;
        self.surroundings = workbench.surroundings().await?;
        self.workbench = Arc::new(workbench);
        Ok(())
    }
}

/// The statements that remove these schemas.
pub(super) fn removal(schemas: &[impl std::fmt::Display]) -> String {
    let drop = |schema| format!("drop schema if exists {schema} cascade;");
    let script: Vec<String> = schemas.iter().map(drop).collect();
    script.join(" ")
}
