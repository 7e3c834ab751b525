//! Those who fight over a few mutexes, each with a connection of its own.

use std::{sync::Arc, time::Duration};

use tokio_postgres::Client;

use super::{
    decisions::Decisions,
    history::{Access, Row, Verdict, Want},
    recorder::{Connection, Cut, Recorder},
};

const MUTEXES: [&str; 3] = ["k", "l", "m"];

const ACCESSES: [Access; 6] = [
    Access::Exclusive,
    Access::Exclusive,
    Access::Shared { limit: None },
    Access::Shared { limit: None },
    Access::Shared { limit: Some(2) },
    Access::Shared { limit: Some(3) },
];

/// What a contender does when its connection has been cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Its holds and its waiting were tied to the session; it goes on as somebody else.
    Attached,
    /// It comes back as the same owner, and asks again for what it has not been told.
    Returning,
}

pub(super) struct Contender {
    recorder: Arc<Recorder>,
    url: String,
    name: String,
    manner: Manner,
    decisions: Decisions,
    /// In how many calls of a hundred it loses patience and cuts the connection.
    cuts: u64,
    connection: Connection,
    observer: Client,
}

/// A request given up, together with the owner who made it.
struct GivenUp;

impl Contender {
    pub(super) async fn new(
        recorder: &Arc<Recorder>,
        url: &str,
        name: &str,
        manner: Manner,
        decisions: Decisions,
        cuts: u64,
    ) -> Self {
        let (observer, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        Self {
            recorder: Arc::clone(recorder),
            url: url.to_owned(),
            name: name.to_owned(),
            manner,
            decisions,
            cuts,
            connection: manner.open(url).await,
            observer,
        }
    }

    /// So many times it captures something, keeps it for a moment and gives it back; each time as an
    /// owner of its own.
    pub(super) async fn contend(mut self, rounds: u32) {
        for round in 0..rounds {
            let owner = format!("{} {round}", self.name);
            let wants = self.some_wants();
            let waits = self.decisions.percent(60);
            if let Ok(rows) = self.capture(&owner, &wants, waits).await {
                for _ in 0..self.decisions.below(5) {
                    let pause = self.connection.client().simple_query("select");
                    pause.await.unwrap();
                }
                for row in rows {
                    if self.release(&owner, &row).await.is_err() {
                        break;
                    }
                }
            }
        }
    }

    fn some_wants(&mut self) -> Vec<Want> {
        let number = if self.decisions.percent(25) { 2 } else { 1 };
        let mut wants: Vec<Want> = Vec::new();
        while wants.len() < number {
            let mutex = self.decisions.one_of(&MUTEXES).to_owned();
            if wants.iter().all(|want| want.mutex != mutex) {
                let access = self.decisions.one_of(&ACCESSES);
                wants.push(Want { mutex, access });
            }
        }
        wants
    }

    /// How long it waits for the next answer.
    fn patience(&mut self) -> Option<Duration> {
        let impatient = self.decisions.percent(self.cuts);
        impatient.then(|| Duration::from_micros(self.decisions.below(2500)))
    }

    async fn capture(
        &mut self,
        owner: &str,
        wants: &[Want],
        waits: bool,
    ) -> Result<Vec<Row>, GivenUp> {
        let leaves_after = if self.decisions.percent(10) {
            3
        } else {
            u32::MAX
        };
        let mut asked = 0;
        loop {
            let patience = self.patience();
            let asking = self
                .recorder
                .capture(&mut self.connection, owner, wants, waits, patience);
            match asking.await {
                Ok(rows) if rows.iter().all(|row| row.verdict.is_grant()) => return Ok(rows),
                Ok(rows) if rows.iter().any(|row| row.verdict == Verdict::Busy) => {
                    return Err(GivenUp);
                }
                Ok(_) if asked == leaves_after => {
                    self.leave(owner, wants).await;
                    return Err(GivenUp);
                }
                Ok(_) => self.pause().await,
                Err(cut) => self.recover(cut).await?,
            }
            asked += 1;
        }
    }

    async fn leave(&mut self, owner: &str, wants: &[Want]) {
        for want in wants {
            self.recorder
                .leave(&mut self.connection, owner, &want.mutex)
                .await;
        }
    }

    async fn release(&mut self, owner: &str, row: &Row) -> Result<(), GivenUp> {
        loop {
            let patience = self.patience();
            let hold = (row.mutex.as_str(), row.token);
            let releasing = self
                .recorder
                .release(&mut self.connection, owner, hold, patience);
            match releasing.await {
                Ok(()) => return Ok(()),
                Err(cut) => self.recover(cut).await?,
            }
        }
    }

    /// Between two questions whether its turn has come.
    async fn pause(&mut self) {
        self.connection.shows_life().await;
        tokio::time::sleep(Duration::from_millis(1 + self.decisions.below(3))).await;
    }

    /// With a new connection: goes on if it comes back as the same owner.
    async fn recover(&mut self, _: Cut) -> Result<(), GivenUp> {
        let reopened = self.manner.open(&self.url).await;
        let old = std::mem::replace(&mut self.connection, reopened);
        match self.manner {
            Manner::Attached => Err(GivenUp),
            Manner::Returning => {
                old.is_forgotten_by_server(&self.observer).await;
                Ok(())
            }
        }
    }
}

impl Manner {
    async fn open(self, url: &str) -> Connection {
        match self {
            Self::Attached => Connection::open_attached(url).await,
            Self::Returning => Connection::open(url).await,
        }
    }
}
