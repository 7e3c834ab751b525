//! I4 and I2 when the whole server is killed with SIGKILL under load.

use std::sync::{Arc, Mutex as StdMutex};

use pgmutex::{FencingToken, Mutex, MutexQuery, Mutexes, private_server::PrivatePostgres};
use tokio::sync::Notify;

use crate::support::{mutex_id, owner, run_in_private_server};

/// Captures as fast as it can until the server is gone, and keeps what was acknowledged.
async fn load(
    mutexes: Mutexes,
    name: String,
    acknowledged: Arc<StdMutex<Vec<Mutex>>>,
    progress: Arc<Notify>,
) {
    for number in 0.. {
        let id = mutex_id(&format!("{name}-{number}"));
        match mutexes.capture(&id).owner(owner(&name)).await {
            Ok(captured) => {
                let mut acknowledged = acknowledged.lock().unwrap();
                acknowledged.push(captured.mutex);
                if acknowledged.len().is_multiple_of(200) {
                    progress.notify_one();
                }
            }
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_capture_survives_and_no_token_comes_again() {
    let (mut server, mutexes) = run_in_private_server(
        // All that could make a commit return before it is written: the functions must see to it
        // themselves.
        PrivatePostgres::builder()
            .setting("synchronous_commit", "off")
            .setting("wal_writer_delay", "10s")
            .setting("wal_writer_flush_after", "0"),
    )
    .await;
    drop(mutexes);
    let acknowledged = Arc::new(StdMutex::new(Vec::new()));
    for round in 0..3 {
        let mutexes = Mutexes::builder()
            .settle_timeout(std::time::Duration::ZERO)
            .connect(&server.url("postgres"))
            .await
            .unwrap();
        let progress = Arc::new(Notify::new());
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                tokio::spawn(load(
                    mutexes.clone(),
                    format!("{round}-{task}"),
                    Arc::clone(&acknowledged),
                    Arc::clone(&progress),
                ))
            })
            .collect();
        progress.notified().await;
        server = tokio::task::spawn_blocking(move || {
            server.crash().unwrap();
            server.restart().unwrap();
            server
        })
        .await
        .unwrap();
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        check(&server, &acknowledged).await;
    }
}

async fn check(server: &PrivatePostgres, acknowledged: &StdMutex<Vec<Mutex>>) {
    let mutexes = Mutexes::connect(&server.url("postgres")).await.unwrap();
    let stored = mutexes
        .list(&MutexQuery::all().include_over())
        .await
        .unwrap()
        .mutexes;
    let acknowledged = acknowledged.lock().unwrap().clone();
    for capture in &acknowledged {
        assert!(stored.contains(capture), "lost: {capture:?}");
    }
    let largest: FencingToken = acknowledged
        .iter()
        .chain(&stored)
        .map(|mutex| mutex.fencing_token)
        .max()
        .unwrap();
    let id = mutex_id("afterwards");
    let next = mutexes.capture(&id).owner(owner("next")).await.unwrap();
    assert!(next.fencing_token > largest);
    mutexes.release(&id).owner(owner("next")).await.unwrap();
}
