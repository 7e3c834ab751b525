use std::{str::FromStr, sync::Arc, time::Duration};

use deadpool::managed::QueueMode;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::{
    Config, NoTls,
    config::{SslMode, TargetSessionAttrs},
};

use super::{
    connection_string::{TlsDemand, TlsParameters, split_off_tls},
    dedicated::{OpenWith, Way},
    watched_connection::WatchedConnect,
};
use crate::domain::Error;

/// How many connections a pool from [`pool_for_url`] opens at most.
const POOL_SIZE: usize = 16;

/// A pool for a connection URL (`postgres://…`) or a list of `key=value` pairs, with what this
/// library needs of a pool.
///
/// Understood beside tokio-postgres's parameters: `sslmode` (`disable`, `allow`, `prefer`,
/// `require`, `verify-ca`, `verify-full`, with libpq's meaning), `sslrootcert` (a PEM file, or
/// `system`), `sslcert` and `sslkey` (PEM files). TLS needs the feature `tls`; without it, a URL
/// that insists on TLS is refused, and one that merely prefers it gets none.
///
/// Where the URL says nothing: 10 s to connect, TCP keepalive after 30 s, 30 s until unanswered
/// data ends the connection, application name `pgmutex`, and, if several hosts are named, the one
/// that accepts writes. At most 16 connections. No connection is opened yet.
///
/// A connection of this pool breaks when a commit succeeded although the wait for its synchronous
/// standby was cancelled: the outcome is unknown then, and a pool of another making would report
/// success.
///
/// # Errors
/// [`Error::InvalidUrl`] if the text cannot be read, or asks for what cannot be had.
pub fn pool_for_url(url: &str) -> Result<Pool, Error> {
    let (rest, tls) = split_off_tls(url)?;
    let config = configured(&rest, tls.demand)?;
    let manager_config = ManagerConfig {
        // The pool must not send anything of its own when a connection comes back: behind a pooler
        // it would reach another client's session.
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = manager(config, &tls, manager_config)?;
    Pool::builder(manager)
        .max_size(POOL_SIZE)
        // The one that was used last: its server process has plans and pages at hand. By turns, all
        // that were ever opened would be kept as busy as the rest, and none of them warm.
        .queue_mode(QueueMode::Lifo)
        .build()
        .map_err(|error| Error::InvalidUrl {
            reason: error.to_string(),
        })
}

fn configured(rest: &str, demand: TlsDemand) -> Result<Config, Error> {
    // The driver's message names the faulty parameter, never its value.
    let mut config = Config::from_str(rest).map_err(|error| Error::InvalidUrl {
        reason: std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), ToString::to_string),
    })?;
    if config.get_hosts().is_empty() {
        return Err(Error::InvalidUrl {
            reason: "it names no host".to_owned(),
        });
    }
    config.ssl_mode(match demand {
        TlsDemand::Disable => SslMode::Disable,
        TlsDemand::Prefer => SslMode::Prefer,
        TlsDemand::Require | TlsDemand::VerifyCa | TlsDemand::VerifyFull => SslMode::Require,
    });
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(10));
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(30));
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(Duration::from_secs(30));
    }
    if config.get_application_name().is_none() {
        config.application_name("pgmutex");
    }
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any
    {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    Ok(config)
}

impl Way {
    /// Straight to the server of this URL.
    pub(crate) fn direct(url: &str) -> Result<Self, Error> {
        let (rest, tls) = split_off_tls(url)?;
        let config = configured(&rest, tls.demand)?;
        #[cfg(feature = "tls")]
        if tls.demand != TlsDemand::Disable {
            let tls = super::tls::connector(&tls)?;
            return Ok(Self::Direct(Arc::new(OpenWith { config, tls })));
        }
        refuse_tls_that_is_not_built_in(&tls)?;
        Ok(Self::Direct(Arc::new(OpenWith { config, tls: NoTls })))
    }
}

fn manager(
    config: Config,
    tls: &TlsParameters,
    manager_config: ManagerConfig,
) -> Result<Manager, Error> {
    #[cfg(feature = "tls")]
    if tls.demand != TlsDemand::Disable {
        let tls = super::tls::connector(tls)?;
        return Ok(Manager::from_connect(
            config,
            WatchedConnect { tls },
            manager_config,
        ));
    }
    refuse_tls_that_is_not_built_in(tls)?;
    Ok(Manager::from_connect(
        config,
        WatchedConnect { tls: NoTls },
        manager_config,
    ))
}

fn refuse_tls_that_is_not_built_in(tls: &TlsParameters) -> Result<(), Error> {
    if tls.demand > TlsDemand::Prefer {
        return Err(Error::InvalidUrl {
            reason:
                "its sslmode needs TLS, and this program was built without: enable the feature \
                     `tls` of the crate pgmutex"
                    .to_owned(),
        });
    }
    Ok(())
}
