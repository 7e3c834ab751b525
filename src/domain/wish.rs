use super::{Access, MutexId, Reach};

/// One mutex that somebody wants, and how: what the calls about several mutexes take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which mutex.
    pub id: MutexId,
    /// Alone, or shared.
    pub access: Access,
    /// For a path of a tree: what is locked beside it.
    pub reach: Reach,
}

impl Wish {
    /// A mutex to be had alone.
    pub fn new(id: MutexId) -> Self {
        Self {
            id,
            access: Access::Exclusive,
            reach: Reach::none(),
        }
    }
}

impl From<MutexId> for Wish {
    fn from(id: MutexId) -> Self {
        Self::new(id)
    }
}

impl From<&MutexId> for Wish {
    fn from(id: &MutexId) -> Self {
        Self::new(id.clone())
    }
}

/// The same mutex with another access: `(&id, Access::shared())`.
impl<W: Into<Wish>> From<(W, Access)> for Wish {
    fn from((wish, access): (W, Access)) -> Self {
        Self {
            access,
            ..wish.into()
        }
    }
}
