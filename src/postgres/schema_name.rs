use std::{fmt, str::FromStr};

use crate::domain::Error;

/// The name of the schema that everything of this library lives in: `pgmutex` unless another is
/// chosen.
///
/// Any name that PostgreSQL takes, of 1 to 63 bytes; it is always quoted, so upper case and spaces
/// mean themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SchemaName(String);

impl SchemaName {
    /// A schema's name.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if it is empty, longer than 63 bytes, contains NUL or begins with
    /// `pg_` (PostgreSQL keeps those for itself).
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let problem = if name.is_empty() {
            "is empty"
        } else if name.len() > 63 {
            "is longer than 63 bytes, the most that PostgreSQL keeps of a name"
        } else if name.contains('\0') {
            "contains the character NUL, which PostgreSQL cannot store"
        } else if name.starts_with("pg_") {
            "begins with pg_, which PostgreSQL keeps for itself"
        } else {
            return Ok(Self(name));
        };
        Err(Error::InvalidInput {
            field: "schema",
            reason: problem.to_owned(),
        })
    }

    /// The name as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as an SQL identifier.
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self("pgmutex".to_owned())
    }
}

impl FromStr for SchemaName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
