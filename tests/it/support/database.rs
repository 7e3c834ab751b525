use std::{
    env,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use pgmutex::{
    Mutexes, PostgresBackend, PostgresSettings, SchemaName, pool_for_url,
    private_server::PrivatePostgres,
};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use super::{
    Listener, Session,
    disposable::{self, Left, PATIENT, connect},
};

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

    /// The URL of a database that is there in any case.
    fn maintenance_url(&self) -> String {
        self.url("postgres")
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
                let maintenance_url = Server::shared().maintenance_url();
                disposable::has_no_visitors(&maintenance_url, &template.name).await;
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
        disposable::create(&server.maintenance_url(), &name, template).await;
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
    fn drop(&mut self) {
        let server = Server::shared();
        let left = Left {
            server_stays: matches!(server, Server::Named(_)),
            roles: std::mem::take(&mut *self.roles.lock().unwrap()),
            ..Left::new(server.maintenance_url(), &self.name)
        };
        left.drop();
    }
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
