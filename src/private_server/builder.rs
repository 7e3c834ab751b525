//! What a private server should be like, and starting it.

use std::path::PathBuf;
use std::time::Duration;

use super::account::Account;
use super::binaries::Installation;
use super::data_folder::DataFolder;
use super::error::{PrivateServerError, Result};
use super::folder::PrivateFolder;
use super::keeper::{Household, Keeper};
use super::server::PrivatePostgres;
use super::template;

const DEFAULT_PORT: u16 = 5432;
/// Generous: a server that crashed with much to recover answers only when it is done.
const DEFAULT_START_LIMIT: Duration = Duration::from_mins(1);

/// Describes a private server; made by [`PrivatePostgres::builder`].
#[derive(Debug, Clone, Default)]
#[must_use = "it does nothing until `start` is called"]
pub struct PrivatePostgresBuilder {
    bin_dir: Option<PathBuf>,
    data_folder: Option<PathBuf>,
    settings: Vec<(String, String)>,
    durable: Option<bool>,
    start_limit: Option<Duration>,
}

impl PrivatePostgresBuilder {
    /// The folder of `initdb` and `postgres`.
    ///
    /// Without it, the environment variable `PG_BIN` names the folder; without that, the PATH is
    /// searched, then the folders that the usual packages install to, and there the newest
    /// version wins.
    pub fn bin_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.bin_dir = Some(folder.into());
        self
    }

    /// Keeps the data in this folder, which stays when the server goes.
    ///
    /// It is made and filled if it is missing or empty; otherwise the data in it is served. As
    /// root, the server runs as the owner of the folder; an empty folder of root's is given to
    /// the server's user.
    pub fn data_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_folder = Some(folder.into());
        self
    }

    /// Any setting of the server, as in `postgresql.conf`. The last one of a name counts.
    ///
    /// By default the server listens on its Unix socket only. `listen_addresses` and `port` change
    /// that, but mind that everyone who reaches the port can connect as the superuser, without
    /// a password.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Whether commits outlast a power cut (the setting `fsync`).
    ///
    /// By default that is so for a [data folder](Self::data_folder) that stays, and not otherwise.
    /// Killing the server loses no commit either way: what it wrote is with the operating
    /// system already.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = Some(durable);
        self
    }

    /// How long the server may take until it accepts connections, at every start. Default: one
    /// minute.
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.start_limit = Some(limit);
        self
    }

    /// Starts the server. It accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// Above all [`BinariesNotFound`](PrivateServerError::BinariesNotFound) when PostgreSQL is not
    /// installed, and [`NotStarted`](PrivateServerError::NotStarted), with the end of the
    /// server's log, when it does not like a setting.
    pub fn start(self) -> Result<PrivatePostgres> {
        let port = self.port()?;
        let account = Account::of_new_server()?;
        let installation = Installation::find(self.bin_dir.as_deref(), &account)?;
        let kept = match &self.data_folder {
            Some(folder) => Some(DataFolder::open(folder, &account, &installation)?),
            None => None,
        };
        let account = kept.as_ref().map_or(account, |kept| kept.account.clone());

        let folder = PrivateFolder::open(&account)?;
        let template = template::place(&folder, &installation);
        let household = Household {
            folder: &folder,
            bin_dir: &installation.bin_dir,
            kept_data: kept.as_ref().map(|kept| kept.path.as_path()),
            template: &template,
            server_arguments: &self.server_arguments(port),
        };
        let mut keeper = Keeper::start(&household, &account)?;

        let (data_dir, log) = match &kept {
            Some(kept) => (kept.path.clone(), kept.path.join("server.log")),
            None => (
                keeper.run_folder().join("data"),
                keeper.run_folder().join("server.log"),
            ),
        };
        match &kept {
            Some(kept) if kept.is_empty => {
                template::initdb(&data_dir, self.is_durable(), &mut keeper, &account)?
            }
            Some(_) => {}
            None => template::copy(&template, &data_dir, &folder, &mut keeper, &account)?,
        }
        let mut server = PrivatePostgres {
            installation,
            account,
            keeper,
            data_dir,
            log,
            port,
            start_limit: self.start_limit.unwrap_or(DEFAULT_START_LIMIT),
            process_id: 0,
            has_ended: true,
        };
        server.launch()?;
        Ok(server)
    }

    fn is_durable(&self) -> bool {
        self.durable.unwrap_or(self.data_folder.is_some())
    }

    /// The port, once it is known that the settings can be used. It names the socket, so it is
    /// needed here.
    fn port(&self) -> Result<u16> {
        let mut port = DEFAULT_PORT;
        for (name, value) in &self.settings {
            let unusable = |reason| PrivateServerError::Setting {
                name: name.clone(),
                reason,
            };
            match name.to_ascii_lowercase().as_str() {
                "port" => {
                    port = value
                        .parse()
                        .map_err(|_| unusable("a port is a number up to 65535"))?
                }
                "data_directory" => {
                    return Err(unusable(
                        "`data_folder` of the builder says where the data lies",
                    ));
                }
                "unix_socket_directories" => {
                    return Err(unusable(
                        "the socket lies in a folder that goes with the server",
                    ));
                }
                _ => {}
            }
        }
        Ok(port)
    }

    fn server_arguments(&self, port: u16) -> Vec<String> {
        let mut defaults = vec![("listen_addresses", String::new())];
        if !self.is_durable() {
            // Nothing else is turned off: a SIGKILL can cut the writing of a page in two, so
            // full_page_writes is needed, and synchronous_commit is what brings a
            // commit to the operating system.
            defaults.push(("fsync", "off".to_owned()));
        }
        if self.data_folder.is_none() {
            // Shared memory of queries lies in the data folder and goes with it, even when the
            // server is killed.
            defaults.push(("dynamic_shared_memory_type", "mmap".to_owned()));
        }
        let defaults = defaults
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"));
        let settings = self
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        // Of equal names, the last one counts.
        let all = defaults.chain(settings).chain([format!("port={port}")]);
        all.flat_map(|setting| ["-c".to_owned(), setting]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> PrivatePostgresBuilder {
        PrivatePostgres::builder().setting(name, value)
    }

    #[test]
    fn the_port_is_taken_from_the_settings() {
        assert_eq!(PrivatePostgres::builder().port().unwrap(), DEFAULT_PORT);
        assert_eq!(
            with("port", "1").setting("Port", "6000").port().unwrap(),
            6000
        );
        assert!(matches!(
            with("port", "x").port(),
            Err(PrivateServerError::Setting { .. })
        ));
        assert!(matches!(
            with("data_directory", "/").port(),
            Err(PrivateServerError::Setting { .. })
        ));
    }

    #[test]
    fn settings_come_after_the_defaults() {
        let arguments = with("listen_addresses", "127.0.0.1")
            .durable(true)
            .server_arguments(1)
            .join(" ");
        assert_eq!(
            arguments,
            "-c listen_addresses= -c dynamic_shared_memory_type=mmap -c \
             listen_addresses=127.0.0.1 -c port=1"
        );
        let kept = PrivatePostgres::builder().data_folder("/x");
        assert!(kept.is_durable() && !kept.clone().durable(false).is_durable());
        assert!(
            kept.durable(false)
                .server_arguments(1)
                .contains(&"fsync=off".to_owned())
        );
    }
}
