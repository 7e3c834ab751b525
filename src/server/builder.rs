use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::Router;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{
    app::{App, SharedApp},
    errands::Errands,
    foreign_page::OwnAddresses,
    listener::{Listening, ServeError},
    page::Viewers,
    routes::Routes,
    settings::Limits,
    tls::{self, TlsError},
    token_list::TokenList,
};
use crate::{collected::collected, mutexes::Mutexes};

/// A server in the making.
#[derive(Clone)]
#[must_use = "it does nothing until it is bound, or made into a router"]
pub struct Server {
    mutexes: Mutexes,
    tokens: Option<TokenList>,
    own: OwnAddresses,
    limits: Limits,
    tree: String,
    tls: Option<TlsAcceptor>,
    open_to_all: bool,
    collects_metrics: bool,
    stopping: Arc<watch::Sender<bool>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("tokens", &self.tokens)
            .field("own", &self.own)
            .field("limits", &self.limits)
            .field("tree", &self.tree)
            .field("tls", &self.tls.is_some())
            .field("open_to_all", &self.open_to_all)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// For these mutexes.
    pub fn new(mutexes: Mutexes) -> Self {
        Self {
            mutexes,
            tokens: None,
            own: OwnAddresses::default(),
            limits: Limits::default(),
            tree: "locker".to_owned(),
            tls: None,
            open_to_all: false,
            collects_metrics: false,
            stopping: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Only for those who have one of these tokens. Default: whoever reaches it may do everything.
    pub fn tokens(mut self, tokens: TokenList) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// The tree that Locker's calls are about. Default: `locker`.
    pub fn tree(mut self, name: impl Into<String>) -> Self {
        self.tree = name.into();
        self
    }

    /// What clients may ask.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets pages of this origin, such as `https://dash.example`, send requests from a browser too. Default:
    /// only the server's own.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        let origin = origin.into();
        self.own
            .origins
            .push(origin.trim_end_matches('/').to_owned());
        self
    }

    /// Answers only requests that name one of the hosts allowed so, whatever the port. Default: bound
    /// to a loopback address, those names that mean this machine; otherwise every host.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.own.hosts.get_or_insert_default().push(host.into());
        self
    }

    /// Encrypts, with the certificate (and those that lead to it) and the private key in these PEM
    /// files.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be read or do not fit.
    pub fn tls(mut self, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        self.tls = Some(tls::acceptor(certificate, key)?);
        Ok(self)
    }

    /// Lets it be bound to an address that other machines reach, without tokens: whoever reaches it
    /// may do everything. Name its hosts with [`allow_host`](Self::allow_host) as well: else a foreign
    /// page whose name resolves to this address passes for the server's own. And encrypt: to what is
    /// not encrypted browsers do not say which page sends a request, if the page does not want it.
    pub fn open_to_all(mut self) -> Self {
        self.open_to_all = true;
        self
    }

    /// Collects this process's metrics for `/metrics`. Not possible if the program has another
    /// recorder of the crate `metrics` already: then `/metrics` says so.
    pub fn collect_metrics(mut self) -> Self {
        self.collects_metrics = true;
        self
    }

    /// The routes, to be mounted in an application's. What [`Limits`] says of connections, heads and
    /// slow clients is then up to whoever serves them.
    pub fn router(&self) -> Router {
        Routes::all(&self.app()).into_router()
    }

    /// Has those who wait in line at the routers made of this told to come again (503), for good:
    /// before the application stops.
    pub fn stop_waiting(&self) {
        self.stopping.send_replace(true);
    }

    /// Takes the address. Connections are accepted from now on, and served when it
    /// [runs](Listening::run).
    ///
    /// # Errors
    /// [`ServeError::Open`] if other machines reach the address and there are no tokens (see
    /// [`open_to_all`](Self::open_to_all)); [`ServeError::Bind`] if it cannot be had.
    pub async fn bind(mut self, address: SocketAddr) -> Result<Listening, ServeError> {
        let is_local = address.ip().to_canonical().is_loopback();
        if !is_local && self.tokens.is_none() && !self.open_to_all {
            return Err(ServeError::Open { address });
        }
        if is_local && self.own.hosts.is_none() {
            let own_ip = match address {
                SocketAddr::V4(address) => address.ip().to_string(),
                SocketAddr::V6(address) => format!("[{}]", address.ip()),
            };
            let names = ["localhost", "127.0.0.1", "[::1]", own_ip.as_str()];
            self.own.hosts = Some(names.map(str::to_owned).to_vec());
        }
        Listening::bind(address, self.tls.clone(), self.app(), self.stopping).await
    }

    pub(super) fn app(&self) -> SharedApp {
        let collected = self.collects_metrics.then(|| collected(&[])).flatten();
        Arc::new(App {
            mutexes: self.mutexes.clone(),
            tokens: self.tokens.clone(),
            own: self.own.clone(),
            limits: self.limits.clone(),
            tree: self.tree.clone(),
            at_work: bound(self.limits.at_work),
            waiting: bound(self.limits.waiting),
            errands: Errands::default(),
            viewers: Viewers::default(),
            stopping: self.stopping.subscribe(),
            metrics: collected,
        })
    }
}

fn bound(most: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}
