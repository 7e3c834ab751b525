use clap::Args;

use super::Failure;
use crate::{
    mutexes::Mutexes,
    postgres::{SchemaName, connection_string},
};

/// Which database, and which schema in it.
#[derive(Debug, Args)]
pub(super) struct Database {
    /// The database: `postgres://user@host/database` [env: DATABASE_URL, or PGHOST, PGDATABASE, PGUSER and so on]
    ///
    /// A password is better kept out of arguments, which others can see: in DATABASE_URL, in PGPASSWORD, or in a
    /// password file (PGPASSFILE, else ~/.pgpass).
    #[arg(long, value_name = "URL", global = true)]
    database_url: Option<String>,

    /// A way to the same database that leads past any pooler [env: PGMUTEX_DIRECT_URL]
    ///
    /// Needed where the database's URL leads through a pooler in transaction mode: without it, waiting asks again in
    /// short intervals instead of being told.
    #[arg(long, value_name = "URL", global = true)]
    direct_url: Option<String>,

    /// The schema in the database
    #[arg(
        long,
        default_value = "pgmutex",
        value_name = "NAME",
        env = "PGMUTEX_SCHEMA",
        global = true
    )]
    pub(super) schema: String,
}

impl Database {
    /// The URL that was named, as an argument or in the environment.
    pub(super) fn url(&self) -> Result<Option<String>, Failure> {
        let named = self.database_url.clone();
        let named = named.or_else(|| filled("DATABASE_URL"));
        Ok(connection_string(named.as_deref())?)
    }

    pub(super) async fn mutexes(&self, url: &str) -> Result<Mutexes, Failure> {
        let schema = SchemaName::new(self.schema.as_str())?;
        let mut builder = Mutexes::builder().schema(schema);
        let direct = self.direct_url.clone();
        if let Some(direct) = direct.or_else(|| filled("PGMUTEX_DIRECT_URL")) {
            builder = builder.direct_url(&direct)?;
        }
        Ok(builder.connect(url).await?)
    }

    /// The mutexes of the database that was named.
    pub(super) async fn connect(&self) -> Result<Mutexes, Failure> {
        let url = self.url()?.ok_or_else(|| Failure::usage(UNNAMED))?;
        self.mutexes(&url).await
    }
}

/// A variable of the environment; an empty one counts as not set.
fn filled(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a command says that has no database.
pub(super) const UNNAMED: &str =
    "name a database: with --database-url, with DATABASE_URL, or with PGHOST, PGDATABASE and so on";
