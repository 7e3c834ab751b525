//! refinery on a transaction that is already open.
//!
//! refinery's own driver begins a transaction for each migration and takes no lock: of eight
//! runners started at once on an empty database, seven fail. On this newtype a runner does all its
//! work in one transaction, behind one advisory lock that the transaction keeps to its end:
//! concurrent runners take turns, and a runner that dies leaves nothing behind.

use refinery_core::{
    AsyncMigrate, Migration,
    traits::r#async::{AsyncQuery, AsyncTransaction},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow, Transaction};

/// A transaction in which a refinery runner can run.
pub(super) struct MigrationTransaction<'a>(Transaction<'a>);

/// Why a step of a migration failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("{}", with_detail(.0))]
    Database(#[from] tokio_postgres::Error),
    #[error("the history of migrations cannot be read: {0}")]
    History(String),
}

/// The driver's message is only "db error".
fn with_detail(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) => answer.to_string(),
        None => error.to_string(),
    }
}

impl<'a> MigrationTransaction<'a> {
    /// Takes the turn named by this text: waits, for however long, until no other transaction has
    /// it. It is told before it does.
    pub(super) async fn begin(
        transaction: Transaction<'a>,
        turn: &str,
        waits: impl FnOnce(),
    ) -> Result<Self, StepError> {
        let this = Self(transaction);
        let key = turn_key(turn);
        let at_once = this
            .rows(&format!("select 1 where pg_try_advisory_xact_lock({key})"))
            .await?;
        if !at_once.is_empty() {
            return Ok(this);
        }
        waits();
        // Waiting for another migrator is no fault, so the session's own limits are lifted, for
        // this wait alone.
        let limits = this
            .rows("select current_setting('statement_timeout'), current_setting('lock_timeout')")
            .await?;
        this.0
            .batch_execute("set local statement_timeout = 0; set local lock_timeout = 0")
            .await?;
        this.0
            .batch_execute(&format!("select pg_advisory_xact_lock({key})"))
            .await?;
        if let Some(limits) = limits.first() {
            this.0
                .batch_execute(&format!(
                    "set local statement_timeout = {}; set local lock_timeout = {}",
                    literal(limits.get(0).unwrap_or("0")),
                    literal(limits.get(1).unwrap_or("0")),
                ))
                .await?;
        }
        Ok(this)
    }

    /// Takes no turn: for looking only.
    pub(super) fn for_looking(transaction: Transaction<'a>) -> Self {
        Self(transaction)
    }

    /// Ends the looking.
    pub(super) async fn end_looking(self) -> Result<(), StepError> {
        Ok(self.0.rollback().await?)
    }

    /// The migrations that were applied to this schema, oldest first; none if it does not exist.
    pub(super) async fn applied_in(
        &mut self,
        schema: &str,
        quoted_schema: &str,
    ) -> Result<Vec<Migration>, StepError> {
        let table = format!("{quoted_schema}.refinery_schema_history");
        // Read from the catalogue, not by to_regclass: that answers from what the session remembers,
        // and whoever has waited for another migrator would remember that there was nothing.
        let exists = self
            .rows(&format!(
                "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = {} and c.relname = 'refinery_schema_history'",
                literal(schema)
            ))
            .await?;
        if exists.is_empty() {
            return Ok(Vec::new());
        }
        self.query(&format!(
            "select version, name, applied_on, checksum from {table} order by version"
        ))
        .await
    }

    /// Makes the schema if it is missing, and the place where unqualified names go to the end of
    /// this transaction.
    pub(super) async fn enter_schema(
        &mut self,
        name: &str,
        quoted_schema: &str,
    ) -> Result<(), StepError> {
        let exists = self
            .rows(&format!(
                "select 1 from pg_namespace where nspname = {}",
                literal(name)
            ))
            .await?;
        // `create schema if not exists` asks for the right to create one even where it exists.
        if exists.is_empty() {
            self.0.batch_execute(&make_schema(quoted_schema)).await?;
        }
        Ok(self.0.batch_execute(&enter_schema(quoted_schema)).await?)
    }

    /// Says what refinery's table is, for people who look.
    pub(super) async fn explain_history(&mut self) -> Result<(), StepError> {
        Ok(self.0.batch_execute(EXPLAIN_HISTORY).await?)
    }

    /// The transaction itself.
    pub(super) fn transaction(&self) -> &Transaction<'a> {
        &self.0
    }

    /// Keeps everything that was done.
    pub(super) async fn commit(self) -> Result<(), tokio_postgres::Error> {
        self.0.commit().await
    }

    /// Rows by the simple protocol, which leaves no statement behind that a pooler could trip over.
    async fn rows(&self, query: &str) -> Result<Vec<SimpleQueryRow>, StepError> {
        let messages = self.0.simple_query(query).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }
}

const EXPLAIN_HISTORY: &str = "\
comment on table refinery_schema_history is 'The migrations applied to this schema, kept by refinery.';
comment on column refinery_schema_history.version is 'Number of the migration.';
comment on column refinery_schema_history.name is 'Name of the migration.';
comment on column refinery_schema_history.applied_on is 'When it was applied, by the clock of the program that did so.';
comment on column refinery_schema_history.checksum is 'Checksum of its name, number and text.'";

