//! Concurrent calls of one process that travel together: one round trip and one commit for many.

mod backend;
mod lane;
mod shared_failure;
mod standing;
#[cfg(test)]
mod tests;

pub use backend::Coalescing;
