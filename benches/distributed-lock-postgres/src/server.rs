use std::{env, thread};

use pgmutex::{
    Mutexes, SchemaName,
    private_server::PrivatePostgres,
    tokio_postgres::{self, Client, Config, NoTls},
};
use sqlx::postgres::PgConnectOptions;

use crate::Outcome;

/// In the database that was named, which may have a pgmutex of its own.
const SCHEMA: &str = "pgmutex_against_distributed_lock_postgres";

/// Where it is measured.
pub(crate) struct Server {
    url: String,
    sql: Client,
    _private: Option<PrivatePostgres>,
}

impl Server {
    /// The one that the environment names, else a private one, with its schema.
    pub(crate) async fn named_or_private() -> Outcome<Self> {
        let named = env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        let (url, private) = match named {
            Some(url) => (url, None),
            None => {
                // As a server in production: what is acknowledged is on the disk.
                let builder = PrivatePostgres::builder().durable(true);
                let private = builder.setting("max_connections", "200").start()?;
                (private.url("postgres"), Some(private))
            }
        };
        let (sql, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        let server = Self {
            url,
            sql,
            _private: private,
        };
        server.clean_up().await?;
        server.mutexes().await?.migrate().await?;
        Ok(server)
    }

    /// pgmutex as it is by default, but for the schema.
    pub(crate) async fn mutexes(&self) -> Outcome<Mutexes> {
        let builder = Mutexes::builder().schema(SchemaName::new(SCHEMA)?);
        Ok(builder.connect(&self.url).await?)
    }

    /// The same database, for sqlx, which knows other forms of URLs.
    pub(crate) fn options(&self) -> Outcome<PgConnectOptions> {
        use tokio_postgres::config::Host;

        let config: Config = self.url.parse()?;
        let mut options = PgConnectOptions::new_without_pgpass();
        match config.get_hosts().first() {
            Some(Host::Tcp(name)) => options = options.host(name),
            Some(Host::Unix(folder)) => options = options.socket(folder),
            None => {}
        }
        if let Some(&port) = config.get_ports().first() {
            options = options.port(port);
        }
        if let Some(user) = config.get_user() {
            options = options.username(user);
        }
        if let Some(password) = config.get_password() {
            options = options.password(std::str::from_utf8(password)?);
        }
        if let Some(database) = config.get_dbname() {
            options = options.database(database);
        }
        Ok(options)
    }

    /// What it is measured on.
    pub(crate) async fn described(&self) -> Outcome<String> {
        let settings = "select format('PostgreSQL %s, fsync %s, synchronous_commit %s', \
                        current_setting('server_version'), current_setting('fsync'), \
                        current_setting('synchronous_commit'))";
        let settings: String = self.sql.query_one(settings, &[]).await?.get(0);
        let processors = thread::available_parallelism()?;
        Ok(format!("{settings}; {processors} processors here"))
    }

    /// Drops what it has made.
    pub(crate) async fn clean_up(&self) -> Outcome<()> {
        let drop =
            format!("set client_min_messages = warning; drop schema if exists {SCHEMA} cascade");
        Ok(self.sql.batch_execute(&drop).await?)
    }
}