fn make_schema(quoted: &str) -> String {
    format!(
        "create schema {quoted};\n\
         comment on schema {quoted} is 'pgmutex: locks as rows. What is held now is in the view held.'"
    )
}

/// In a schema of another role's it goes on as that role, if it may: what is made there is the owner's,
/// and what the owner has put there does not run with more rights than its own.
fn enter_schema(quoted: &str) -> String {
    format!(
        "do $as_owner$ declare owner oid := (select nspowner from pg_namespace where oid = {}::regnamespace);\n\
         begin\n\
         \x20   if owner <> current_user::regrole::oid\n\
         \x20      and pg_has_role(owner, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end) then\n\
         \x20       execute format('set local role %I', pg_get_userbyid(owner));\n\
         \x20   end if;\n\
         end $as_owner$;\n\
         set local search_path = {quoted}, pg_temp;\n\
         set local check_function_bodies = on",
        literal(quoted)
    )
}

fn turn_key(turn: &str) -> String {
    format!("hashtextextended({}, 31638917211252088)", literal(turn))
}

/// A text as an SQL literal. (The simple protocol has no parameters.)
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn applied_migration(row: &SimpleQueryRow) -> Result<Migration, StepError> {
    let field = |column: usize, name: &str| {
        row.try_get(column)?
            .ok_or_else(|| StepError::History(format!("{name} is null")))
    };
    let unreadable = |what: &str, text: &str| StepError::History(format!("{what} is {text:?}"));
    let (version, name) = (field(0, "version")?, field(1, "name")?);
    let (applied_on, checksum) = (field(2, "applied_on")?, field(3, "checksum")?);
    Ok(Migration::applied(
        version
            .parse()
            .map_err(|_| unreadable("version", version))?,
        name.to_owned(),
        OffsetDateTime::parse(applied_on, &Rfc3339)
            .map_err(|_| unreadable("applied_on", applied_on))?,
        checksum
            .parse()
            .map_err(|_| unreadable("checksum", checksum))?,
    ))
}

impl AsyncTransaction for MigrationTransaction<'_> {
    type Error = StepError;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, StepError> {
        let mut count = 0;
        for query in queries {
            self.0.batch_execute(query).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for MigrationTransaction<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, StepError> {
        self.rows(query)
            .await?
            .iter()
            .map(applied_migration)
            .collect()
    }
}

impl AsyncMigrate for MigrationTransaction<'_> {}

/// Stands in for the transaction where a runner is only to say what it would do.
pub(super) struct MigrationScript {
    applied: Vec<Migration>,
    statements: Vec<String>,
}

impl MigrationScript {
    /// Begins where these are applied.
    pub(super) fn after(applied: Vec<Migration>) -> Self {
        Self {
            applied,
            statements: Vec::new(),
        }
    }

    /// What was to be done, as a script for `psql`: one transaction, behind the lock that the
    /// migrator takes, and only where exactly the same migrations are applied as here.
    pub(super) fn text(self, quoted_schema: &str, turn: &str) -> String {
        let newest = self.applied.iter().map(Migration::version).max();
        let mut script = vec![
            "begin isolation level read committed".to_owned(),
            format!("select pg_advisory_xact_lock({})", turn_key(turn)),
        ];
        if newest.is_none() {
            // It may have been made for the role that migrates.
            script.push(make_schema(quoted_schema).replacen(
                "create schema",
                "create schema if not exists",
                1,
            ));
        }
        script.push(enter_schema(quoted_schema));
        let history = format!("{quoted_schema}.refinery_schema_history");
        let (here, expected) = match newest {
            None => (
                format!("to_regclass({}) is not null", literal(&history)),
                "this script is for a schema that was never migrated".to_owned(),
            ),
            Some(newest) => (
                format!("(select max(version) from {history}) is distinct from {newest}"),
                format!("this script is for a schema at version {newest}"),
            ),
        };
        script.push(format!(
            "do $check$ begin if {here} then raise exception {}; end if; end $check$",
            literal(&expected)
        ));
        script.extend(self.statements);
        script.push(EXPLAIN_HISTORY.to_owned());
        script.push("select ensure_generation()".to_owned());
        script.push("commit".to_owned());
        let mut text = String::new();
        for statement in script {
            text.push_str(statement.trim_end());
            if !statement.trim_end().ends_with(';') {
                text.push(';');
            }
            text.push_str("\n\n");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl AsyncTransaction for MigrationScript {
    type Error = StepError;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, StepError> {
        let before = self.statements.len();
        self.statements.extend(queries.map(ToOwned::to_owned));
        Ok(self.statements.len() - before)
    }
}

impl AsyncQuery<Vec<Migration>> for MigrationScript {
    async fn query<'a>(&'a mut self, _: &'a str) -> Result<Vec<Migration>, StepError> {
        Ok(self.applied.clone())
    }
}

impl AsyncMigrate for MigrationScript {}
