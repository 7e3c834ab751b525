//! Numbers that nobody else has.

use std::hash::{BuildHasher, RandomState};

/// Bytes at random, from the operating system; should it have none, from the keys with which the
/// standard library seeds its hash maps.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        for (place, chunk) in bytes.chunks_mut(8).enumerate() {
            let word = RandomState::new().hash_one(place).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
    bytes
}
