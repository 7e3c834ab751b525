use super::Mutexes;
use crate::domain::{GrantedRole, Result, Role};

/// Who may do what in the database. Only the owner of the schema may ask for any of this.
impl Mutexes {
    /// Gives a database role, which must be there already, one of the [roles](Role), instead of the
    /// one that it had. Granting it again is harmless.
    ///
    /// [`Role::Owner`] hands the schema and what is in it over: from then on only that database role
    /// migrates and grants. Whoever hands over must be a member of the new owner, and be allowed to
    /// create schemas in the database.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if there is no such database role, or it owns the schema;
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied) for anybody but the owner, and if a right to hand over is
    /// missing, with what to do about it; [`Error::Unavailable`](crate::Error::Unavailable) also if there is no PostgreSQL
    /// behind these mutexes. [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown): [`roles`](Self::roles) tells.
    pub async fn grant_role(&self, database_role: &str, role: Role) -> Result<()> {
        self.postgres()?.grant_role(database_role, role).await
    }

    /// Takes a role away from a database role, with all its privileges, and says whether it had it.
    /// The role of the owner cannot be taken away, only be granted to another.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if there is no such database role, or it has another role; otherwise as
    /// [`grant_role`](Self::grant_role).
    pub async fn revoke_role(&self, database_role: &str, role: Role) -> Result<bool> {
        self.postgres()?.revoke_role(database_role, role).await
    }

    /// Which database roles have which role, ordered by name.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied) for anybody but the owner; [`Error::Unavailable`](crate::Error::Unavailable) and the like.
    ///
    /// Cancel safe.
    pub async fn roles(&self) -> Result<Vec<GrantedRole>> {
        self.postgres()?.roles().await
    }
}
