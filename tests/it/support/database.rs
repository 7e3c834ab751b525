use std::{
    env,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use pgmutex::{
    Mutexes, PostgresBackend, PostgresSettings, SchemaName, pool_for_url,
    private_server::PrivatePostgres,
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::{Listener, Session};

/// Lets the functions that wait for another's transaction do so for as long as it takes.
const PATIENT: &str = include_str!("patient_transactions.sql");

/// The server that the tests of this process share.
enum Server {
    Named(String),
    Private(Box<PrivatePostgres>),
}

impl Server {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| match env::var("DATABASE_URL") {
            Ok(url) => Self::Named(url),
            Err(_) => Self::Private(Box::new(
                PrivatePostgres::builder()
                    .setting("max_connections", "300")
                    .start()
                    .unwrap_or_else(|error| panic!("{error}")),
            )),
        })
    }

    fn url(&self, database: &str) -> String {
        match self {
            Self::Named(url) => {
                let (front, parameters) = url.split_once('?').unwrap_or((url, ""));
                let (scheme, rest) = front.split_once("://").expect("DATABASE_URL is a URL");
                let authority = rest.split('/').next().unwrap_or_default();
                format!("{scheme}://{authority}/{database}?{parameters}")
            }
            Self::Private(server) => server.url(database),
        }
    }

    async fn administer(&self, statement: &str) {
        connect(&self.url("postgres"))
            .await
            .batch_execute(statement)
            .await
            .unwrap();
    }
}

/// A database of a test's own, dropped with it.
pub(crate) struct Database {
    name: String,
    url: String,
    /// The roles made for it, which belong to the server.
    roles: Mutex<Vec<String>>,
}

impl Database {
    /// With the schema in it: cloned from one that was migrated once, if the server goes with this
    /// process and the template with it. Who waits for another's transaction is patient: however long
    /// a machine takes between two steps of a test, the wait lasts until it is over.
    pub(crate) async fn fresh() -> Self {
        if let Server::Named(_) = Server::shared() {
            return Self::patient().await;
        }
        static TEMPLATE: OnceCell<Database> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let template = Self::patient().await;
                template.has_no_visitors().await;
                template
            })
            .await;
        Self::cloned_from(&template.name).await
    }

    /// The same where whoever waits stays in line for an hour without asking again, however long the
    /// steps of a test take.
    pub(crate) async fn with_patient_lines() -> Self {
        let database = Self::fresh().await;
        let patience = include_str!("patient_lines.sql");
        database
            .client()
            .await
            .batch_execute(patience)
            .await
            .unwrap();
        database
    }

    /// With the schema in it, as the migrations make it.
    pub(crate) async fn as_installed() -> Self {
        let database = Self::empty().await;
        database.mutexes().await.migrate().await.unwrap();
        database
    }

    async fn patient() -> Self {
        let database = Self::as_installed().await;
        database
            .client()
            .await
            .batch_execute(PATIENT)
            .await
            .unwrap();
        database
    }

    /// Returns when nobody is connected to it any more: whoever closes a connection does not wait for
    /// the server to notice, and what somebody is connected to cannot be copied.
    async fn has_no_visitors(&self) {
        let client = connect(&Server::shared().url("postgres")).await;
        let visitors = "select 1 from pg_stat_activity where datname = $1";
        let gone = async {
            while !client
                .query(visitors, &[&self.name])
                .await
                .unwrap()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(300), gone).await;
        gone.expect("somebody stays connected");
    }

    /// With nothing in it.
    pub(crate) async fn empty() -> Self {
        Self::cloned_from("template0").await
    }

    async fn cloned_from(template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "pgmutex_test_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let server = Server::shared();
        server
            .administer(&format!("create database {name} template {template}"))
            .await;
        let url = server.url(&name);
        Self {
            name,
            url,
            roles: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Makes a role of this test's own, and gives its name and its URL.
    pub(crate) async fn role(&self, attributes: &str) -> (String, String) {
        self.role_called("role", attributes).await
    }

    /// Makes one of several.
    pub(crate) async fn role_called(&self, word: &str, attributes: &str) -> (String, String) {
        let role = format!("{}_{word}", self.name);
        let create = format!("create role \"{role}\" login password 'secret' {attributes}");
        self.client().await.batch_execute(&create).await.unwrap();
        self.roles.lock().unwrap().push(role.clone());
        let url = self.url_of(&role);
        (role, url)
    }

    /// The URL by which a role of the test's logs in.
    pub(crate) fn url_of(&self, role: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let (_, host) = rest.split_once('@').unwrap();
        let escaped: String = role.bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("{scheme}://{escaped}:secret@{host}")
    }

    pub(crate) async fn mutexes(&self) -> Mutexes {
        Mutexes::connect(&self.url).await.unwrap()
    }

    /// The backend, with a pool of its own, as another process would have.
    pub(crate) fn backend(&self) -> PostgresBackend {
        Self::backend_at(&self.url)
    }

    /// The backend of one who logs in by this URL.
    pub(crate) fn backend_at(url: &str) -> PostgresBackend {
        let pool = pool_for_url(url).unwrap();
        let settings = PostgresSettings::default();
        PostgresBackend::with_direct_url(pool, SchemaName::default(), settings, url).unwrap()
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// A connection that takes steps.
    pub(crate) async fn session(&self) -> Session {
        session_at(&self.url).await
    }

    /// A process that waits for mutexes.
    pub(crate) async fn listener(&self) -> Listener {
        Listener::new(&self.url).await
    }
}

impl Drop for Database {
    /// A private server goes as a whole; elsewhere the database is dropped, once its connections
    /// are closed, and what was made for it.
    fn drop(&mut self) {
        if let Server::Named(_) = Server::shared() {
            let statements: Vec<String> = std::iter::once(format!(
                "drop database if exists {} with (force)",
                self.name
            ))
            .chain(
                std::mem::take(&mut *self.roles.lock().unwrap())
                    .into_iter()
                    .map(|role| format!("drop role if exists \"{role}\"")),
            )
            .collect();
            let dropped = std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(async {
                        for statement in &statements {
                            Server::shared().administer(statement).await;
                        }
                    });
            });
            let _ = dropped.join();
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A connection that takes steps, to the database of this URL.
pub(crate) async fn session_at(url: &str) -> Session {
    Session::new(connect(url).await, connect(url).await).await
}

/// A private server of a test's own, to be killed; with the schema in its database `postgres`.
pub(crate) async fn run_in_private_server(
    builder: pgmutex::private_server::PrivatePostgresBuilder,
) -> (PrivatePostgres, Mutexes) {
    let server = builder.start().unwrap_or_else(|error| panic!("{error}"));
    let mutexes = Mutexes::connect(&server.url("postgres")).await.unwrap();
    mutexes.migrate().await.unwrap();
    (server, mutexes)
}
