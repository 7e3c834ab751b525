use serde::{Deserialize, Serialize};

/// What a hold of a tree's path locks beside the path itself. A plain mutex locks nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reach {
    /// Nobody may capture a path above it.
    pub parents: bool,
    /// Nobody may capture a path below it.
    pub children: bool,
}

impl Reach {
    /// Nothing above and nothing below: what a plain mutex has.
    pub const fn none() -> Self {
        Self {
            parents: false,
            children: false,
        }
    }

    /// All above and all below.
    pub const fn all() -> Self {
        Self {
            parents: true,
            children: true,
        }
    }
}
