use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

use pgmutex::{
    Mutexes, PostgresBackend, PostgresSettings, SchemaName, pool_for_url,
    private_server::PrivatePostgres,
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    disposable::{self, Left, PATIENT, connect},
    pooler::{Lending, Pooler},
};

/// Server connections that the pooler opens for one user of one database, at most.
pub(crate) const POOL_SIZE: usize = 4;

const USER: &str = "postgres";

/// A user whose transactions begin at repeatable read unless they say otherwise.
pub(crate) const USER_AT_REPEATABLE_READ: &str = "at_repeatable_read";

/// A user who may do nothing but what is granted in a database.
const PLAIN_USER: &str = "plain_user";

/// What PgBouncer keeps for each client and sets again on the server connection that it gets.
const KEPT_BY_POOLER: &str =
    "'application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings'";

/// A server with a pooler in front of it: the tests of this process share one.
struct Server {
    pooler: Pooler,
    postgres: PrivatePostgres,
}

impl Server {
    async fn shared() -> &'static Self {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        let lending = Lending {
            sessions: POOL_SIZE,
            in_turn: false,
        };
        SHARED.get_or_init(|| Self::start(lending)).await
    }

    /// With a pooler that lends two sessions, in turn.
    async fn lent_in_turn() -> &'static Self {
        static LENT_IN_TURN: OnceCell<Server> = OnceCell::const_new();
        let lending = Lending {
            sessions: 2,
            in_turn: true,
        };
        LENT_IN_TURN.get_or_init(|| Self::start(lending)).await
    }

    async fn start(lending: Lending) -> Self {
        let postgres = PrivatePostgres::builder()
            .setting("max_connections", "900")
            .start()
            .unwrap_or_else(|error| panic!("{error}"));
        connect(&postgres.url("postgres"))
            .await
            .batch_execute(&format!(
                "create role {USER_AT_REPEATABLE_READ} superuser login; \
                 alter role {USER_AT_REPEATABLE_READ} set default_transaction_isolation = 'repeatable read'; \
                 create role {PLAIN_USER} login"
            ))
            .await
            .unwrap();
        Self {
            pooler: Pooler::start(
                &postgres,
                &[USER, USER_AT_REPEATABLE_READ, PLAIN_USER],
                lending,
            ),
            postgres,
        }
    }

    /// The URL of a database that is there in any case, past the pooler.
    fn maintenance_url(&self) -> String {
        self.postgres.url("postgres")
    }
}

/// A database of a test's own.
pub(crate) struct Database {
    server: &'static Server,
    name: String,
    url: String,
}

