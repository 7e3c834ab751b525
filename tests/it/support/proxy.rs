use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{Notify, watch},
};
use tokio_postgres::{Config, config::Host};

/// What the proxy does to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing.
    Nowhere,
    /// Passes the next request on, waits until the server has answered it, and cuts the connection
    /// instead of delivering the answer. Then behaves again.
    AnswerOfNextRequest,
    /// Swallows answers and keeps the connection open: the server is there, but nothing arrives.
    AnswersFromNowOn,
    /// Cuts every connection, new ones too.
    Everything,
    /// Swallows notifications, on connections opened from now on.
    Notifications,
}

/// Stands between the library and the server, on a socket of its own.
pub(crate) struct Proxy {
    url: String,
    cut: Arc<watch::Sender<Cut>>,
    requests: Arc<AtomicUsize>,
    cuts: Arc<Notify>,
    folder: PathBuf,
}

impl Proxy {
    /// A proxy in front of the server that this URL names by its socket's folder.
    pub(crate) async fn in_front_of(url: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let config: Config = url.parse().unwrap();
        let folder = std::env::temp_dir().join(format!(
            "pgmutex-proxy-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        // The numbers of processes come again, and who was killed has left its folder.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
        let proxy = Self {
            url: through(&config, &folder),
            cut: Arc::new(watch::Sender::new(Cut::Nowhere)),
            requests: Arc::default(),
            cuts: Arc::default(),
            folder,
        };
        let (cut, requests, cuts) = (
            Arc::clone(&proxy.cut),
            Arc::clone(&proxy.requests),
            Arc::clone(&proxy.cuts),
        );
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *cut.borrow() == Cut::Everything {
                    continue;
                }
                let state = (Arc::clone(&cut), Arc::clone(&requests), Arc::clone(&cuts));
                match &config.get_hosts()[0] {
                    Host::Unix(server) => {
                        let server = server.join(format!(".s.PGSQL.{}", port(&config)));
                        let server = UnixStream::connect(server).await.unwrap();
                        tokio::spawn(converse(client, server, state));
                    }
                    Host::Tcp(server) => {
                        let server = (server.as_str(), port(&config));
                        let server = TcpStream::connect(server).await.unwrap();
                        tokio::spawn(converse(client, server, state));
                    }
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }

    /// How many requests have been sent: messages after which the client waits for an answer.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Returns when a connection has been cut, or a notification swallowed.
    pub(crate) async fn has_cut(&self) {
        self.cuts.notified().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn port(config: &Config) -> u16 {
    config.get_ports().first().copied().unwrap_or(5432)
}

/// The same user and database, by way of the socket in this folder.
fn through(config: &Config, folder: &Path) -> String {
    let password = config
        .get_password()
        .map(|password| format!("password='{}'", String::from_utf8_lossy(password)))
        .unwrap_or_default();
    format!(
        "host={} user={} dbname={} {password}",
        folder.display(),
        config.get_user().unwrap(),
        config.get_dbname().unwrap(),
    )
}

/// What a conversation shares with its proxy: where to cut, how many requests there were, and who
/// wants to know of a cut.
type State = (Arc<watch::Sender<Cut>>, Arc<AtomicUsize>, Arc<Notify>);

async fn converse<S: AsyncRead + AsyncWrite + Send + 'static>(
    client: UnixStream,
    server: S,
    (cut, requests, cuts): State,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let upstream = tokio::spawn(async move {
        let mut reader = MessageReader::default();
        let mut bytes = vec![0; 65_536];
        loop {
            match from_client.read(&mut bytes).await {
                Ok(count) if count > 0 => {
                    let sent = reader.requests_in(&bytes[..count]);
                    requests.fetch_add(sent, Ordering::SeqCst);
                    if to_server.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    });
    let mut changes = cut.subscribe();
    let mut without_notifications =
        (*cut.borrow() == Cut::Notifications).then(WithoutNotifications::default);
    let mut bytes = vec![0; 65_536];
    loop {
        tokio::select! {
            read = from_server.read(&mut bytes) => match read {
                Ok(count) if count > 0 => {
                    let delivered = match &mut without_notifications {
                        Some(filter) => {
                            let (rest, swallowed) = filter.pass(&bytes[..count]);
                            if swallowed {
                                cuts.notify_one();
                            }
                            deliver(&rest, &mut to_client, &cut).await
                        }
                        None => deliver(&bytes[..count], &mut to_client, &cut).await,
                    };
                    if !delivered {
                        break;
                    }
                }
                _ => break,
            },
            () = async { drop(changes.wait_for(|cut| *cut == Cut::Everything).await) } => break,
        }
    }
    upstream.abort();
    cuts.notify_one();
}

/// Passes an answer on, or not; says whether the conversation goes on.
async fn deliver(answer: &[u8], to_client: &mut OwnedWriteHalf, cut: &watch::Sender<Cut>) -> bool {
    let mut swallowed = false;
    let mut ends = false;
    cut.send_if_modified(|cut| {
        match cut {
            Cut::AnswerOfNextRequest => {
                *cut = Cut::Nowhere;
                ends = true;
            }
            Cut::AnswersFromNowOn => swallowed = true,
            Cut::Everything => ends = true,
            Cut::Nowhere | Cut::Notifications => {}
        }
        false
    });
    if ends {
        return false;
    }
    swallowed || to_client.write_all(answer).await.is_ok()
}

/// Finds the messages in what a client sends: a type, a length, a body. The first one has no type.
#[derive(Default)]
struct MessageReader {
    started: bool,
    pending: Vec<u8>,
}

impl MessageReader {
    /// How many of the messages completed by these bytes are ones that a client waits for an answer
    /// to: Sync and Query.
    fn requests_in(&mut self, bytes: &[u8]) -> usize {
        self.pending.extend_from_slice(bytes);
        let mut requests = 0;
        loop {
            let header = usize::from(self.started);
            let Some(length) = self.pending.get(header..header + 4) else {
                return requests;
            };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.pending.len() < header + length {
                return requests;
            }
            if self.started && matches!(self.pending[0], b'S' | b'Q') {
                requests += 1;
            }
            // The question for TLS, which is nothing but a length and a code, comes before the start.
            self.started |= length != 8;
            self.pending.drain(..header + length);
        }
    }
}

/// Lets everything through that a server sends but notifications, message by message.
#[derive(Default)]
struct WithoutNotifications {
    pending: Vec<u8>,
}

impl WithoutNotifications {
    /// The messages completed by these bytes, and whether there were notifications among them.
    fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.pending.extend_from_slice(bytes);
        let (mut passed, mut swallowed) = (Vec::new(), false);
        loop {
            let Some(length) = self.pending.get(1..5) else {
                return (passed, swallowed);
            };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.pending.len() < 1 + length {
                return (passed, swallowed);
            }
            let message: Vec<u8> = self.pending.drain(..1 + length).collect();
            match message[0] {
                b'A' => swallowed = true,
                _ => passed.extend(message),
            }
        }
    }
}
