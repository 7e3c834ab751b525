use std::fmt;

use serde::{Deserialize, Serialize};

/// A number that is larger for each later capture of a mutex; a refresh keeps it.
///
/// A resource that refuses a smaller token than the largest it has seen is safe from a holder that
/// slept through the end of its hold. The upper bits are a generation, which rises at each failover
/// of the database; the lower 40 a sequence number. Only the order means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(i64);

impl FencingToken {
    /// A token known as a number, as from SQL.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The token as a number, as in the column `fencing_token`.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
