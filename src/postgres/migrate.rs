use std::error::Error as StdError;

use refinery::{Migration, Runner, Target};
use tokio_postgres::{
    Client, IsolationLevel,
    error::{Severity, SqlState},
};

use super::{
    Repository, SchemaName,
    history::{MigrationScript, MigrationTransaction, StepError},
    in_words::in_words,
};
use crate::domain::Error;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The migrations of this library, as refinery embeds them. Each expects the schema to be first in
/// `search_path`: [`Mutexes::migrate`](crate::Mutexes::migrate) sees to that.
pub fn embedded_migrations() -> Runner {
    embedded::migrations::runner()
}

/// What a run of migrations did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The migrations that were applied, as `V1__name`, oldest first; none if everything was there
    /// already.
    pub applied: Vec<String>,
}

/// How the schema in the database compares with what this program knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaStatus {
    /// Version found; `None` if the schema is not there or was never migrated.
    pub found: Option<i64>,
    /// Newest version that this program knows.
    pub expected: i64,
    /// The migrations that [`Mutexes::migrate`](crate::Mutexes::migrate) would apply, oldest
    /// first.
    pub pending: Vec<String>,
}

/// Runs an application's own refinery migrations so that any number of replicas may do it at once.
///
/// refinery takes no lock: started twice at the same moment, it fails. Here the runner works in
/// *one* transaction behind one advisory lock of the database: whoever comes second waits, however
/// long, and then finds everything applied. The transaction is all or nothing, also if the process
/// is killed in the middle; so statements that refuse to run in a transaction (`create index
/// concurrently`, `vacuum`) cannot be among the migrations. It works through a pooler in
/// transaction mode.
///
/// ```no_run
/// # async fn example(client: &mut tokio_postgres::Client) -> Result<(), pgmutex::Error> {
/// use refinery::{Migration, Runner, Target};
///
/// // In an application: refinery::embed_migrations!("migrations"), then migrations::runner().
/// let create = Migration::unapplied("V1__account", "create table account (id bigint primary key)");
/// # let create = create.unwrap();
/// let report = pgmutex::run_migrations(client, &Runner::new(&[create])).await?;
/// println!("applied: {:?}", report.applied);
/// # Ok(())
/// # }
/// ```
///
/// Cancel safety: dropping the future rolls the transaction back.
///
/// # Errors
/// [`Error::Migration`] if a migration fails, or if what was applied earlier differs from what the
/// runner has; [`Error::OutcomeUnknown`] if the connection breaks at the commit: run it again.
pub async fn run_migrations(
    client: &mut Client,
    runner: &Runner,
) -> Result<MigrationReport, Error> {
    let turn = "pgmutex: migrations of the application";
    let mut transaction = begin(client, turn, || {}).await?;
    let report = run(&mut transaction, runner).await?;
    commit(transaction).await?;
    Ok(report)
}

/// What a migrator is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MigrationStep {
    /// Waits for another migrator to end.
    Waiting,
    /// Applies one of the migrations that are missing.
    Applying {
        /// As `V1__name`.
        name: String,
        /// Which of them: 1 is the first.
        number: usize,
        /// How many there are.
        of: usize,
    },
}

/// Brings the schema of this library up to date. Writes nothing if it is.
pub(crate) async fn migrate(
    client: &mut Client,
    repository: &Repository,
    runner: &Runner,
    tell: &mut (dyn FnMut(MigrationStep) + Send),
) -> Result<MigrationReport, Error> {
    let schema = repository.schema();
    let mut transaction = begin(client, &turn(schema), || tell(MigrationStep::Waiting)).await?;
    let applied = applied(&mut transaction, schema).await?;
    let status = status(&applied, runner, schema)?;
    if up_to_date(&applied, runner) {
        conclude(transaction, repository).await?;
        return Ok(MigrationReport::default());
    }
    let quoted = schema.quoted();
    transaction
        .enter_schema(schema.as_str(), &quoted)
        .await
        .map_err(failed)?;
    let mut report = MigrationReport::default();
    let pending = pending(runner, status.found);
    // One by one, so that it can be told which; the last of them also looks for what differs.
    for (place, migration) in pending.iter().enumerate() {
        tell(MigrationStep::Applying {
            name: name(migration),
            number: place + 1,
            of: pending.len(),
        });
        let step =
            Runner::new(runner.get_migrations()).set_target(Target::Version(migration.version()));
        report
            .applied
            .extend(run_ours(&mut transaction, &step, schema).await?.applied);
    }
    if pending.is_empty() {
        report = run_ours(&mut transaction, runner, schema).await?;
    }
    transaction.explain_history().await.map_err(failed)?;
    conclude(transaction, repository).await?;
    Ok(report)
}

/// What [`migrate`] would do, as a script: from where the database is, or from nothing.
pub(crate) async fn migration_script(
    client: Option<&mut Client>,
    schema: &SchemaName,
) -> Result<String, Error> {
    let runner = embedded_migrations();
    let applied = match client {
        Some(client) => applied_by_now(client, schema).await?,
        None => Vec::new(),
    };
    status(&applied, &runner, schema)?;
    if up_to_date(&applied, &runner) {
        return Ok(String::new());
    }
    let mut script = MigrationScript::after(applied);
    let ran = runner.run_async(&mut script).await;
    ran.map_err(|error| Error::Migration {
        reason: in_words(&error),
        source: Some(error.into()),
    })?;
    Ok(script.text(&schema.quoted(), &turn(schema)))
}

/// The migrations that a program knows whose newest one is this.
pub(crate) fn migrations_up_to(newest: Option<i64>) -> Runner {
    let all = embedded_migrations();
    let Some(newest) = newest else {
        return all;
    };
    let known: Vec<Migration> = all
        .get_migrations()
        .iter()
        .filter(|migration| version(migration) <= newest)
        .cloned()
        .collect();
    Runner::new(&known)
}

