//! What is refused before anything is sent, and what answers must be.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    backend::PoolAnswer,
    domain::{Error, Result, SessionFilter, check_json},
};

/// What a payload is for this program.
pub(super) fn read_payload<T: DeserializeOwned>(payload: Value) -> Result<T> {
    serde_json::from_value(payload).map_err(|error| Error::InvalidInput {
        field: "payload",
        reason: format!("of a session in the pool cannot be read as this type: {error}"),
    })
}

pub(super) fn senseless(answer: &PoolAnswer) -> Error {
    Error::Protocol {
        operation: "a call about a pool",
        reason: format!("{answer:?}"),
    }
}

pub(super) fn check_collection(collection: &str) -> Result<()> {
    let reason = match collection {
        "" => "is empty: it names the pool".to_owned(),
        name if name.len() > 400 => {
            format!("is {} bytes long, at most 400 are allowed", name.len())
        }
        name if name.contains('\0') => {
            "contains the character NUL, which PostgreSQL cannot store".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Error::InvalidInput {
        field: "collection",
        reason,
    })
}

pub(super) fn check_path(field: &'static str, path: &str) -> Result<()> {
    if path.split('.').any(str::is_empty) || path.contains('\0') {
        return Err(Error::InvalidInput {
            field,
            reason: format!("{path:?} is no path: it is made of names with dots between them"),
        });
    }
    Ok(())
}

pub(super) fn check_filter(filter: &SessionFilter) -> Result<()> {
    filter
        .paths()
        .try_for_each(|path| check_path("filter", path))?;
    filter
        .values()
        .try_for_each(|value| check_json("filter", value))
}
