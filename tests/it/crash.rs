//! I4 and I2 when the whole server is killed with SIGKILL under load.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex as StdMutex,
        atomic::{AtomicBool, Ordering},
    },
};

use pgmutex::{FencingToken, Mutex, MutexQuery, Mutexes, private_server::PrivatePostgres};
use tokio::sync::Notify;

use crate::{
    guards::must,
    support::{mutex_id, owner, run_in_private_server},
};

/// Captures as fast as it can until the server is gone, and keeps what was acknowledged.
async fn load(
    mutexes: Mutexes,
    name: String,
    acknowledged: Arc<StdMutex<Vec<Mutex>>>,
    progress: Arc<Notify>,
    crashes: Arc<AtomicBool>,
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
            Err(_) if crashes.load(Ordering::SeqCst) => return,
            // On a busy machine an answer may come too late.
            Err(error) => assert!(error.is_transient(), "{error}"),
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
        let (progress, crashes) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                tokio::spawn(load(
                    mutexes.clone(),
                    format!("{round}-{task}"),
                    Arc::clone(&acknowledged),
                    Arc::clone(&progress),
                    Arc::clone(&crashes),
                ))
            })
            .collect();
        must(progress.notified()).await;
        crashes.store(true, Ordering::SeqCst);
        server = tokio::task::spawn_blocking(move || {
            server.crash().unwrap();
            server.restart().unwrap();
            server
        })
        .await
        .unwrap();
        for task in tasks {
            task.abort();
            if let Err(error) = task.await {
                assert!(error.is_cancelled(), "{error}");
            }
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
    let by_token: HashMap<FencingToken, &Mutex> = stored
        .iter()
        .map(|mutex| (mutex.fencing_token, mutex))
        .collect();
    for capture in &acknowledged {
        let found = by_token.get(&capture.fencing_token);
        assert_eq!(found, Some(&capture), "lost");
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
