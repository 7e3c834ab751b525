//! Connections: accepted, served, bounded, ended.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::{Service, service_fn};

use super::{app::SharedApp, patience::Patient, routes::Routes, settings::Limits};

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Between two attempts to accept a connection while the system has no means for one.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a server that stops gives back what nobody will take.
const GIVING_BACK: Duration = Duration::from_secs(10);

/// Why a server cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Other machines could do everything, without a token.
    #[error(
        "{address} can be reached from other machines, and there are no tokens: whoever reaches it could take and release every lock. Name a token list, or a loopback address such as 127.0.0.1; or say that it is to be open to all"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be had.
    #[error(
        "cannot listen at {address}: {source}; name another address or port, or end the program that has this one"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A server that has its address.
#[derive(Debug)]
#[must_use = "it answers nobody until it runs"]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptorOf>,
    app: SharedApp,
    stopping: Arc<watch::Sender<bool>>,
}

#[derive(Clone)]
struct TlsAcceptorOf(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

impl Listening {
    pub(super) async fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        app: SharedApp,
        stopping: Arc<watch::Sender<bool>>,
    ) -> Result<Self, ServeError> {
        let cannot = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Self {
            listener,
            address,
            tls: tls.map(TlsAcceptorOf),
            app,
            stopping,
        })
    }

    /// The address, with the port that was given where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` returns. Then it accepts nothing more, tells those who wait in line to come
    /// again, lets the requests at work end, for as long as [`Limits::drain_time`] says, cuts off
    /// those that have not, and gives back what nobody will take, for 10 s at most.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let app = self.app;
        let router = Routes::all(&app).into_router();
        // As many as can be waited for at once.
        let most = u16::try_from(app.limits.connections).unwrap_or(u16::MAX);
        let connections = Arc::new(Semaphore::new(usize::from(most)));
        let cut_off = watch::Sender::new(false);
        let mut stop = std::pin::pin!(stop);
        loop {
            let (stream, peer, permit) = tokio::select! {
                () = &mut stop => break,
                accepted = accept(&self.listener, &connections) => accepted,
            };
            let connection = Connection {
                router: router.clone(),
                limits: app.limits.clone(),
                stopping: self.stopping.subscribe(),
                peer: Peer(peer),
            };
            let tls = self.tls.clone();
            let mut is_cut_off = cut_off.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    () = connection.serve_tcp(stream, tls) => {}
                    () = stopped(&mut is_cut_off) => {}
                }
                drop(permit);
            });
        }
        drop(self.listener);
        tracing::info!("stopping: waiting for the requests at work");
        self.stopping.send_replace(true);
        // All connections are closed when all permits are back.
        let closed = connections.acquire_many(u32::from(most));
        if timeout(app.limits.drain_time, closed).await.is_err() {
            tracing::warn!("requests were still at work; they are cut off");
        }
        cut_off.send_replace(true);
        // Also when one client was too slow: what the others left behind is given back.
        let given_back = async {
            drop(connections.acquire_many(u32::from(most)).await);
            app.errands.done().await;
            app.mutexes.shutdown().await;
        };
        if timeout(GIVING_BACK, given_back).await.is_err() {
            tracing::warn!("not everything could be given back that nobody will take");
        }
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(connections).acquire_owned().await else {
            // It is never closed.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender is gone with the server only.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

struct Connection {
    router: Router,
    limits: Limits,
    stopping: watch::Receiver<bool>,
    peer: Peer,
}

impl Connection {
    async fn serve_tcp(self, stream: TcpStream, tls: Option<TlsAcceptorOf>) {
        // Answers are small, and waited for.
        let _ = stream.set_nodelay(true);
        let patient = Patient::new(stream, self.limits.unread_time);
        let Some(TlsAcceptorOf(tls)) = tls else {
            return self.serve(patient).await;
        };
        match timeout(self.limits.handshake_time, tls.accept(patient)).await {
            Ok(Ok(encrypted)) => self.serve(encrypted).await,
            Ok(Err(error)) => tracing::debug!(%error, "no handshake"),
            Err(_) => tracing::debug!("the handshake took too long"),
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (peer, router) = (self.peer, self.router);
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            let mut router = router.clone();
            async move { router.call(request).await }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_buf_size(self.limits.header_bytes.max(8192))
            .max_header_size(self.limits.header_bytes)
            .max_headers(100);
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut self.stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
