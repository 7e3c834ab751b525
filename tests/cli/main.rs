//! The program, as a process, against a real server.
//!
//! `cargo test --features cli,private-server --test cli`

mod migrating;
mod program;
#[cfg(unix)]
mod run;
#[expect(
    dead_code,
    unused_imports,
    reason = "the library's tests use all of it"
)]
#[path = "../it/support/mod.rs"]
mod support;
