use serde::{Deserialize, Serialize};

use super::Error;

/// Whether a holder wants a mutex for itself or shares it.
///
/// A mutex, a read/write lock and a counting semaphore are one thing with three uses: writers ask
/// for exclusive access, readers share without limit, and those who want one permit of several
/// share with a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nobody else may hold the mutex.
    #[default]
    Exclusive,
    /// Others may hold it too, if they share.
    Shared {
        /// How many may hold it at most, this one included; `None`: any number.
        ///
        /// Holders should say the same number. If they do not, the smallest that one of the holders
        /// or the asker says counts; a hold keeps the number with which it was captured, also when
        /// its owner captures again and says another.
        permits: Option<u32>,
    },
}

impl Access {
    /// One permit of several.
    pub fn permit_of(permits: u32) -> Self {
        Self::Shared {
            permits: Some(permits),
        }
    }

    /// Together with everyone else who shares.
    pub fn shared() -> Self {
        Self::Shared { permits: None }
    }

    /// Whether the mutex may be shared.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// The limit, if there is one.
    pub fn permits(&self) -> Option<u32> {
        match self {
            Self::Shared { permits } => *permits,
            Self::Exclusive => None,
        }
    }

    /// The access of a hold with this permit and this limit, as they stand in its row.
    pub(crate) fn of_hold(permit: u32, permits: Option<u32>) -> Self {
        match permit {
            0 => Self::Exclusive,
            _ => Self::Shared { permits },
        }
    }

    /// Refuses a limit that nobody could keep, in the words of the SQL functions.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Shared {
                permits: Some(permits),
            } if !(1..=i32::MAX.unsigned_abs()).contains(permits) => Err(Error::InvalidInput {
                field: "permits",
                reason: "must be 1 or more, or null for any number".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}
