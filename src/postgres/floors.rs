//! What locks would cost without this library, and what is measured beside them: for `pgmutex bench`.

use std::sync::Arc;

use tokio_postgres::Statement;

use super::{
    Repository, SchemaName,
    dedicated::{Dedicated, Way},
    pooler::lends_sessions,
    repository::floors::{self, FloorStatements},
    sqlstate::{Failure, not_connected},
};
use crate::domain::Error;

/// What a bench is measured on.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) version: String,
    pub(crate) fsync: String,
    pub(crate) synchronous_commit: String,
    pub(crate) full_page_writes: String,
    /// Whether the server is on this machine, as far as its addresses tell.
    pub(crate) is_local: bool,
    /// The process that serves the workbench, as the server counts processes.
    pub(crate) process: i32,
    pub(crate) database: String,
    /// When that process began, in microseconds since 1970.
    pub(crate) began: i64,
    /// Publications of all tables, which would have those of a bench, too.
    pub(crate) publications: Vec<String>,
    /// What earlier runs have left behind, or others are at.
    pub(crate) others: Vec<String>,
    /// How many more connections the server would take.
    pub(crate) free_connections: i64,
}

/// What the whole server has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes of its log.
    pub(crate) wal: i64,
    /// Transactions that wrote.
    pub(crate) transactions: i64,
}

/// Rows of all tables of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) all: i64,
    /// Added or changed since a moment.
    pub(crate) new: i64,
}

/// A connection for what is done around the measuring.
pub(crate) struct Workbench {
    client: Dedicated,
    spent: Statement,
}

impl Workbench {
    /// # Errors
    /// [`Error::InvalidUrl`]; [`Error::Unavailable`] if the database cannot be reached;
    /// [`Error::NoSession`] if a pooler lends its sessions: what is set, prepared or locked there would
    /// stay with a connection that others are lent next.
    pub(crate) async fn connect(url: &str) -> Result<Self, Error> {
        let (client, mut second) = (open(url).await?, open(url).await?);
        let repository = Repository::new(SchemaName::default());
        let process = repository.process_id(&*client).await?;
        if lends_sessions(&repository, &client, process, &mut second).await? {
            return Err(Error::NoSession {
                reason:
                    "there is a pooler in transaction mode in between, which lends its sessions"
                        .to_owned(),
            });
        }
        Self::on(client).await
    }

    /// The same once more, by a way that is known to lead straight to the server.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), without the last.
    pub(crate) async fn connect_again(url: &str) -> Result<Self, Error> {
        Self::on(open(url).await?).await
    }

    async fn on(client: Dedicated) -> Result<Self, Error> {
        floors::unlimited(&client).await.map_err(not_done)?;
        let spent = floors::prepare_spent(&client).await.map_err(not_done)?;
        Ok(Self { client, spent })
    }

    pub(crate) async fn surroundings(&self) -> Result<Surroundings, Error> {
        let row = floors::surroundings(&self.client).await.map_err(not_done)?;
        let read = || {
            Ok(Surroundings {
                version: row.try_get(0)?,
                fsync: row.try_get(1)?,
                synchronous_commit: row.try_get(2)?,
                full_page_writes: row.try_get(3)?,
                is_local: row.try_get(4)?,
                process: row.try_get(5)?,
                database: row.try_get(6)?,
                began: row.try_get(7)?,
                publications: row.try_get(8)?,
                others: row.try_get(9)?,
                free_connections: row.try_get(10)?,
            })
        };
        read().map_err(not_done)
    }

    /// What has been written until now.
    pub(crate) async fn written(&self) -> Result<Written, Error> {
        let row = self.client.query_one(&self.spent, &[]).await;
        let row = row.map_err(not_done)?;
        let read = || {
            Ok(Written {
                wal: row.try_get(0)?,
                transactions: row.try_get(1)?,
            })
        };
        read().map_err(not_done)
    }

    /// Makes the table of the floors in a schema that is there.
    pub(crate) async fn make_floor(&self, schema: &SchemaName) -> Result<(), Error> {
        let made = floors::make_floor(&self.client, schema).await;
        made.map_err(not_done)
    }

