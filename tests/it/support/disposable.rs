//! Databases that are made for one test, on a server that many share, and dropped soon after it: a
//! thousand of them take ten gigabytes.

use std::{sync::Mutex, time::Duration};

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

/// A database whose test is over.
pub(crate) struct Left {
    pub(crate) maintenance_url: String,
    /// Whether the server outlasts the tests.
    pub(crate) server_stays: bool,
    pub(crate) name: String,
    /// The roles that were made for it, which belong to the server.
    pub(crate) roles: Vec<String>,
}

impl Left {
    /// With no roles, on a server that goes with the tests.
    pub(crate) fn new(maintenance_url: String, name: &str) -> Self {
        Self {
            maintenance_url,
            server_stays: false,
            name: name.to_owned(),
            roles: Vec::new(),
        }
    }

    /// Drops it, whoever is still connected, with the next fifteen: each one that is dropped alone
    /// makes the server write a checkpoint, which the tests beside it feel. The last ones go with
    /// their server, unless it stays.
    pub(crate) fn drop(self) {
        static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());
        let left = {
            let mut left = LEFT.lock().unwrap();
            let together = if self.server_stays { 1 } else { 16 };
            left.push(self);
            (left.len() >= together).then(|| std::mem::take(&mut *left))
        };
        if let Some(left) = left {
            drop_all(left);
        }
    }
}

/// It blocks: the test of the last one is over.
fn drop_all(left: Vec<Left>) {
    // One that cannot be dropped stays, and its task has said why.
    let drops = async move {
        for one in left {
            let _ = tokio::spawn(drop_one(one)).await;
        }
    };
    // The test's own runtime may be in the middle of a panic.
    let dropping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(drops);
    });
    let _ = dropping.join();
}

async fn drop_one(left: Left) {
    let client = connect(&left.maintenance_url).await;
    let mut statements = vec![format!(
        "drop database if exists {} with (force)",
        left.name
    )];
    let roles = left.roles.iter();
    statements.extend(roles.map(|role| format!("drop role if exists \"{role}\"")));
    for statement in statements {
        client.batch_execute(&statement).await.unwrap();
    }
}
