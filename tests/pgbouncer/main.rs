//! The library behind PgBouncer in transaction mode: every transaction may run on another server
//! connection, and whatever stays on one is met by another client.
//!
//! Needs PgBouncer (Debian: `apt-get install pgbouncer`) beside the PostgreSQL binaries:
//! `cargo test --features test-pgbouncer --test pgbouncer`.

#[cfg(feature = "cli")]
mod bench;
#[path = "../it/conformance/mod.rs"]
mod conformance;
mod contention;
mod doctor;
mod guards;
mod migrations;
mod pooling;
mod prepared;
#[cfg(feature = "cli")]
#[path = "../cli/program.rs"]
mod program;
mod session_pools;
mod support;
mod transactions;
