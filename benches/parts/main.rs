//! What the parts that need no database cost: names, rules, owners, queries, and a call from the verb to
//! the backend and back, alone and with others.
//!
//! `cargo bench --features bench-parts --bench parts`

// The group's function has no use outside of this program.
#![allow(missing_docs)]

mod calls;
mod distant;
mod names;
mod owners;
mod queries;
mod rules;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = parts;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = names::all, rules::all, owners::all, queries::all, calls::all
}
criterion_main!(parts);
