//! Paths of trees: who is in whose way, who waits for whom, and what makes way.

mod by_model;
mod first;
mod model;
