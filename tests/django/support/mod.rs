//! What the tests share: a server, an environment for Python, and processes of the application.

mod application;
mod database;
#[expect(dead_code, reason = "nothing is copied here")]
#[path = "../../it/support/disposable.rs"]
mod disposable;
mod python;

pub(crate) use application::{Application, Clock, manage};
pub(crate) use database::Database;
pub(crate) use disposable::connect;
