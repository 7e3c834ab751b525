//! Locks over HTTP: for programs in any language, and for people who look.
//!
//! [`router`] makes an axum router of [`Mutexes`](crate::Mutexes), to be mounted in an application;
//! [`Server`] has the settings, and serves by itself, with bounds on what clients may do, TLS and an
//! orderly end.
//!
//! ```no_run
//! # async fn example(mutexes: pgmutex::Mutexes) -> Result<(), pgmutex::server::ServeError> {
//! use pgmutex::server::{Server, stop_signal};
//!
//! let server = Server::new(mutexes).bind(([127, 0, 0, 1], 8765).into()).await?;
//! println!("http://{}", server.address());
//! server.run(stop_signal()).await;
//! # Ok(())
//! # }
//! ```

mod admission;
mod answer;
mod app;
mod authorize;
mod body;
mod builder;
mod collected;
mod errands;
mod failure;
mod foreign_page;
mod health;
mod listener;
mod locker;
mod openapi;
mod page;
mod parameters;
mod parcel;
mod patience;
mod principal;
mod problem;
mod routes;
mod seconds;
mod secret;
mod settings;
mod stop;
mod tls;
mod token_list;
mod v1;

pub use builder::Server;
pub use listener::{Listening, ServeError};
pub use principal::{NoSuchRole, Principal, Role};
pub use secret::Secret;
pub use settings::Limits;
pub use stop::stop_signal;
pub use tls::TlsError;
pub use token_list::{TokenList, TokenListError};

/// A router with the default settings, to be mounted in an application's: everyone whom the
/// application lets through may do everything, force included. [`Server::router`] has settings; where
/// nobody has to log in, [`Server::allow_host`] is one that matters: the router cannot know by which
/// names it is reached, and a foreign page may have its own name resolve to this machine.
pub fn router(mutexes: crate::mutexes::Mutexes) -> axum::Router {
    Server::new(mutexes).router()
}
