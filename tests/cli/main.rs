//! The program, as a process, against a real server.
//!
//! `cargo test --features cli,private-server --test cli`

mod audit;
mod bench;
mod connecting;
mod doctor;
mod exits;
mod forcing;
mod granting;
mod holding;
mod looking;
mod manual;
mod metrics_file;
mod migrating;
mod pipeline;
mod pools;
mod program;
mod readers;
#[cfg(unix)]
mod run;
mod running;
mod screen;
mod snapshot;
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the library's tests use all of it"
)]
#[path = "../it/support/mod.rs"]
mod support;
mod terminal;
mod time;
mod top;
mod waiting;
mod watching;
