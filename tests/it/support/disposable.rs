//! Databases that are made for one test, on a server that many share, and dropped with it: a
//! thousand of them take ten gigabytes.

use std::time::Duration;

use tokio_postgres::{Client, NoTls};

/// Lets the functions that wait for another's transaction do so for as long as it takes.
pub(crate) const PATIENT: &str = include_str!("patient_transactions.sql");

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Makes a database, by a connection to another one.
pub(crate) async fn create(maintenance_url: &str, name: &str, template: &str) {
    let create = format!("create database {name} template {template}");
    let client = connect(maintenance_url).await;
    client.batch_execute(&create).await.unwrap();
}

/// Returns when nobody is connected to it any more: whoever closes a connection does not wait for
/// the server to notice, and what somebody is connected to cannot be copied.
pub(crate) async fn has_no_visitors(maintenance_url: &str, name: &str) {
    let client = connect(maintenance_url).await;
    let visitors = "select 1 from pg_stat_activity where datname = $1";
    let gone = async {
        while !client.query(visitors, &[&name]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(300), gone).await;
    gone.expect("somebody stays connected");
}

/// Drops a database and the roles that were made for it, whoever is still connected. It blocks: a
/// test that drops its database is over.
pub(crate) fn drop_database(maintenance_url: String, name: &str, roles: Vec<String>) {
    let mut statements = vec![format!("drop database if exists {name} with (force)")];
    statements.extend(
        roles
            .iter()
            .map(|role| format!("drop role if exists \"{role}\"")),
    );
    let drops = async move {
        let client = connect(&maintenance_url).await;
        for statement in &statements {
            client.batch_execute(statement).await.unwrap();
        }
    };
    // The test's own runtime may be in the middle of a panic. One that cannot be dropped stays, and
    // the thread has said why.
    let dropping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(drops);
    });
    let _ = dropping.join();
}
