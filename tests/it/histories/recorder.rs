//! Calls the functions of the schema, and writes down what was asked and answered, and when.

use std::{
    future::Future,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, NoTls,
    types::{ToSql, Type},
};

use super::history::{Access, Answer, Call, History, Moment, Request, Row, Seen, Verdict, Want};

/// All that the contenders of one contention have done so far.
pub(super) struct Recorder {
    began: Instant,
    calls: Mutex<Vec<Call>>,
}

/// A connection that may be cut.
pub(super) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    process_id: i32,
    /// Its number, if holds depend on it.
    session: Option<i64>,
}

/// The connection was cut before the answer came.
#[derive(Debug)]
pub(super) struct Cut;

type Parameters<'a> = [(&'a (dyn ToSql + Sync), Type)];

impl Connection {
    pub(super) async fn open(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let driver = tokio::spawn(async {
            let _ = connection.await;
        });
        let process_id = client
            .query_one("select pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        Self {
            client,
            driver,
            process_id,
            session: None,
        }
    }

    /// One whose end ends the holds that were captured through it, and the waiting.
    pub(super) async fn open_attached(url: &str) -> Self {
        let mut connection = Self::open(url).await;
        let number: i64 = connection
            .client
            .query_one("select pgmutex.attach_session()", &[])
            .await
            .unwrap()
            .get(0);
        connection.session = Some(number);
        connection.shows_life().await;
        connection
    }

    /// What a process does about once a second while it waits.
    pub(super) async fn shows_life(&self) {
        if let Some(number) = self.session {
            let look = "select count(*) from pgmutex.look_at_lines($1, true)";
            self.client.query_one(look, &[&number]).await.unwrap();
        }
    }

