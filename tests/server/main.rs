//! The HTTP server and the program that serves: over real connections where they matter.
//!
//! `cargo test --features cli,server,private-server --test server`

mod access;
mod crash;
mod foreign_pages;
mod gone_clients;
mod json_log;
mod limits;
mod locker;
mod malformed;
mod many_waiters;
mod operation;
mod pools;
mod program;
mod stopping;
mod support;
mod v1;
mod watching;
