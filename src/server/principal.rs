use std::{fmt, str::FromStr};

/// What someone may do. Each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look: what is held, and who waits.
    Reader,
    /// Capture, refresh and release.
    Application,
    /// Take a mutex away from another, by force.
    Admin,
}

impl Role {
    /// The role's name, as it stands in a token list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Application => "application",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is none of the three names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of reader, application, admin")]
pub struct NoSuchRole;

impl FromStr for Role {
    type Err = NoSuchRole;

    fn from_str(name: &str) -> Result<Self, NoSuchRole> {
        [Self::Reader, Self::Application, Self::Admin]
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or(NoSuchRole)
    }
}

/// Who sends a request, and what they may do.
///
/// The server finds it out by the request's token. An application that has the router among its
/// own routes, and has found out by itself who its users are, puts one into the request's
/// extensions: it counts, whatever the token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: String,
    role: Role,
}

impl Principal {
    /// Someone of this name, who may do what the role says. Whoever has another name has other
    /// holds.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self {
            name: name.into(),
            role,
        }
    }

    /// Who asks where nobody has to say who they are.
    pub(super) fn anybody() -> Self {
        Self::new("anybody", Role::Admin)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What they may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether they may do what needs this role.
    pub fn may(&self, needed: Role) -> bool {
        self.role >= needed
    }
}