impl Database {
    /// With the schema in it: cloned from one that was migrated once. Who waits for another's
    /// transaction is patient.
    pub(crate) async fn fresh() -> Self {
        static TEMPLATE: OnceCell<Database> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let template = Self::empty().await;
                // Not through the pooler: it keeps its connections, and what is cloned must have
                // none.
                let mutexes = Mutexes::connect(&template.direct_url()).await.unwrap();
                mutexes.migrate().await.unwrap();
                drop(mutexes);
                template.waits_patiently().await;
                let maintenance_url = template.server.maintenance_url();
                disposable::has_no_visitors(&maintenance_url, &template.name).await;
                template
            })
            .await;
        Self::cloned_from(Server::shared().await, &template.name).await
    }

    /// With nothing in it.
    pub(crate) async fn empty() -> Self {
        Self::cloned_from(Server::shared().await, "template0").await
    }

    /// Behind a pooler that has two idle sessions and lends them in turn.
    pub(crate) async fn lent_in_turn() -> Self {
        let database = Self::cloned_from(Server::lent_in_turn().await, "template0").await;
        let mutexes = Mutexes::connect(&database.direct_url()).await.unwrap();
        mutexes.migrate().await.unwrap();
        let borrowers = [
            database.pooled_client().await,
            database.pooled_client().await,
        ];
        for does in ["begin", "rollback"] {
            for borrower in &borrowers {
                borrower.batch_execute(does).await.unwrap();
            }
        }
        assert_eq!(database.server_connections().await, borrowers.len());
        database
    }

    /// The same where whoever waits stays in line for an hour without asking again.
    pub(crate) async fn with_patient_lines() -> Self {
        let database = Self::fresh().await;
        let patience = include_str!("../../it/support/patient_lines.sql");
        database
            .client()
            .await
            .batch_execute(patience)
            .await
            .unwrap();
        database
    }

    /// However long others take in a fight, who waits for them waits until they are done.
    pub(crate) async fn waits_patiently(&self) {
        self.client().await.batch_execute(PATIENT).await.unwrap();
    }

    async fn cloned_from(server: &'static Server, template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        disposable::create(&server.maintenance_url(), &name, template).await;
        let url = server.pooler.url(USER, &name);
        Self { server, name, url }
    }

    /// The URL through the pooler.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The URL past the pooler.
    pub(crate) fn direct_url(&self) -> String {
        self.server.postgres.url(&self.name)
    }

    /// What is under test, with a pool of its own, as another process would have.
    pub(crate) async fn mutexes(&self) -> Mutexes {
        Mutexes::connect(&self.url).await.unwrap()
    }

    /// The backend, with a pool of its own and no way past the pooler.
    pub(crate) fn backend(&self) -> PostgresBackend {
        Self::backend_at(&self.url)
    }

    /// The same at this URL.
    pub(crate) fn backend_at(url: &str) -> PostgresBackend {
        let pool = pool_for_url(url).unwrap();
        PostgresBackend::new(pool, SchemaName::default(), PostgresSettings::default())
    }

    /// A role without rights, and its URL through the pooler.
    pub(crate) async fn role(&self, _: &str) -> (String, String) {
        let url = self.server.pooler.url(PLAIN_USER, &self.name);
        (PLAIN_USER.to_owned(), url)
    }

    /// What is under test, for the user whose transactions begin at repeatable read.
    pub(crate) async fn mutexes_at_repeatable_read(&self) -> Mutexes {
        let url = self.server.pooler.url(USER_AT_REPEATABLE_READ, &self.name);
        Mutexes::connect(&url).await.unwrap()
    }

    /// A connection past the pooler.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.direct_url()).await
    }

    /// A connection through the pooler.
    pub(crate) async fn pooled_client(&self) -> Client {
        self.pooled_client_as(USER).await
    }

    pub(crate) async fn pooled_client_as(&self, user: &str) -> Client {
        connect(&self.server.pooler.url(user, &self.name)).await
    }

    /// How many clients the pooler serves for this database now.
    pub(crate) async fn pooled_clients(&self) -> usize {
        self.count_in_console("show clients").await
    }

    /// On how many server connections it does so.
    pub(crate) async fn server_connections(&self) -> usize {
        self.count_in_console("show servers").await
    }

    async fn count_in_console(&self, command: &str) -> usize {
        let console = connect(&self.server.pooler.url(USER, "pgbouncer")).await;
        let databases = simple_rows(&console, command, "database").await;
        databases.iter().filter(|name| **name == self.name).count()
    }

    /// What was left behind on the server connections, where the next client would find it.
    pub(crate) async fn left_behind(&self, user: &str) -> Vec<String> {
        // A client gets a server connection for a transaction: as many transactions as there may be
        // connections see them all.
        let mut clients = Vec::new();
        for _ in 0..POOL_SIZE {
            let client = self.pooled_client_as(user).await;
            client.batch_execute("begin").await.unwrap();
            clients.push(client);
        }
        let mut processes = BTreeSet::new();
        let mut left = Vec::new();
        for client in &clients {
            processes.extend(simple_rows(client, "select pg_backend_pid() pid", "pid").await);
            left.extend(simple_rows(client, &left_on_this_connection(), "finding").await);
            client.batch_execute("rollback").await.unwrap();
        }
        assert_eq!(processes.len(), POOL_SIZE);
        left
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        Left::new(self.server.maintenance_url(), &self.name).drop();
    }
}

fn left_on_this_connection() -> String {
    format!(
        "select 'statement: ' || name finding from pg_prepared_statements
         union all
         select 'setting: ' || name from pg_settings where source = 'session' and name not in ({KEPT_BY_POOLER})
         union all
         select 'channel: ' || channel from pg_listening_channels() channel
         union all
         select 'cursor: ' || name from pg_cursors
         union all
         select 'table: ' || relname from pg_class where relnamespace = pg_my_temp_schema() and relkind = 'r'
         union all
         select 'lock: ' || objid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
         order by 1"
    )
}

/// One column of an answer. (By the simple protocol, which leaves no statement behind.)
async fn simple_rows(client: &Client, query: &str, column: &str) -> Vec<String> {
    let messages = client.simple_query(query).await.unwrap();
    let field = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(column).map(str::to_owned),
        _ => None,
    };
    messages.iter().filter_map(field).collect()
}