    pub(super) fn is_attached(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Closes it, whatever it was about to receive.
    async fn cut(&mut self) {
        self.driver.abort();
        let _ = (&mut self.driver).await;
    }

    /// Returns when the server has ended the session of a connection that was cut: what was asked
    /// through it has taken effect by now, or never will.
    pub(super) async fn is_forgotten_by_server(&self, observer: &Client) {
        let there = "select exists (select from pg_stat_activity where pid = $1)";
        loop {
            let row = observer.query_one(there, &[&self.process_id]).await;
            if !row.unwrap().get::<_, bool>(0) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            calls: Mutex::default(),
        }
    }

    pub(super) fn history(&self) -> History {
        History::of(self.calls.lock().unwrap().clone())
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn write_down(
        &self,
        owner: &str,
        request: Request,
        invoked: Moment,
        answer: Option<(Moment, Answer)>,
    ) {
        self.calls.lock().unwrap().push(Call {
            owner: owner.to_owned(),
            request,
            invoked,
            answer,
        });
    }

    /// Makes one call. With `patience`, the connection is cut unless the answer comes in time.
    async fn call(
        &self,
        connection: &mut Connection,
        owner: &str,
        request: Request,
        patience: Option<Duration>,
    ) -> Result<Answer, Cut> {
        let invoked = self.now();
        let answer = {
            let asking = ask(connection, owner, &request);
            within(asking, patience).await
        };
        match answer {
            Some(answer) => {
                self.write_down(owner, request, invoked, Some((self.now(), answer.clone())));
                Ok(answer)
            }
            None => {
                if connection.is_attached() {
                    self.write_down(owner, Request::EndOfSession, self.now(), None);
                }
                connection.cut().await;
                self.write_down(owner, request, invoked, None);
                Err(Cut)
            }
        }
    }

    pub(super) async fn capture(
        &self,
        connection: &mut Connection,
        owner: &str,
        wants: &[Want],
        waits: bool,
        patience: Option<Duration>,
    ) -> Result<Vec<Row>, Cut> {
        let wants = wants.to_vec();
        let request = Request::Capture { wants, waits };
        match self.call(connection, owner, request, patience).await? {
            Answer::Asked(rows) => Ok(rows),
            other => unreachable!("{other:?}"),
        }
    }

    /// The capture counts from when its transaction begins to when it has committed; `meanwhile`
    /// happens before the commit.
    pub(super) async fn capture_in_a_transaction(
        &self,
        connection: &mut Connection,
        owner: &str,
        wants: &[Want],
        meanwhile: impl Future<Output = ()>,
    ) {
        let request = Request::Capture {
            wants: wants.to_vec(),
            waits: false,
        };
        let invoked = self.now();
        connection.client.batch_execute("begin").await.unwrap();
        let answer = ask(connection, owner, &request).await;
        meanwhile.await;
        connection.client.batch_execute("commit").await.unwrap();
        self.write_down(owner, request, invoked, Some((self.now(), answer)));
    }

    pub(super) async fn release(
        &self,
        connection: &mut Connection,
        owner: &str,
        (mutex, token): (&str, i64),
        patience: Option<Duration>,
    ) -> Result<(), Cut> {
        let mutex = mutex.to_owned();
        let request = Request::Release { mutex, token };
        self.call(connection, owner, request, patience).await?;
        Ok(())
    }

    pub(super) async fn leave(&self, connection: &mut Connection, owner: &str, mutex: &str) {
        let mutex = mutex.to_owned();
        let request = Request::Leave { mutex };
        self.call(connection, owner, request, None).await.unwrap();
    }

    pub(super) async fn look(&self, connection: &mut Connection) -> Vec<Seen> {
        let looked = self.call(connection, "observer", Request::Look, None);
        match looked.await.unwrap() {
            Answer::Seen(seen) => seen,
            other => unreachable!("{other:?}"),
        }
    }
}

/// The answer, if it comes in time.
async fn within(
    asking: impl Future<Output = Answer>,
    patience: Option<Duration>,
) -> Option<Answer> {
    let Some(patience) = patience else {
        return Some(asking.await);
    };
    let began = Instant::now();
    let loses_patience = async {
        while began.elapsed() < patience {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = asking => Some(answer),
        () = loses_patience => None,
    }
}

async fn ask(connection: &Connection, owner: &str, request: &Request) -> Answer {
    match request {
        Request::Capture { wants, waits } => match wants.as_slice() {
            [want] => capture_one(connection, owner, want, *waits).await,
            several => capture_all(connection, owner, several, *waits).await,
        },
        Request::Release { mutex, token } => {
            let release = "select outcome from pgmutex.release('tests', 'history', $1, $2, $3)";
            let parameters: &Parameters<'_> = &[
                (mutex, Type::TEXT),
                (&owner, Type::TEXT),
                (token, Type::INT8),
            ];
            let outcome: String = one_row(connection, release, parameters).await.get(0);
            Answer::Released(outcome == "released")
        }
        Request::Leave { mutex } => {
            let leave = "select pgmutex.leave_line('tests', 'history', $1, $2)";
            let parameters: &Parameters<'_> = &[(mutex, Type::TEXT), (&owner, Type::TEXT)];
            one_row(connection, leave, parameters).await;
            Answer::Left
        }
        Request::Look => {
            let held =
                "select mutex_id, owner_session, fencing_token, permit, permits from pgmutex.held";
            let rows = connection.client.query_typed(held, &[]).await.unwrap();
            Answer::Seen(rows.iter().map(seen).collect())
        }
        Request::EndOfSession => unreachable!("nobody is asked for it"),
    }
}

async fn one_row(
    connection: &Connection,
    query: &str,
    parameters: &Parameters<'_>,
) -> tokio_postgres::Row {
    let mut rows = rows(connection, query, parameters).await;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

async fn rows(
    connection: &Connection,
    query: &str,
    parameters: &Parameters<'_>,
) -> Vec<tokio_postgres::Row> {
    connection
        .client
        .query_typed(query, parameters)
        .await
        .unwrap()
}

async fn capture_one(connection: &Connection, owner: &str, want: &Want, waits: bool) -> Answer {
    let capture = "
        select mutex_id, outcome, owner_session, fencing_token, permit, ticket
        from pgmutex.capture('tests', 'history', $1, $2, access => $3, permits => $4, wait => $5, listener => $6,
                             auto_release_rule => $7, auto_release_config => $8)";
    let (rule, config) = rule(connection);
    let parameters: &Parameters<'_> = &[
        (&want.mutex, Type::TEXT),
        (&owner, Type::TEXT),
        (&want.access.name(), Type::TEXT),
        (&want.access.limit(), Type::INT4),
        (&waits, Type::BOOL),
        (&connection.session, Type::INT8),
        (&rule, Type::TEXT),
        (&config, Type::TEXT),
    ];
    answered(&[one_row(connection, capture, parameters).await])
}

async fn capture_all(connection: &Connection, owner: &str, wants: &[Want], waits: bool) -> Answer {
    let capture_all = "
        select mutex_id, outcome, owner_session, fencing_token, permit, ticket
        from pgmutex.capture_all($1::text::jsonb, $2::text::jsonb, wait => $3, listener => $4)";
    let (rule, config) = rule(connection);
    let requests: Vec<_> = wants
        .iter()
        .map(|want| {
            serde_json::json!({
                "mutex_id": want.mutex,
                "access": want.access.name(),
                "permits": want.access.limit(),
            })
        })
        .collect();
    let requests = serde_json::Value::from(requests).to_string();
    let defaults = serde_json::json!({
        "mutex_group": "tests",
        "mutex_mode": "history",
        "owner_session": owner,
        "auto_release_rule": rule,
        "auto_release_config": config,
    })
    .to_string();
    let parameters: &Parameters<'_> = &[
        (&requests, Type::TEXT),
        (&defaults, Type::TEXT),
        (&waits, Type::BOOL),
        (&connection.session, Type::INT8),
    ];
    answered(&rows(connection, capture_all, parameters).await)
}

/// How holds end that are captured through this connection.
fn rule(connection: &Connection) -> (&'static str, String) {
    match connection.session {
        Some(number) => ("connection", number.to_string()),
        None => ("timeout", "300".to_owned()),
    }
}

fn answered(rows: &[tokio_postgres::Row]) -> Answer {
    let rows = rows.iter().map(|row| Row {
        mutex: row.get("mutex_id"),
        verdict: match row.get("outcome") {
            "captured" | "evicted" => Verdict::Captured,
            "refreshed" => Verdict::Refreshed,
            "busy" => Verdict::Busy,
            "queued" => Verdict::Queued {
                ticket: row.get("ticket"),
            },
            other => unreachable!("{other}"),
        },
        holder: row.get("owner_session"),
        token: row.get("fencing_token"),
        permit: row.get("permit"),
    });
    Answer::Asked(rows.collect())
}

fn seen(row: &tokio_postgres::Row) -> Seen {
    let permit = row.get("permit");
    Seen {
        mutex: row.get("mutex_id"),
        owner: row.get("owner_session"),
        token: row.get("fencing_token"),
        permit,
        access: match permit {
            0 => Access::Exclusive,
            _ => Access::Shared {
                limit: row.get("permits"),
            },
        },
    }
}
