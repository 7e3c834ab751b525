//! Opening connections that belong to this library alone, beside the pool.

use std::{
    fmt,
    future::poll_fn,
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::Arc,
};

use deadpool::managed::Manager as _;
use deadpool_postgres::{ClientWrapper, Pool};
use tokio::sync::watch;
use tokio_postgres::{
    AsyncMessage, Client, Config, Error, Socket,
    tls::{MakeTlsConnect, TlsConnect},
};

use super::watched_connection::standby_was_not_waited_for;

/// What is told of each notification: its payload.
pub(crate) type Heard = Arc<dyn Fn(&str) + Send + Sync>;

type Opening<'a> =
    Pin<Box<dyn Future<Output = Result<(Client, watch::Receiver<bool>), Error>> + Send + 'a>>;

/// A way to open connections whose notifications can be heard.
pub(crate) trait Open: Send + Sync {
    /// Opens one. Its task runs on the runtime of the caller; the receiver says when it has ended.
    fn open(&self, heard: Heard) -> Opening<'_>;
}

/// By a configuration and a TLS connector.
pub(super) struct OpenWith<T> {
    pub(super) config: Config,
    pub(super) tls: T,
}

impl<T> Open for OpenWith<T>
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn open(&self, heard: Heard) -> Opening<'_> {
        Box::pin(async move {
            let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
            let (ended, has_ended) = watch::channel(false);
            tokio::spawn(async move {
                while let Some(message) = poll_fn(|context| connection.poll_message(context)).await
                {
                    match message {
                        Ok(AsyncMessage::Notification(notification)) => {
                            heard(notification.payload())
                        }
                        // As in the pool's connections.
                        Ok(AsyncMessage::Notice(notice)) if standby_was_not_waited_for(&notice) => {
                            tracing::warn!(%notice, "commit without its standby; closing the own connection");
                            break;
                        }
                        Ok(_) => {}
                        Err(error) => {
                            tracing::warn!(%error, "own connection lost");
                            break;
                        }
                    }
                }
                ended.send_replace(true);
            });
            Ok((client, has_ended))
        })
    }
}

/// Where dedicated connections come from.
#[derive(Clone)]
pub(crate) enum Way {
    /// Straight to the server; notifications are heard.
    Direct(Arc<dyn Open>),
    /// As the pool's manager opens them, but outside of the pool's count; notifications are not
    /// heard.
    AsThePool(Pool),
}

/// An open connection.
pub(super) enum Dedicated {
    Direct(Client, watch::Receiver<bool>),
    AsThePool(Box<ClientWrapper>),
}

impl Way {
    pub(super) async fn open(&self, heard: Heard) -> Result<Dedicated, Error> {
        match self {
            Self::Direct(open) => {
                let (client, ended) = open.open(heard).await?;
                Ok(Dedicated::Direct(client, ended))
            }
            Self::AsThePool(pool) => {
                let client = pool.manager().create().await?;
                Ok(Dedicated::AsThePool(Box::new(client)))
            }
        }
    }

    pub(super) fn hears(&self) -> bool {
        matches!(self, Self::Direct(_))
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct(_) => "Direct",
            Self::AsThePool(_) => "AsThePool",
        })
    }
}

impl fmt::Debug for Dedicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct(..) => "Direct",
            Self::AsThePool(_) => "AsThePool",
        })
    }
}

impl Dedicated {
    /// Returns when the connection is known to have ended; for one that cannot tell, never.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let receiver = match self {
            Self::Direct(_, ended) => Some(ended.clone()),
            Self::AsThePool(_) => None,
        };
        async move {
            match receiver {
                // An error: the task is gone, and the connection with it.
                Some(mut receiver) => drop(receiver.wait_for(|ended| *ended).await),
                None => std::future::pending().await,
            }
        }
    }
}

impl Deref for Dedicated {
    type Target = Client;

    fn deref(&self) -> &Client {
        match self {
            Self::Direct(client, _) => client,
            Self::AsThePool(client) => client,
        }
    }
}

impl DerefMut for Dedicated {
    fn deref_mut(&mut self) -> &mut Client {
        match self {
            Self::Direct(client, _) => client,
            Self::AsThePool(client) => client,
        }
    }
}
