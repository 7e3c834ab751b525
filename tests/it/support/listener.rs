use std::future::poll_fn;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::Session;

/// A process that waits for mutexes: a database session with a number of its own that listens.
pub(crate) struct Listener {
    client: Client,
    messages: UnboundedReceiver<(String, String)>,
    number: i64,
}

impl Listener {
    pub(super) async fn new(url: &str) -> Self {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let (sender, messages) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(told) = message {
                    let _ = sender.send((told.channel().to_owned(), told.payload().to_owned()));
                }
            }
        });
        let attach = "select pgmutex.attach_session(true)";
        let number = client.query_one(attach, &[]).await.unwrap().get(0);
        let listener = Self {
            client,
            messages,
            number,
        };
        listener.look().await;
        listener
    }

    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// What it is told of its lines when it asks: for each ticket whether its turn has come and
    /// when to look again.
    pub(crate) async fn look(&self) -> String {
        self.look_for("null").await
    }

    /// The same, with the tickets that it knows.
    pub(crate) async fn look_for(&self, tickets: &str) -> String {
        let look = format!(
            "select coalesce(string_agg(concat_ws(' ', ticket, is_my_turn, look_again_in), ', ' order by ticket), '') \
             from pgmutex.look_at_lines({}, true, {tickets})",
            self.number
        );
        let row = self.client.query_one(look.as_str(), &[]).await.unwrap();
        row.get(0)
    }

    /// The payloads of all notifications since the last call. Notifications come in the order of the
    /// commits: all of them are here when one of its own is.
    pub(crate) async fn told(&mut self) -> Vec<String> {
        let mark = format!("notify pgmutex_{}, 'mark'", self.number);
        self.client.batch_execute(&mark).await.unwrap();
        let mut payloads = Vec::new();
        loop {
            let (channel, payload) = self.messages.recv().await.expect("the session is there");
            assert_eq!(channel, format!("pgmutex_{}", self.number));
            if payload == "mark" {
                return payloads;
            }
            payloads.push(payload);
        }
    }

    /// Ends the database session, for longer than a process is given to connect again, and returns
    /// when the server has seen to it.
    pub(crate) async fn ends(self, observer: &Session) {
        self.breaks_off(observer).await;
        observer
            .run("update pgmutex.mutex_listener set seen_at = seen_at - interval '4 seconds'")
            .await;
    }

    /// Ends the database session, just now, and returns when the server has seen to it.
    pub(crate) async fn breaks_off(self, observer: &Session) {
        let process_id: i32 = self
            .client
            .query_one("select pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        drop(self);
        let gone = format!("select count(*)::text from pg_stat_activity where pid = {process_id}");
        observer.ask_until(&gone, |answer| answer == "0").await;
    }
}
