//! What the tests share: a server, an environment for Python, and processes of the application.

mod application;
mod database;
mod python;

pub(crate) use application::{Application, Clock, manage};
pub(crate) use database::{Database, connect};
