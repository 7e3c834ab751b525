use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{FencingToken, Mutex};

/// A capture that succeeded. Reads as the [`Mutex`] it gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Captured {
    /// The hold, as it is now.
    pub mutex: Mutex,
    /// How it came about.
    pub outcome: CaptureOutcome,
}

impl Captured {
    /// A capture, as a backend answers it.
    pub fn new(mutex: Mutex, outcome: CaptureOutcome) -> Self {
        Self { mutex, outcome }
    }

    /// The hold that was over and made way, if there was one.
    pub fn evicted(&self) -> Option<&Evicted> {
        match &self.outcome {
            CaptureOutcome::Evicted(evicted) => Some(evicted),
            _ => None,
        }
    }
}

impl Deref for Captured {
    type Target = Mutex;

    fn deref(&self) -> &Mutex {
        &self.mutex
    }
}

/// How a capture came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CaptureOutcome {
    /// The mutex was free.
    Captured,
    /// This owner already held it: its time has started again, and it keeps its fencing token.
    ///
    /// Also the answer where the connection broke in the middle of a capture that had in fact
    /// succeeded, and was repeated.
    Refreshed,
    /// It was captured; a hold whose rule was over made way. The earlier holder may not know yet.
    Evicted(Evicted),
}

/// A hold that was over and made way: perhaps an earlier one of the same owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evicted {
    /// Session id of its owner.
    pub session_id: String,
    /// Name of its owner.
    pub name: String,
    /// Its fencing token.
    pub fencing_token: FencingToken,
}

impl Evicted {
    /// The hold of this owner, as a backend names it.
    pub fn new(session_id: String, name: String, fencing_token: FencingToken) -> Self {
        Self {
            session_id,
            name,
            fencing_token,
        }
    }
}

/// What a release did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "mutex", rename_all = "snake_case")]
pub enum Released {
    /// The hold that was given back.
    Released(Box<Mutex>),
    /// There was nothing to give back: not captured, or the rule had already ended the hold.
    ///
    /// Also the answer where the connection broke in the middle of a release that had in fact
    /// succeeded, and was repeated.
    NotHeld,
}

impl Released {
    /// Whether a hold was given back.
    pub fn is_released(&self) -> bool {
        matches!(self, Self::Released(_))
    }
}

/// What a forced release did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "mutex", rename_all = "snake_case")]
pub enum ForceReleased {
    /// The hold that was taken away.
    Released(Box<Mutex>),
    /// Nobody held the mutex, or not the hold that was meant.
    NotHeld,
}
