//! What the tests share: databases, servers at ports of their own, and a plain client.

mod database;
#[path = "../../it/support/disposable.rs"]
mod disposable;
mod http;
mod serving;

pub(crate) use database::Database;
pub(crate) use http::{Answer, Client};
pub(crate) use serving::{Serving, eventually, eventually_some, path};
