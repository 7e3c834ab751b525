use std::{net::SocketAddr, time::Duration};

use pgmutex::{Mutexes, server::Server};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{Answer, Client, Database};

/// A server at a port of its own, with a database of its own.
pub(crate) struct Serving {
    pub(crate) database: Database,
    pub(crate) mutexes: Mutexes,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) async fn begin() -> Self {
        Self::with(|server| server).await
    }

    pub(crate) async fn with(settings: impl FnOnce(Server) -> Server) -> Self {
        let database = Database::fresh().await;
        let mutexes = database.mutexes().await;
        let server = settings(Server::new(mutexes.clone()));
        let listening = server.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listening.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listening.run(async {
            let _ = stopped.await;
        }));
        Self {
            database,
            mutexes,
            address,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::at(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.client().await.get(target).await
    }

    /// The JSON that a request is answered with, which must be one of the defined answers.
    pub(crate) async fn json(&self, target: &str) -> Value {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer.json()
    }

    /// Locks a path, which must be free, and gives the token.
    pub(crate) async fn lock(&self, target: &str) -> String {
        let answer = self.json(&format!("/canhaz/{target}")).await;
        assert_eq!(answer["ok"], true, "{target}: {answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn post(&self, target: &str, body: Value) -> Answer {
        self.client().await.post(target, &body).await
    }

    /// Who waits for a path of Locker's tree, in the order in which they will be served.
    pub(crate) async fn waiters(&self) -> Vec<String> {
        let list = self.json("/v1/waiters?limit=1000").await;
        let waiters = list["waiters"].as_array().unwrap();
        let name = |waiter: &Value| waiter["owner"]["name"].as_str().unwrap().to_owned();
        waiters.iter().map(name).collect()
    }

    /// Returns when so many wait.
    pub(crate) async fn are_waiting(&self, number: usize) {
        eventually(async || self.waiters().await.len() == number).await;
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Returns when it has stopped.
    pub(crate) async fn stopped(self) -> Database {
        self.task.await.unwrap();
        self.database
    }
}

/// Returns when something has become true; fails if it never does.
pub(crate) async fn eventually(mut is_true: impl AsyncFnMut() -> bool) {
    eventually_some(async || is_true().await.then_some(())).await;
}

/// Asks until there is an answer; fails if there never is one.
pub(crate) async fn eventually_some<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answered = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(90), answered)
        .await
        .expect("it never happens")
}

/// The name of a path, in JSON.
pub(crate) fn path<const N: usize>(segments: [&str; N]) -> Value {
    json!({"tree": "locker", "path": segments.as_slice()})
}
