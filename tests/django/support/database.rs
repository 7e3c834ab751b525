use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use pgmutex::{Mutexes, private_server::PrivatePostgres};
use tokio_postgres::Client;

use super::disposable::{self, Left, PATIENT, connect};

/// A database of a test's own, in a server that all tests share. The server's time zone is none of
/// the application's.
pub(crate) struct Database {
    name: String,
}

pub(super) fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        PrivatePostgres::builder()
            .setting("timezone", "America/New_York")
            .start()
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

impl Database {
    pub(crate) async fn empty() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("django_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        disposable::create(&server().url("postgres"), &name, "template0").await;
        Self { name }
    }

    /// With the schema of this library. Who waits for another's transaction is patient: however long
    /// the others take in a fight, it waits until they are done.
    pub(crate) async fn migrated() -> Self {
        let database = Self::empty().await;
        database.mutexes().await.migrate().await.unwrap();
        let client = database.client().await;
        client.batch_execute(PATIENT).await.unwrap();
        database
    }

    /// With the view in the place of the package's table.
    pub(crate) async fn with_view() -> Self {
        let database = Self::migrated().await;
        let mutexes = database.mutexes().await;
        mutexes.install_m3_mutex("public", None).await.unwrap();
        database
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        server().url(&self.name)
    }

    pub(crate) async fn mutexes(&self) -> Mutexes {
        Mutexes::connect(&self.url()).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.url()).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        Left::new(server().url("postgres"), &self.name).drop();
    }
}
