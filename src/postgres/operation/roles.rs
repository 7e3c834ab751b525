use tokio_postgres::GenericClient;

use super::{super::Repository, Operation};
use crate::domain::{Error, GrantedRole, Role};

pub(in super::super) struct GrantRole<'a> {
    pub(in super::super) database_role: &'a str,
    pub(in super::super) role: Role,
}

impl Operation for GrantRole<'_> {
    type Output = ();
    const NAME: &'static str = "grant_role";

    /// Whoever has handed the schema over is not asked again.
    fn is_repeatable(&self) -> bool {
        self.role != Role::Owner
    }

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<(), Error> {
        repository
            .grant_role(client, self.database_role, self.role)
            .await
    }
}

pub(in super::super) struct RevokeRole<'a> {
    pub(in super::super) database_role: &'a str,
    pub(in super::super) role: Role,
}

impl Operation for RevokeRole<'_> {
    type Output = bool;
    const NAME: &'static str = "revoke_role";

    /// The second answer would be that there was nothing to take away.
    fn is_repeatable(&self) -> bool {
        false
    }

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<bool, Error> {
        repository
            .revoke_role(client, self.database_role, self.role)
            .await
    }
}

pub(in super::super) struct Roles;

impl Operation for Roles {
    type Output = Vec<GrantedRole>;
    const NAME: &'static str = "roles";

    async fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        _: bool,
    ) -> Result<Vec<GrantedRole>, Error> {
        repository.roles(client).await
    }
}
