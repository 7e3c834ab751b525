use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Error};

/// How long a step may take before the test is considered hung. Not a measure of anything.
const HUNG: Duration = Duration::from_secs(300);

/// A database session that takes one step after the other, and can be seen to wait.
pub(crate) struct Session {
    client: Arc<Client>,
    observer: Client,
    process_id: i32,
}

/// A step that has begun.
pub(crate) struct Pending(JoinHandle<Result<String, Error>>);

impl Session {
    pub(super) async fn new(client: Client, observer: Client) -> Self {
        let row = client
            .query_one("select pg_backend_pid()", &[])
            .await
            .unwrap();
        Self {
            client: Arc::new(client),
            observer,
            process_id: row.get(0),
        }
    }

    pub(crate) fn process_id(&self) -> i32 {
        self.process_id
    }

    /// Takes a step that gives nothing.
    pub(crate) async fn run(&self, statement: &str) {
        self.try_run(statement).await.unwrap();
    }

    /// Takes a step that gives nothing, or fails.
    pub(crate) async fn try_run(&self, statement: &str) -> Result<(), Error> {
        timeout(HUNG, self.client.batch_execute(statement))
            .await
            .expect("the step hangs")
    }

    /// Takes a step that gives one text.
    pub(crate) async fn ask(&self, query: &str) -> String {
        self.try_ask(query).await.unwrap()
    }

    /// Takes a step that gives one text or fails.
    pub(crate) async fn try_ask(&self, query: &str) -> Result<String, Error> {
        self.begin(query).result().await
    }

    /// Begins a step.
    pub(crate) fn begin(&self, query: &str) -> Pending {
        let (client, query) = (Arc::clone(&self.client), query.to_owned());
        Pending(tokio::spawn(async move {
            let row = client.query_one(query.as_str(), &[]).await?;
            row.try_get(0)
        }))
    }

    /// Captures `tests/step/<id>`, and says with which outcome.
    pub(crate) async fn capture(&self, id: &str, owner_session: &str) -> String {
        self.ask(&capture(id, owner_session)).await
    }

    /// Begins to capture `tests/step/<id>`.
    pub(crate) fn begin_capture(&self, id: &str, owner_session: &str) -> Pending {
        self.begin(&capture(id, owner_session))
    }

    /// The outcome of a call of one of the schema's functions.
    pub(crate) async fn outcome(&self, call: &str) -> String {
        self.begin_outcome(call).text().await
    }

    /// Begins such a call.
    pub(crate) fn begin_outcome(&self, call: &str) -> Pending {
        self.begin(&format!("select outcome from pgmutex.{call}"))
    }

    /// The SQLSTATE and the message with which a call of one of the schema's functions is refused.
    pub(crate) async fn refusal(&self, call: &str) -> (String, String) {
        let error = self.begin_outcome(call).result().await.unwrap_err();
        let error = error.as_db_error().unwrap();
        (error.code().code().to_owned(), error.message().to_owned())
    }

    /// Captures `tests/step/<id>` with more arguments, and says with which outcome.
    pub(crate) async fn capture_as(&self, id: &str, owner_session: &str, more: &str) -> String {
        self.outcome(&format!(
            "capture('tests', 'step', '{id}', '{owner_session}', {more})"
        ))
        .await
    }

    /// Releases `tests/step/<id>`, and says with which outcome.
    pub(crate) async fn release(&self, id: &str, owner_session: &str) -> String {
        self.outcome(&format!(
            "release('tests', 'step', '{id}', '{owner_session}')"
        ))
        .await
    }

    /// Makes the hold of `tests/step/<id>` look as old as this interval says.
    pub(crate) async fn age(&self, id: &str, interval: &str) {
        self.run(&format!(
            "update pgmutex.mutex_model set captured_since = captured_since - interval '{interval}' where mutex_id = '{id}'"
        ))
        .await;
    }

    /// Returns when this session's step waits for a lock; fails if it never does.
    pub(crate) async fn is_blocked(&self) {
        eventually(&self.observer, &self.waits(), |answer| answer == "true").await;
    }

    /// Returns when this step, which may give up by itself, waits for a lock or is over.
    pub(crate) async fn is_blocked_or_over(&self, step: &Pending) {
        let is_so = |answer: &str| answer == "true" || step.0.is_finished();
        eventually(&self.observer, &self.waits(), is_so).await;
    }

    fn waits(&self) -> String {
        format!(
            "select coalesce(wait_event_type = 'Lock', false)::text from pg_stat_activity where pid = {}",
            self.process_id
        )
    }

    /// Asks until there is an answer that will do; fails if there never is one.
    pub(crate) async fn ask_until(&self, query: &str, will_do: impl Fn(&str) -> bool) -> String {
        eventually(&self.client, query, will_do).await
    }
}

async fn eventually(client: &Client, query: &str, will_do: impl Fn(&str) -> bool) -> String {
    let asked = async {
        loop {
            let row = client.query_opt(query, &[]).await.unwrap();
            let answer: Option<String> = row.and_then(|row| row.get(0));
            if let Some(answer) = answer.filter(|answer| will_do(answer)) {
                return answer;
            }
            // What it waits for needs the processors, too.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(HUNG, asked)
        .await
        .unwrap_or_else(|_| panic!("no such answer comes: {query}"))
}

fn capture(id: &str, owner_session: &str) -> String {
    format!(
        "select outcome from pgmutex.capture('tests', 'step', '{id}', owner_session => '{owner_session}')"
    )
}

impl Pending {
    /// What the step gives in the end.
    pub(crate) async fn result(self) -> Result<String, Error> {
        timeout(HUNG, self.0)
            .await
            .expect("the step hangs")
            .expect("the step panicked")
    }

    /// The one text that the step gives in the end.
    pub(crate) async fn text(self) -> String {
        self.result().await.unwrap()
    }
}
