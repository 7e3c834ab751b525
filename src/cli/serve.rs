#[cfg(all(unix, feature = "private-server"))]
use std::time::Duration;
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
#[cfg(all(unix, feature = "private-server"))]
use tokio::time::timeout;

#[cfg(not(all(unix, feature = "private-server")))]
use super::database::UNNAMED;
use super::{Exit, Failure, Output, database::Database};
#[cfg(all(unix, feature = "private-server"))]
use crate::private_server::PrivatePostgres;
use crate::{
    mutexes::Mutexes,
    server::{Server, TokenList, stop_signal},
};

/// Where a private PostgreSQL keeps its data if nothing is said.
#[cfg(all(unix, feature = "private-server"))]
const DEFAULT_FOLDER: &str = "locks.db";

/// How long the connections to a private PostgreSQL may take to close.
#[cfg(all(unix, feature = "private-server"))]
const CLOSING: Duration = Duration::from_secs(10);

/// Serves locks over HTTP
///
/// The locks are kept in PostgreSQL: in the database that is named, or else in a private server that
/// is started for them.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The address to listen at
    #[arg(short, long, default_value = "127.0.0.1")]
    ip: IpAddr,

    /// The port to listen at; 0 lets the system choose
    #[arg(short, long, default_value_t = 8765)]
    port: u16,

    /// Keep the locks in this folder, served by a private PostgreSQL [default, without a database: locks.db]
    #[cfg(all(unix, feature = "private-server"))]
    #[arg(short, long, value_name = "FOLDER", conflicts_with = "database_url")]
    file: Option<PathBuf>,

    /// The tree that canhaz, nowant and dohaz are about
    #[arg(long, default_value = "locker", value_name = "NAME")]
    tree: String,

    /// A file with lines ROLE NAME SHA256, one for each token; see `pgmutex token` [env: PGMUTEX_TOKENS, the lines themselves]
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,

    /// The certificate, and those that lead to it, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Let everyone who reaches the address do everything, also from other machines; say --allow-host as well, or foreign web pages can do it, too
    #[arg(long)]
    open_to_all: bool,

    /// Answer only requests that name this host; may be said more than once [default, at a loopback address: the names of this machine]
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,

    /// Let pages of this origin, such as `https://dash.example`, send requests too; may be said more than once
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
}

/// Where the locks are kept.
struct Place {
    url: String,
    in_words: String,
    #[cfg(all(unix, feature = "private-server"))]
    private: Option<PrivatePostgres>,
}

impl Serve {
    pub(super) fn run(self, database: &Database, output: &mut Output) -> Result<Exit, Failure> {
        let tokens = self.tokens()?;
        // It blocks: before there is a runtime.
        let place = self.place(database)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let mutexes = runtime.block_on(database.mutexes(&place.url))?;
        #[cfg(all(unix, feature = "private-server"))]
        let ended = mutexes.ended();
        let served = runtime.block_on(self.serve(mutexes, tokens, &place, output));
        drop(runtime);
        #[cfg(all(unix, feature = "private-server"))]
        if let Some(mut private) = place.private {
            // All connections are closed first: none is to be lost with its server.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            // If not, the server closes them.
            let _ = runtime.block_on(async { timeout(CLOSING, ended).await });
            private.stop().map_err(Failure::of)?;
        }
        served.map(|()| Exit::Success)
    }

    async fn serve(
        self,
        mutexes: Mutexes,
        tokens: Option<TokenList>,
        place: &Place,
        output: &mut Output,
    ) -> Result<(), Failure> {
        mutexes.migrate().await?;

        let mut server = Server::new(mutexes).tree(&self.tree).collect_metrics();
        for host in self.allow_host {
            server = server.allow_host(host);
        }
        for origin in self.allow_origin {
            server = server.allow_origin(origin);
        }
        if let Some(tokens) = tokens {
            server = server.tokens(tokens);
        }
        if self.open_to_all {
            server = server.open_to_all();
        }
        let mut scheme = "http";
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            server = server.tls(certificate, key).map_err(Failure::of)?;
            scheme = "https";
        }
        let listening = server.bind(SocketAddr::new(self.ip, self.port)).await;
        let listening = listening.map_err(|error| match error {
            open @ crate::server::ServeError::Open { .. } => {
                Failure::from(format!("{open}: --open-to-all"))
            }
            error => Failure::of(error),
        })?;
        let address = listening.address();
        output.line(&format!("{scheme}://{address} locks in {}", place.in_words))?;
        listening.run(stop_signal()).await;
        Ok(())
    }

    fn tokens(&self) -> Result<Option<TokenList>, Failure> {
        let lines = match &self.tokens_file {
            Some(file) => fs::read_to_string(file)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))?,
            None => match std::env::var("PGMUTEX_TOKENS") {
                Ok(lines) => lines,
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => return Err(format!("PGMUTEX_TOKENS: {error}").into()),
            },
        };
        Ok(Some(TokenList::parse(&lines).map_err(Failure::of)?))
    }

    #[cfg(all(unix, feature = "private-server"))]
    fn place(&self, database: &Database) -> Result<Place, Failure> {
        if self.file.is_none()
            && let Some(named) = named(database)?
        {
            return Ok(named);
        }
        let folder = self.file.clone().unwrap_or_else(|| DEFAULT_FOLDER.into());
        let private = PrivatePostgres::start_in(folder).map_err(Failure::of)?;
        Ok(Place {
            url: private.url("postgres"),
            in_words: format!("{} (a private PostgreSQL)", private.data_dir().display()),
            private: Some(private),
        })
    }

    #[cfg(not(all(unix, feature = "private-server")))]
    fn place(&self, database: &Database) -> Result<Place, Failure> {
        named(database)?.ok_or_else(|| Failure::usage(UNNAMED))
    }
}

fn named(database: &Database) -> Result<Option<Place>, Failure> {
    let Some(url) = database.url()? else {
        return Ok(None);
    };
    let schema = &database.schema;
    Ok(Some(Place {
        in_words: format!("{}, schema {schema}", without_secrets(&url)),
        url,
        #[cfg(all(unix, feature = "private-server"))]
        private: None,
    }))
}

/// What people may read of a URL: neither the password nor the parameters, which may have one too.
fn without_secrets(url: &str) -> &str {
    let Some((_, place)) = url.split_once("://") else {
        return "the database named";
    };
    // A password may have any character that is no `@`, a question mark too.
    let place = place.split_once('@').map_or(place, |(_, place)| place);
    let place = place.split('?').next().unwrap_or(place);
    place.rsplit('@').next().unwrap_or(place)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        for (url, shown) in [
            (
                "postgres://me:pass@host:5432/db?password=pass",
                "host:5432/db",
            ),
            ("postgresql://me:pa?ss@host/db", "host/db"),
            ("postgres://me:pa/ss@host/db", "host/db"),
            ("postgres://me:pa@ss@host/db", "host/db"),
            ("postgres://host/db", "host/db"),
            ("host=h password=pass", "the database named"),
        ] {
            assert_eq!(super::without_secrets(url), shown, "{url}");
        }
    }
}