    /// Adds holds of these numbers.
    pub(crate) async fn fill(
        &self,
        schema: &SchemaName,
        from: u64,
        until: u64,
    ) -> Result<(), Error> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let filled = floors::fill(&self.client, schema, number(from), number(until)).await;
        filled.map_err(not_done)
    }

    /// Leaves the table of holds as it is when nothing has happened to it for a while.
    pub(crate) async fn settle(&self, schema: &SchemaName) -> Result<(), Error> {
        let settled = floors::settle(&self.client, schema).await;
        settled.map_err(not_done)
    }

    /// How many are in line for the mutex of the bench's that is called so.
    pub(crate) async fn in_line(&self, schema: &SchemaName, name: &str) -> Result<u64, Error> {
        let count = floors::in_line(&self.client, schema, name).await;
        Ok(u64::try_from(count.map_err(not_done)?).unwrap_or(0))
    }

    /// Removes a schema and all that is in it.
    pub(crate) async fn drop_schema(&self, schema: &SchemaName) -> Result<(), Error> {
        let dropped = floors::drop_schema(&self.client, schema).await;
        dropped.map_err(not_done)
    }

    /// Ends what another workbench is at.
    pub(crate) async fn end_session(&self, other: &Surroundings) -> Result<(), Error> {
        let ended = floors::end_session(&self.client, other.process, other.began).await;
        ended.map_err(not_done)
    }

    /// Returns when it has done what it was asked before.
    pub(crate) async fn answers(&self) -> Result<(), Error> {
        floors::answers(&self.client).await.map_err(not_done)
    }

    /// The rows of all tables of a schema, and how many of them have been written since.
    pub(crate) async fn rows(&self, schema: &SchemaName, since: Written) -> Result<Rows, Error> {
        let rows = floors::rows(&self.client, schema, since.transactions).await;
        let (all, new) = rows.map_err(not_done)?;
        Ok(Rows { all, new })
    }
}

/// A connection of the floors', with its statements prepared.
pub(crate) struct FloorClient {
    client: Dedicated,
    statements: FloorStatements,
    /// Keeps its advisory locks apart from others'.
    seed: i64,
}

impl FloorClient {
    /// # Errors
    /// As [`Workbench::connect`].
    pub(crate) async fn connect(url: &str, schema: &SchemaName, seed: i64) -> Result<Self, Error> {
        let client = open(url).await?;
        floors::unlimited(&client).await.map_err(not_done)?;
        let statements = FloorStatements::prepared(&client, schema).await;
        let statements = statements.map_err(not_done)?;
        Ok(Self {
            client,
            statements,
            seed,
        })
    }

    /// One statement that does nothing.
    pub(crate) async fn round_trip(&self) -> Result<(), Error> {
        let asked = self
            .client
            .query_one(&self.statements.round_trip, &[])
            .await;
        asked.map_err(not_done)?;
        Ok(())
    }

    /// A row that comes, and one that goes: two commits, and nothing is looked at.
    pub(crate) async fn raw_pair(&self, name: &str, owner: &str) -> Result<(), Error> {
        let pair = async {
            let FloorStatements { insert, delete, .. } = &self.statements;
            self.client.execute(insert, &[&name, &owner]).await?;
            self.client.execute(delete, &[&name, &owner]).await
        };
        pair.await.map_err(not_done)?;
        Ok(())
    }

    /// What a careful client does in statements of its own: begin, take turns, look, insert, commit;
    /// begin, take turns, delete, commit.
    pub(crate) async fn careful_pair(&self, name: &str, owner: &str) -> Result<(), Error> {
        let pair = async {
            let (client, statements) = (&self.client, &self.statements);
            let lock = &statements.lock_transaction;
            floors::begin(client).await?;
            client.query(lock, &[&name, &self.seed]).await?;
            client.query(&statements.select, &[&name]).await?;
            client.execute(&statements.insert, &[&name, &owner]).await?;
            floors::commit(client).await?;
            floors::begin(client).await?;
            client.query(lock, &[&name, &self.seed]).await?;
            client.execute(&statements.delete, &[&name, &owner]).await?;
            floors::commit(client).await
        };
        pair.await.map_err(not_done)
    }

    /// A lock of this connection's session, which nobody can see in a table.
    pub(crate) async fn session_pair(&self, name: &str) -> Result<(), Error> {
        let pair = async {
            let statements = &self.statements;
            for statement in [&statements.lock_session, &statements.unlock_session] {
                self.client.query(statement, &[&name, &self.seed]).await?;
            }
            Ok(())
        };
        pair.await.map_err(not_done)
    }
}

async fn open(url: &str) -> Result<Dedicated, Error> {
    let opened = Way::direct(url)?.open(Arc::new(|_| {})).await;
    opened.map_err(not_connected)
}

fn not_done(error: tokio_postgres::Error) -> Error {
    let failure = Failure {
        operation: "bench",
        id: None,
        token: None,
        schema: &SchemaName::default(),
    };
    match failure.translate(error) {
        // What is missing is a table of the bench's own: migrating would not bring it back.
        Error::NotMigrated { reason, .. } => Error::Database {
            sqlstate: "42P01".to_owned(),
            source: reason.clone().into(),
            reason,
        },
        error => error,
    }
}
