use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use pgmutex::{Mutexes, private_server::PrivatePostgres};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use super::{
    disposable::{self, Left, PATIENT, connect},
    eventually,
};

/// A database of a test's own, in a server that the tests of this process share.
pub(crate) struct Database {
    name: String,
}

impl Database {
    /// With the schema in it. Who waits for another's transaction is patient: however long a machine
    /// takes between two steps of a test, the wait lasts until it is over.
    pub(crate) async fn fresh() -> Self {
        static TEMPLATE: OnceCell<Database> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let template = Self::empty().await;
                template.mutexes().await.migrate().await.unwrap();
                let client = template.client().await;
                client.batch_execute(PATIENT).await.unwrap();
                drop(client);
                disposable::has_no_visitors(&server().url("postgres"), &template.name).await;
                template
            })
            .await;
        Self::cloned_from(&template.name).await
    }

    /// With nothing in it.
    pub(crate) async fn empty() -> Self {
        Self::cloned_from("template0").await
    }

    async fn cloned_from(template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        disposable::create(&server().url("postgres"), &name, template).await;
        Self { name }
    }

    pub(crate) fn url(&self) -> String {
        server().url(&self.name)
    }

    /// As patient as the [database](Self::fresh) is.
    pub(crate) async fn mutexes(&self) -> Mutexes {
        let patient = Mutexes::builder().call_timeout(Duration::from_mins(5));
        patient.connect(&self.url()).await.unwrap()
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Returns when somebody waits for another's transaction. It looks from a connection of its own:
    /// within a transaction, those who are connected stay as they were first seen.
    pub(crate) async fn somebody_is_blocked(&self) {
        let observer = self.client().await;
        let blocked = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
        eventually(async || observer.query_one(blocked, &[]).await.unwrap().get(0)).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        Left::new(server().url("postgres"), &self.name).drop();
    }
}

fn server() -> &'static PrivatePostgres {
    static SHARED: OnceLock<PrivatePostgres> = OnceLock::new();
    SHARED.get_or_init(|| {
        PrivatePostgres::builder()
            .setting("max_connections", "300")
            .start()
            .unwrap_or_else(|error| panic!("{error}"))
    })
}
