use clap::Args;

use super::Failure;
use crate::{mutexes::Mutexes, postgres::SchemaName};

/// Which database, and which schema in it.
#[derive(Debug, Args)]
pub(super) struct Database {
    /// The database: `postgres://user@host/database` [env: DATABASE_URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,

    /// The schema in the database
    #[arg(long, default_value = "pgmutex")]
    pub(super) schema: String,
}

impl Database {
    /// The URL that was named, as an argument or in the environment.
    pub(super) fn url(&self) -> Option<String> {
        let named = self.database_url.clone();
        named.or_else(|| std::env::var("DATABASE_URL").ok())
    }

    pub(super) async fn mutexes(&self, url: &str) -> Result<Mutexes, Failure> {
        let schema = SchemaName::new(self.schema.as_str())?;
        Ok(Mutexes::builder().schema(schema).connect(url).await?)
    }
}

/// What a command says that has no database.
pub(super) const UNNAMED: &str = "name a database with --database-url or DATABASE_URL";
