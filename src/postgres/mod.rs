//! Mutexes kept in PostgreSQL. The only place that speaks to the server.

mod audit;
mod backend;
mod call;
mod connect;
mod connection_string;
mod dedicated;
mod diagnose;
#[cfg(feature = "cli")]
mod environment;
#[cfg(feature = "cli")]
mod floors;
mod history;
mod hot;
mod in_words;
mod lines;
mod m3_mutex;
mod migrate;
mod operation;
mod own_session;
mod pooler;
mod preparing;
mod repository;
mod row;
mod schema_name;
mod sqlstate;
#[cfg(feature = "tls")]
mod tls;
mod transaction;
mod verbs;
mod waiting_room;
mod watched_connection;

pub use backend::{PostgresBackend, PostgresSettings};
pub use connect::pool_for_url;
pub use migrate::{MigrationReport, SchemaStatus, embedded_migrations, run_migrations};
pub use preparing::PreparedStatements;
pub use repository::Repository;
pub use schema_name::SchemaName;
pub use transaction::TransactionBackend;

pub(crate) use deadpool_postgres::Pool;
pub(crate) use dedicated::Way;
#[cfg(feature = "cli")]
pub(crate) use environment::connection_string;
#[cfg(feature = "cli")]
pub(crate) use floors::{FloorClient, Surroundings, Workbench, Written};
#[cfg(feature = "cli")]
pub(crate) use migrate::migration_script;
pub(crate) use migrate::{MigrationStep, migrations_up_to};
pub(crate) use tokio_postgres::Transaction;
