use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use pgmutex::{
    Mutexes, SchemaName,
    private_server::PrivatePostgres,
    server::{Limits, Server},
};
use tokio::{net::TcpSocket, sync::oneshot, task::JoinHandle};
use tokio_postgres::NoTls;

/// The PostgreSQL that the tests of this process share: each has a schema of its own.
fn postgres() -> &'static PrivatePostgres {
    static SHARED: OnceLock<PrivatePostgres> = OnceLock::new();
    SHARED.get_or_init(|| {
        PrivatePostgres::builder()
            .setting("max_connections", "300")
            .start()
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

/// A server on mutexes of a test's own.
pub(crate) struct Serving {
    pub(crate) mutexes: Mutexes,
    schema: String,
    /// A server that has stopped has stopped for good.
    new_server: Box<dyn Fn() -> Server + Send + Sync>,
    address: SocketAddr,
    /// Bound to the address too, and listening to nobody: while no server has the port, nobody else is
    /// given it.
    _reserved: TcpSocket,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Serving {
    /// With the usual settings.
    pub(crate) async fn start() -> Self {
        Self::with(|server| server).await
    }

    pub(crate) async fn with(set: impl Fn(Server) -> Server + Send + Sync + 'static) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("browser_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mutexes = Mutexes::builder()
            .schema(SchemaName::new(&*schema).unwrap())
            .connect(&postgres().url("postgres"))
            .await
            .unwrap();
        mutexes.migrate().await.unwrap();
        let mut limits = Limits::default();
        // A stream that does not end with the server would hang the test.
        limits.drain_time = Duration::from_secs(3600);
        let shared = mutexes.clone();
        let new_server = move || set(Server::new(shared.clone()).limits(limits.clone()));
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut serving = Self {
            new_server: Box::new(new_server),
            mutexes,
            schema,
            address: reserved.local_addr().unwrap(),
            _reserved: reserved,
            running: None,
        };
        serving.start_again().await;
        serving
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Takes the tables away, until they are [put back](Self::put_back).
    pub(crate) async fn take_away(&self) {
        let schema = &self.schema;
        administer(&format!("alter schema {schema} rename to {schema}_away")).await;
    }

    pub(crate) async fn put_back(&self) {
        let schema = &self.schema;
        administer(&format!("alter schema {schema}_away rename to {schema}")).await;
    }

    /// At the same address as before.
    pub(crate) async fn start_again(&mut self) {
        let server = (self.new_server)();
        let listening = server.bind(self.address).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(listening.run(async move {
            let _ = stopped.await;
        }));
        self.running = Some((stop, running));
    }

    /// Until nothing is left of it.
    pub(crate) async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.send(()).unwrap();
        running.await.unwrap();
    }
}

async fn administer(statement: &str) {
    let url = postgres().url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
}
