//! A Django application that uses m3-mutex as it is, beside programs that use this library.
//!
//! Needs Python 3.10 or later with its module venv (Debian: `apt-get install python3-venv`); the
//! packages come from PyPI: `cargo test --features test-django --test django`.

mod adopting;
mod alike;
mod contention;
mod history;
mod races;
mod support;
