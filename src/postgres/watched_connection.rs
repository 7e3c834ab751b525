use std::{future::poll_fn, pin::Pin};

use deadpool_postgres::Connect;
use tokio::task::JoinHandle;
use tokio_postgres::{
    AsyncMessage, Client, Config, Error, Socket,
    error::DbError,
    tls::{MakeTlsConnect, TlsConnect},
};

/// Connections that break when a commit succeeded with less than was asked for.
///
/// If the wait for a synchronous standby is cancelled, the server commits locally and says so in a
/// warning between the answer and the end of the call; whether the standby has the commit is not
/// known then. The driver would drop the warning and report success. Ending the connection at that
/// moment makes the call's outcome unknown, which it is, and the repetition that follows waits for
/// the standby again.
pub(super) struct WatchedConnect<T> {
    pub(super) tls: T,
}

impl<T> Connect for WatchedConnect<T>
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let (config, tls) = (config.clone(), self.tls.clone());
        Box::pin(async move {
            let (client, mut connection) = config.connect(tls).await?;
            let task = tokio::spawn(async move {
                while let Some(message) = poll_fn(|context| connection.poll_message(context)).await
                {
                    match message {
                        Ok(AsyncMessage::Notice(notice)) if standby_was_not_waited_for(&notice) => {
                            tracing::warn!(%notice, "commit without its standby; closing the connection");
                            return;
                        }
                        Ok(AsyncMessage::Notice(notice)) => tracing::debug!(%notice, "notice"),
                        Ok(_) => {}
                        Err(error) => {
                            tracing::warn!(%error, "connection lost");
                            return;
                        }
                    }
                }
            });
            Ok((client, task))
        })
    }
}

/// By the server's source file: the text depends on its language, and the SQLSTATE is that of any
/// warning.
pub(super) fn standby_was_not_waited_for(notice: &DbError) -> bool {
    notice.file() == Some("syncrep.c")
}
