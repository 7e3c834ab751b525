use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{Error, limits, path, text::Text};

/// The name of a mutex: group, mode and id, which together are its key.
///
/// *Group* is the application or area, *mode* the type of the object that is locked (not a lock
/// mode), *id* which object of that type. Two of the three may be empty. Names are compared byte by
/// byte: no case folding, no trimming, no Unicode normalisation. Cheap to clone: clones share the
/// text.
///
/// ```
/// # fn main() -> Result<(), pgmutex::Error> {
/// use pgmutex::MutexId;
///
/// let id = MutexId::new("orders", "edit", "42")?;
/// assert_eq!(id.to_string(), "orders/edit/42");
/// assert!(MutexId::new("", "", "").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "MutexIdParts")]
pub struct MutexId {
    group: Text,
    mode: Text,
    id: Text,
}

#[derive(Deserialize)]
struct MutexIdParts {
    #[serde(default)]
    group: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    id: String,
}

impl MutexId {
    /// Names a mutex.
    ///
    /// # Errors
    /// [`Error::InvalidId`] if all three parts are empty, if one contains NUL, or if one is too
    /// long: group and mode may have 400 bytes each, id 1,600. An id that begins and ends with a
    /// slash is a path of a [tree](crate::Mutexes::tree), and may have 100 levels.
    pub fn new(
        group: impl Into<String>,
        mode: impl Into<String>,
        id: impl Into<String>,
    ) -> Result<Self, Error> {
        let name = Self::from_row(&group.into(), &mode.into(), &id.into());
        if name.group.is_empty() && name.mode.is_empty() && name.id.is_empty() {
            return Err(Error::InvalidId {
                field: "mutex_id",
                reason: "is empty, and so are mutex_group and mutex_mode: name the mutex"
                    .to_owned(),
            });
        }
        for (field, value, most_bytes) in [
            ("mutex_group", &name.group, limits::MUTEX_GROUP),
            ("mutex_mode", &name.mode, limits::MUTEX_MODE),
            ("mutex_id", &name.id, limits::MUTEX_ID),
        ] {
            limits::check(field, value, most_bytes).map_err(Error::of_an_id)?;
        }
        if path::is_path(&name.id) && path::levels(&name.id) > path::MOST_LEVELS {
            return Err(Error::InvalidId {
                field: "mutex_id",
                reason: format!("is a path of more than {} levels", path::MOST_LEVELS),
            });
        }
        Ok(name)
    }

    /// A name read from the table, whose constraints have checked it.
    pub(crate) fn from_row(group: &str, mode: &str, id: &str) -> Self {
        Self {
            group: group.into(),
            mode: mode.into(),
            id: id.into(),
        }
    }

    /// Refuses names of which one is there twice.
    pub(crate) fn refuse_twice<'i>(ids: impl Iterator<Item = &'i Self>) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for id in ids {
            if !seen.insert(id) {
                return Err(Error::InvalidInput {
                    field: "ids",
                    reason: format!("names {id} twice"),
                });
            }
        }
        Ok(())
    }

    /// The application or area.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The type of the object that is locked.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Which object of that type.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl TryFrom<MutexIdParts> for MutexId {
    type Error = Error;

    fn try_from(parts: MutexIdParts) -> Result<Self, Error> {
        Self::new(parts.group, parts.mode, parts.id)
    }
}

/// For people: the parts joined by `/`, unescaped.
impl fmt::Display for MutexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.group, self.mode, self.id)
    }
}
