//! `pgmutex bench` beside private servers of Redis and etcd.
//!
//! Needs both (Debian: `apt-get install redis-server etcd-server`) beside the PostgreSQL binaries:
//! `cargo test --features test-peers --lib --test peers`. What the peers do call by call is tested
//! where they are written, in `src/cli/bench`.

mod comparing;
#[path = "../cli/program.rs"]
mod program;
mod raw;
mod support;
