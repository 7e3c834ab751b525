//! What the roles of the schema may do in the database, and what they may not.

mod allowed;
mod blocking;
mod forbidden;
mod granting;
mod owning;
mod secrets;

use pgmutex::{Mutexes, Role};

use crate::support::{Database, Session, session_at};

/// A database role that has one of the roles.
struct Login {
    role: Role,
    name: String,
    url: String,
}

impl Login {
    async fn new(database: &Database, role: Role) -> Self {
        let (name, url) = database.role_called(role.name(), "").await;
        let owner = database.mutexes().await;
        owner.grant_role(&name, role).await.unwrap();
        Self { role, name, url }
    }

    /// One for each of the roles that are granted to others.
    async fn all(database: &Database) -> [Self; 3] {
        [
            Self::new(database, Role::Reader).await,
            Self::new(database, Role::Application).await,
            Self::new(database, Role::Admin).await,
        ]
    }

    async fn session(&self) -> Session {
        session_at(&self.url).await
    }

    async fn mutexes(&self) -> Mutexes {
        Mutexes::connect(&self.url).await.unwrap()
    }
}

/// The SQLSTATE with which a statement is refused; `None` if it is not.
async fn refusal(session: &Session, statement: &str) -> Option<String> {
    let error = session.try_run(statement).await.err()?;
    let answer = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{statement}: {error:?}"));
    Some(answer.code().code().to_owned())
}

/// Refused for want of a privilege.
const DENIED: &str = "42501";
