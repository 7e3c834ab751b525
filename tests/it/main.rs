//! The tests that need nothing but PostgreSQL binaries: one program, against a real server.
//!
//! `DATABASE_URL` names a server to use (its role must be a superuser: some tests make roles);
//! otherwise each run starts a private one.

mod support;

mod audit;
mod bad_input;
mod coalescing;
mod conformance;
mod connection_rule;
mod costs;
mod crash;
mod custom_rules;
mod deadlocks;
mod doctor;
mod exclusion;
mod fencing;
mod foreign_rows;
mod growth;
mod guards;
mod histories;
mod interleavings;
mod isolation;
mod keep;
mod layers;
mod listing;
mod m3_mutex;
mod migrations;
mod one_clock;
mod owners;
mod pools;
mod prepared;
mod private_server;
mod refreshed_meanwhile;
mod roles;
mod schema;
mod semaphore_service;
mod several;
mod shared_access;
mod sql_api;
mod statistics;
mod tap;
mod tls_missing;
mod together;
mod tokens;
mod transactions;
mod trees;
mod unknown_outcomes;
mod waiting_line;
