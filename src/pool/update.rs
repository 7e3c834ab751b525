use serde_json::{Map, Value};

use super::check::check_path;
use crate::domain::{Result, check_json};

/// Changes of a session's payload, by dotted paths: everything beside them stays.
///
/// ```
/// use pgmutex::SessionUpdate;
///
/// let update = SessionUpdate::new().set("session.phone", "+49…").unset("session.code");
/// # let _ = update;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionUpdate {
    pub(super) set: Map<String, Value>,
    pub(super) unset: Vec<String>,
}

impl SessionUpdate {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value at this path becomes this one; objects that are missing on the way are made.
    pub fn set(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set.insert(path.into(), value.into());
        self
    }

    /// There is no value at this path any more.
    pub fn unset(mut self, path: impl Into<String>) -> Self {
        self.unset.push(path.into());
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let paths = self.set.keys().chain(&self.unset);
        paths
            .map(String::as_str)
            .try_for_each(|path| check_path("payload", path))?;
        self.set
            .values()
            .try_for_each(|value| check_json("payload", value))
    }
}