/// Compares the schema in the database with what this program knows.
pub(crate) async fn schema_status(
    client: &mut Client,
    schema: &SchemaName,
) -> Result<SchemaStatus, Error> {
    let applied = applied_by_now(client, schema).await?;
    status(&applied, &embedded_migrations(), schema)
}

async fn applied_by_now(client: &mut Client, schema: &SchemaName) -> Result<Vec<Migration>, Error> {
    let transaction = client
        .transaction()
        .await
        .map_err(|error| failed(error.into()))?;
    let mut transaction = MigrationTransaction::for_looking(transaction);
    let applied = applied(&mut transaction, schema).await;
    // Not left to its drop: behind a pooler the rollback would keep the server connection until
    // this client's next call.
    transaction.end_looking().await.map_err(failed)?;
    applied
}

/// The name of the lock behind which one schema is migrated.
fn turn(schema: &SchemaName) -> String {
    format!("pgmutex: migrations of schema {schema}")
}

async fn begin<'a>(
    client: &'a mut Client,
    turn: &str,
    waits: impl FnOnce(),
) -> Result<MigrationTransaction<'a>, Error> {
    // Read committed whatever the role's default: the snapshot must be newer than the lock.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .read_only(false)
        .start()
        .await
        .map_err(|error| failed(error.into()))?;
    MigrationTransaction::begin(transaction, turn, waits)
        .await
        .map_err(failed)
}

async fn applied(
    transaction: &mut MigrationTransaction<'_>,
    schema: &SchemaName,
) -> Result<Vec<Migration>, Error> {
    transaction
        .applied_in(schema.as_str(), &schema.quoted())
        .await
        .map_err(failed)
}

async fn run_ours(
    transaction: &mut MigrationTransaction<'_>,
    runner: &Runner,
    schema: &SchemaName,
) -> Result<MigrationReport, Error> {
    run(transaction, runner)
        .await
        .map_err(|error| if_not_allowed(error, schema))
}

/// A migration of ours that failed for want of a right, as what it is.
fn if_not_allowed(error: Error, schema: &SchemaName) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(answer) = inner.downcast_ref::<tokio_postgres::Error>()
            && answer.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
        {
            return Error::PermissionDenied {
                reason: format!(
                    "{error}; schema {schema} is migrated by its owner: connect as it, or have it grant the role owner to this one"
                ),
            };
        }
        cause = inner.source();
    }
    error
}

async fn run(
    transaction: &mut MigrationTransaction<'_>,
    runner: &Runner,
) -> Result<MigrationReport, Error> {
    let report = runner
        .run_async(transaction)
        .await
        .map_err(|error| Error::Migration {
            reason: in_words(&error),
            source: Some(error.into()),
        })?;
    Ok(MigrationReport {
        applied: report.applied_migrations().iter().map(name).collect(),
    })
}

/// Looks whether this is another server than the one that gave the last tokens, and commits.
async fn conclude(
    transaction: MigrationTransaction<'_>,
    repository: &Repository,
) -> Result<(), Error> {
    repository
        .ensure_generation(transaction.transaction())
        .await?;
    commit(transaction).await
}

async fn commit(transaction: MigrationTransaction<'_>) -> Result<(), Error> {
    transaction.commit().await.map_err(|error| {
        if error.as_db_error().is_some() {
            failed(error.into())
        } else {
            Error::OutcomeUnknown {
                operation: "migrate",
                source: error.into(),
            }
        }
    })
}

fn status(
    applied: &[Migration],
    runner: &Runner,
    schema: &SchemaName,
) -> Result<SchemaStatus, Error> {
    let found = applied.iter().map(version).max();
    let known = runner.get_migrations();
    let expected = known.iter().map(version).max().unwrap_or(0);
    if let Some(found) = found.filter(|found| *found > expected) {
        return Err(Error::SchemaVersion {
            schema: schema.to_string(),
            found,
            expected,
        });
    }
    Ok(SchemaStatus {
        found,
        expected,
        pending: pending(runner, found).into_iter().map(name).collect(),
    })
}

/// Those newer than what was found, oldest first.
fn pending(runner: &Runner, found: Option<i64>) -> Vec<&Migration> {
    let known = runner.get_migrations().iter();
    let mut pending: Vec<&Migration> = known
        .filter(|migration| Some(version(migration)) > found)
        .collect();
    pending.sort();
    pending
}

// refinery numbers with i32 or i64, as its features say.
fn version(migration: &Migration) -> i64 {
    i64::from(migration.version())
}

/// Whether exactly the known migrations are applied, with the texts that are known.
fn up_to_date(applied: &[Migration], runner: &Runner) -> bool {
    let known = runner.get_migrations();
    applied.len() == known.len() && applied.iter().all(|migration| known.contains(migration))
}

fn name(migration: &Migration) -> String {
    format!("V{}__{}", migration.version(), migration.name())
}

/// The error for a step of ours that failed. Nothing had been committed.
fn failed(error: StepError) -> Error {
    let StepError::Database(cause) = &error else {
        return Error::Migration {
            reason: error.to_string(),
            source: Some(error.into()),
        };
    };
    let reason = error.to_string();
    let answer = cause.as_db_error();
    let code = answer.map_or("", |answer| answer.code().code());
    let gone = answer.is_none_or(|answer| {
        matches!(
            answer.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        )
    });
    match code {
        "42501" => Error::PermissionDenied { reason },
        "25006" => Error::ReadOnly { reason },
        _ if gone => Error::Unavailable {
            source: error.into(),
        },
        _ => Error::Migration {
            reason,
            source: Some(error.into()),
        },
    }
}
