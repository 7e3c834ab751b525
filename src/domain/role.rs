use std::{fmt, str::FromStr};

use super::Error;

/// What a database role may do with the objects of the schema. Each may do what the ones before it
/// may.
///
/// The tokens of the HTTP server have roles of the same names, and mean the same by them; but the
/// server itself needs a database role that may do all that it does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Read the views, without secrets: no owner sessions, no status data, no payloads. That is for
    /// SQL; the library itself asks functions, and needs more.
    Reader,
    /// Call the functions that use locks and pools, and read everything.
    Application,
    /// Beside that, look after the locks of others: take them away by force, raise the generation
    /// of tokens, make and drop the indexes of pools.
    Admin,
    /// Own the schema: migrate it, and grant roles.
    Owner,
}

impl Role {
    /// The role's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Application => "application",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Reader, Self::Application, Self::Admin, Self::Owner]
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| Error::InvalidInput {
                field: "role",
                reason: format!("is {name:?}: it is one of owner, admin, application, reader"),
            })
    }
}

/// A database role that has one of the roles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GrantedRole {
    /// Name of the database role, as the server has it: without quotes.
    pub database_role: String,
    /// What it was given.
    pub role: Role,
}

impl GrantedRole {
    pub(crate) fn from_row(database_role: String, role: Role) -> Self {
        Self {
            database_role,
            role,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        for role in [Role::Reader, Role::Application, Role::Admin, Role::Owner] {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        for wrong in ["", "Owner", "superuser", "reader "] {
            let error = wrong.parse::<Role>().unwrap_err();
            assert!(error.to_string().contains("one of owner, admin"), "{error}");
        }
    }
}
