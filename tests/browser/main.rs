//! The live page, in a real browser.
//!
//! Needs Chromium and its driver (Debian: `apt-get install chromium chromium-driver`) beside the
//! PostgreSQL binaries: `cargo test --features test-browser --test browser`.

mod connection;
mod force;
mod looks;
mod showing;
mod support;
mod tokens;
