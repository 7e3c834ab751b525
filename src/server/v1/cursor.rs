use std::str::FromStr;

use crate::{domain::PagePosition, server::secret};

/// Where a page of a list begins, as a text that means something to the server only.
#[derive(Debug)]
pub(super) struct Cursor(pub(super) PagePosition);

#[derive(Debug, thiserror::Error)]
#[error("is not a text that an earlier page gave as `next`")]
pub(super) struct NoCursor;

impl Cursor {
    /// `None` only if it cannot be written, which does not happen.
    pub(super) fn written(position: &PagePosition) -> Option<String> {
        let text = serde_json::to_vec(position).ok()?;
        Some(secret::hex(&text))
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let bytes = secret::bytes_of_hex(text).ok_or(NoCursor)?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|_| NoCursor)
    }
}
