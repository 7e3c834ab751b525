use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Error, limits, text::Text};

/// Who holds a mutex.
///
/// The *session id* is the identity: captures, refreshes and releases compare nothing else. User
/// id, login, name and host tell people whom they are waiting for. Cheap to clone: clones share the
/// text.
///
/// ```
/// # fn main() -> Result<(), pgmutex::Error> {
/// use pgmutex::MutexOwner;
///
/// let owner = MutexOwner::new("3f9c")?.with_name("Ada")?.with_user_id("7")?;
/// assert!(owner.is_same(&MutexOwner::new("3f9c")?));
/// assert!(!owner.is_same_user(&MutexOwner::new("3f9c")?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "MutexOwnerParts")]
pub struct MutexOwner {
    session_id: Text,
    user_id: Text,
    name: Text,
    login: Text,
    host: Text,
}

#[derive(Deserialize)]
struct MutexOwnerParts {
    session_id: String,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    login: String,
    #[serde(default)]
    host: String,
}

impl MutexOwner {
    /// An owner known by its session id alone.
    ///
    /// # Errors
    /// [`Error::InvalidOwner`] if the session id is empty, longer than 400 bytes or contains NUL.
    pub fn new(session_id: impl Into<String>) -> Result<Self, Error> {
        let session_id = session_id.into();
        if session_id.is_empty() {
            return Err(Error::InvalidOwner {
                field: "owner_session",
                reason: "is empty: it says who holds the mutex".to_owned(),
            });
        }
        limits::check("owner_session", &session_id, limits::OWNER_SESSION)
            .map_err(Error::of_an_owner)?;
        Ok(Self {
            session_id: session_id.into(),
            user_id: Text::default(),
            name: Text::default(),
            login: Text::default(),
            host: Text::default(),
        })
    }

    /// The owner for work that no user asked for: session and name `system`, user id `0`, host
    /// `server`.
    pub fn system() -> Self {
        Self {
            session_id: "system".into(),
            user_id: "0".into(),
            name: "system".into(),
            login: Text::default(),
            host: "server".into(),
        }
    }

    /// The owner where nobody said who is at work, as in a shell: session `console-session`, name
    /// `console-user`, user id `0`, host `127.0.0.1`.
    ///
    /// Every program that says nothing is this same owner, and so does not exclude the others.
    pub fn console() -> Self {
        Self {
            session_id: "console-session".into(),
            user_id: "0".into(),
            name: "console-user".into(),
            login: Text::default(),
            host: "127.0.0.1".into(),
        }
    }

    /// With the user's id.
    ///
    /// # Errors
    /// [`Error::InvalidOwner`] if it is longer than 400 bytes or contains NUL; so for the other
    /// setters ([`with_host`](Self::with_host): 1,600 bytes).
    pub fn with_user_id(mut self, user_id: impl Into<String>) -> Result<Self, Error> {
        self.user_id = Self::checked("owner_id", user_id.into(), limits::OWNER_TEXT)?;
        Ok(self)
    }

    /// With the name shown to people.
    ///
    /// # Errors
    /// As [`with_user_id`](Self::with_user_id).
    pub fn with_name(mut self, name: impl Into<String>) -> Result<Self, Error> {
        self.name = Self::checked("owner_name", name.into(), limits::OWNER_TEXT)?;
        Ok(self)
    }

    /// With the user's login.
    ///
    /// # Errors
    /// As [`with_user_id`](Self::with_user_id).
    pub fn with_login(mut self, login: impl Into<String>) -> Result<Self, Error> {
        self.login = Self::checked("owner_login", login.into(), limits::OWNER_TEXT)?;
        Ok(self)
    }

    /// With the host that the owner works from.
    ///
    /// # Errors
    /// As [`with_user_id`](Self::with_user_id), with 1,600 bytes.
    pub fn with_host(mut self, host: impl Into<String>) -> Result<Self, Error> {
        self.host = Self::checked("owner_host", host.into(), limits::OWNER_HOST)?;
        Ok(self)
    }

    fn checked(field: &'static str, value: String, most_bytes: usize) -> Result<Text, Error> {
        limits::check(field, &value, most_bytes).map_err(Error::of_an_owner)?;
        Ok(value.into())
    }

    /// An owner read from the table; another program may have left its session empty.
    pub(crate) fn from_row(
        session_id: &str,
        user_id: &str,
        name: &str,
        login: &str,
        host: &str,
    ) -> Self {
        Self {
            session_id: session_id.into(),
            user_id: user_id.into(),
            name: name.into(),
            login: login.into(),
            host: host.into(),
        }
    }

    /// The same person under a session id that nobody else has, which begins with this one's if
    /// there is room.
    pub(crate) fn set_apart(mut self, suffix: &str) -> Self {
        let together = self.session_id.len() + 1 + suffix.len();
        self.session_id = if together <= limits::OWNER_SESSION {
            format!("{}#{suffix}", self.session_id).into()
        } else {
            suffix.into()
        };
        self
    }

    /// The identity.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The user's id; empty if unknown.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The name shown to people; empty if unknown.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's login; empty if unknown.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// The host that the owner works from; empty if unknown.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The strict comparison, of sessions: whether the two are one owner. This is what captures and
    /// releases use.
    pub fn is_same(&self, other: &Self) -> bool {
        self.session_id == other.session_id
    }

    /// The soft comparison, which also looks at the person: whether session *and* user id are the
    /// same. A session that has changed hands (log out, log in) is the same owner but not the
    /// same user.
    pub fn is_same_user(&self, other: &Self) -> bool {
        self.is_same(other) && self.user_id == other.user_id
    }
}

impl TryFrom<MutexOwnerParts> for MutexOwner {
    type Error = Error;

    fn try_from(parts: MutexOwnerParts) -> Result<Self, Error> {
        Self::new(parts.session_id)?
            .with_user_id(parts.user_id)?
            .with_name(parts.name)?
            .with_login(parts.login)?
            .with_host(parts.host)
    }
}

/// For people: the name if there is one, and the session.
impl fmt::Display for MutexOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "session {}", self.session_id)
        } else {
            write!(f, "{} (session {})", self.name, self.session_id)
        }
    }
}
