use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use pgmutex::{Mutexes, private_server::PrivatePostgres};
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

/// A database of a test's own, in a server that the tests of this process share.
pub(crate) struct Database {
    name: String,
}

impl Database {
    /// With the schema in it.
    pub(crate) async fn fresh() -> Self {
        static TEMPLATE: OnceCell<Database> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let template = Self::empty().await;
                template.mutexes().await.migrate().await.unwrap();
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
        let (client, connection) = tokio_postgres::connect(&server().url("postgres"), NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(&format!("create database {name} template {template}"))
            .await
            .unwrap();
        Self { name }
    }

    pub(crate) fn url(&self) -> String {
        server().url(&self.name)
    }

    pub(crate) async fn mutexes(&self) -> Mutexes {
        Mutexes::connect(&self.url()).await.unwrap()
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
