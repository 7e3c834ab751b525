use std::str::FromStr;

use serde::{Serialize, de::DeserializeOwned};

use crate::server::secret;

/// Where a page of a list begins, as a text that means something to the server only.
#[derive(Debug)]
pub(super) struct Cursor<P>(pub(super) P);

#[derive(Debug, thiserror::Error)]
#[error("is not a text that an earlier page gave as `next`")]
pub(super) struct NoCursor;

impl<P: Serialize> Cursor<P> {
    /// `None` only if it cannot be written, which does not happen.
    pub(super) fn written(self) -> Option<String> {
        let text = serde_json::to_vec(&self.0).ok()?;
        Some(secret::hex(&text))
    }
}

impl<P: DeserializeOwned> FromStr for Cursor<P> {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let bytes = secret::bytes_of_hex(text).ok_or(NoCursor)?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|_| NoCursor)
    }
}
