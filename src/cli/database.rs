use clap::Args;

use super::Failure;
use crate::{
    mutexes::{Mutexes, MutexesBuilder},
    postgres::{SchemaName, connection_string},
};

/// Which database, and which schema in it.
#[derive(Clone, Debug, Args)]
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
        self.mutexes_in(url, schema).await
    }

    /// The mutexes of another schema.
    pub(super) async fn mutexes_in(
        &self,
        url: &str,
        schema: SchemaName,
    ) -> Result<Mutexes, Failure> {
        Ok(self.builder_in(schema)?.connect(url).await?)
    }

    /// The same before it is connected.
    pub(super) fn builder_in(&self, schema: SchemaName) -> Result<MutexesBuilder, Failure> {
        let mut builder = Mutexes::builder().schema(schema);
        if let Some(direct) = self.direct() {
            builder = builder.direct_url(&direct)?;
        }
        Ok(builder)
    }

    /// The way past any pooler that was named.
    pub(super) fn direct(&self) -> Option<String> {
        let direct = self.direct_url.clone();
        direct.or_else(|| filled("PGMUTEX_DIRECT_URL"))
    }

    /// Where it is, for people.
    pub(super) fn in_words(&self) -> Result<String, Failure> {
        let url = self.url()?.ok_or_else(|| Failure::usage(UNNAMED))?;
        Ok(format!("{}, schema {}", without_secrets(&url), self.schema))
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

/// What people may read of a URL: neither the password nor the parameters, which may have one too.
pub(super) fn without_secrets(url: &str) -> &str {
    let Some((_, place)) = url.split_once("://") else {
        return "the database named";
    };
    // A password may have any character that is no `@`, a question mark too.
    let place = place.split_once('@').map_or(place, |(_, place)| place);
    let place = place.split('?').next().unwrap_or(place);
    place.rsplit('@').next().unwrap_or(place)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        for (url, shown) in [
            (
                "postgres://me:pass@host:5432/db?password=pass",
                "host:5432/db",
            ),
            ("postgresql://me:pa?ss@host/db", "host/db"),
            ("postgres://me:pa/ss@host/db", "host/db"),
            ("postgres://me:pa@ss@host/db", "host/db"),
            ("postgres://host/db", "host/db"),
            ("host=h password=pass", "the database named"),
        ] {
            assert_eq!(super::without_secrets(url), shown, "{url}");
        }
    }
}
