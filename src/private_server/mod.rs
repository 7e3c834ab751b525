//! A private PostgreSQL for tests and examples, started from installed binaries.
//!
//! ```no_run
//! use pgmutex::private_server::PrivatePostgres;
//!
//! # fn main() -> Result<(), pgmutex::private_server::PrivateServerError> {
//! let mut server = PrivatePostgres::start()?;
//! println!("psql '{}'", server.url("postgres"));
//!
//! server.crash()?; // SIGKILL for all its processes
//! server.restart()?; // recovers; nothing that was committed is lost
//!
//! drop(server); // no process and no folder is left
//! # Ok(())
//! # }
//! ```
//!
//! PostgreSQL (13 or newer) has to be installed; nothing is downloaded, and a PostgreSQL that is
//! running already is not touched. The very first start runs `initdb`, which takes a second or two;
//! later ones copy its result, which is kept in `pgmutex-private-<uid>` in the folder for temporary
//! files, and take a fraction of a second.
//!
//! - The server listens on a Unix socket in a folder only its user can enter. Other users do not
//!   reach it, and it never gets in the way of another server's port.
//! - It goes with the program that started it, even when that one is killed: see `keeper.sh` among
//!   the sources. A server in a `static`, which is never dropped, goes a moment after the program.
//! - Root can start it. The server then runs as the user `postgres`, or `nobody`, because
//!   PostgreSQL refuses root.
//! - All calls block. In asynchronous code, make them where that does no harm: before the runtime,
//!   or in `spawn_blocking`.
//!
//! With [`PrivatePostgresBuilder::data_folder`] the data stays, and is served again by the next
//! start.

mod account;
mod binaries;
mod builder;
mod data_folder;
mod environment;
mod error;
mod folder;
mod keeper;
mod log;
mod process;
mod server;
mod template;
mod url;

pub use self::builder::PrivatePostgresBuilder;
pub use self::environment::database_url_or_private;
pub use self::error::PrivateServerError;
pub use self::server::PrivatePostgres;
