//! The program is killed with SIGKILL under load: what it has acknowledged holds.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tokio::sync::Notify;

use crate::{
    program::Program,
    support::{Client, Database},
};

/// How many locks are acknowledged before the program is killed.
const ENOUGH: usize = 150;

/// Locks path after path, and waits for some, until the server is gone. Keeps what was acknowledged.
async fn load(
    mut client: Client,
    name: String,
    acknowledged: Arc<Mutex<HashMap<String, String>>>,
    count: Arc<AtomicUsize>,
    enough: Arc<Notify>,
) {
    for number in 0.. {
        // Some lie in each other's way, and some wait.
        let path = match number % 4 {
            0 => format!("shared/{number}"),
            1 => format!("shared/{number}/{name}"),
            _ => format!("{name}/{number}"),
        };
        let target = format!("/canhaz/{path}?id={name}&wait=0.01");
        client.begin("GET", &target, &[], "").await;
        let Some(answer) = client.answer().await else {
            return;
        };
        let Some(token) = answer.json()["token"].as_str().map(str::to_owned) else {
            continue;
        };
        let earlier = acknowledged.lock().unwrap().insert(path.clone(), token);
        assert_eq!(earlier, None, "{path} was granted twice");
        if count.fetch_add(1, Ordering::Relaxed) == ENOUGH {
            enough.notify_one();
        }
    }
}

fn lie_in_each_others_way(one: &str, other: &str) -> bool {
    let below = |path: &str, above: &str| {
        path.strip_prefix(above)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    one == other || below(one, other) || below(other, one)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_lock_is_held_and_every_token_works() {
    let database = Database::fresh().await;
    let acknowledged = Arc::new(Mutex::new(HashMap::new()));
    for round in 0..3 {
        let program = Program::serve(&["--database-url", &database.url()]);
        let (count, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut clients = Vec::new();
        for client in 0..6 {
            clients.push(tokio::spawn(load(
                program.client().await,
                format!("r{round}c{client}"),
                Arc::clone(&acknowledged),
                Arc::clone(&count),
                Arc::clone(&enough),
            )));
        }
        enough.notified().await;
        program.kill();
        for client in clients {
            client.await.unwrap();
        }
    }

    let held = acknowledged.lock().unwrap().clone();
    assert!(held.len() > 3 * ENOUGH);
    let paths: Vec<&String> = held.keys().collect();
    for (number, one) in paths.iter().enumerate() {
        for other in &paths[number + 1..] {
            assert!(!lie_in_each_others_way(one, other), "{one} and {other}");
        }
    }
    let program = Program::serve(&["--database-url", &database.url()]);
    let mut client = program.client().await;
    for (path, token) in &held {
        let holder = client.get(&format!("/dohaz/{path}")).await.json();
        assert!(holder["lockedBy"].is_string(), "{path} is not held");
        let again = client.get(&format!("/canhaz/{path}")).await.json();
        assert_eq!(again["ok"], false, "{path} was granted twice");
        let unlocked = client.get(&format!("/nowant/{path}?token={token}")).await;
        assert_eq!(
            unlocked.json(),
            json!({"ok": true}),
            "{path}: the token does not work"
        );
    }
    // What was locked and not acknowledged is all that is left: at most one for each client.
    let left = client.get("/v1/list?count=true").await.json();
    assert!(left["count"].as_u64().unwrap() <= 18, "{left}");
}
