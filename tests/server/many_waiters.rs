//! Many clients that wait for one path, few connections to the database.

use std::time::Duration;

use pgmutex::{
    Mutexes,
    deadpool_postgres::Runtime,
    server::{Limits, Server},
};
use serde_json::json;

use crate::support::{Client, Database, eventually};

const MANY: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_are_served_in_order_and_other_paths_stay_responsive() {
    let database = Database::fresh().await;
    let mut config = pgmutex::deadpool_postgres::Config::new();
    config.url = Some(database.url());
    config.pool = Some(pgmutex::deadpool_postgres::PoolConfig::new(8));
    let pool = config
        .create_pool(Some(Runtime::Tokio1), tokio_postgres::NoTls)
        .unwrap();
    let mutexes = Mutexes::builder()
        .direct_url(&database.url())
        .unwrap()
        .pool(pool.clone());
    // Longer than the test may take on a busy machine.
    let mut limits = Limits::default();
    limits.wait = Duration::from_mins(10);
    limits.header_time = Duration::from_mins(10);
    let listening = Server::new(mutexes)
        .limits(limits)
        .bind(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let address = listening.address();
    tokio::spawn(listening.run(std::future::pending()));

    let mut client = Client::at(address).await;
    let mut token = client.get("/canhaz/lab?id=first").await.json()["token"].clone();
    let mut waiting = Vec::new();
    for number in 0..MANY {
        let mut waiter = Client::at(address).await;
        waiter
            .begin("GET", &format!("/canhaz/lab?wait=600&id={number}"), &[], "")
            .await;
        // In line before the next one asks: so that it is known who came first.
        eventually(async || {
            let list = client
                .get(&format!("/v1/waiters?limit=1&after={}", behind(number)))
                .await
                .json();
            list["waiters"].as_array().unwrap().len() == 1
        })
        .await;
        waiting.push(waiter);
    }
    for (number, waiter) in waiting.iter_mut().enumerate() {
        // Nobody's turn is in the way of another path.
        if number % 50 == 0 {
            let free = client.get("/canhaz/other").await.json();
            assert_eq!(free["ok"], true);
            let free = free["token"].as_str().unwrap();
            let given = client.get(&format!("/nowant/other?token={free}")).await;
            assert_eq!(given.json(), json!({"ok": true}));
        }
        let given = client
            .get(&format!("/nowant/lab?token={}", token.as_str().unwrap()))
            .await;
        assert_eq!(given.json(), json!({"ok": true}), "{number}");
        let served = waiter.answer().await.unwrap().json();
        assert_eq!(served["ok"], true, "{number} was passed: {served}");
        token = served["token"].clone();
    }
    assert!(pool.status().size <= 8);
}

/// The place in the list of waiters behind so many.
fn behind(number: usize) -> String {
    // Tickets are numbered from 1 in a new database.
    let place = json!([{"group": "locker", "mode": "tree", "id": "/lab/"}, number]);
    place
        .to_string()
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
