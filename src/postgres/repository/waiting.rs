//! Calls about waiting, and about keeping what is held.

use std::time::Duration;

use tokio_postgres::{GenericClient, types::Type};

use super::{
    super::{lines::Look, row},
    Repository,
};
use crate::{
    backend::{HoldToKeep, NotKept},
    domain::{Error, FencingToken, MutexId, MutexOwner, Waiter, WaiterQuery},
};

impl Repository {
    /// Asks for the process that serves the session.
    pub(in super::super) const PROCESS_ID: &str = "select pg_backend_pid()";

    /// Calls `leave_line`, and says whether there was a place to leave.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn leave_line<C: GenericClient + Sync>(
        &self,
        client: &C,
        id: &MutexId,
        owner: &MutexOwner,
    ) -> Result<bool, Error> {
        let call = self.call(client, "leave_line", Some(id));
        let row = call
            .one_row(
                &self.statements.leave_line,
                &[
                    (&id.group(), Type::TEXT),
                    (&id.mode(), Type::TEXT),
                    (&id.id(), Type::TEXT),
                    (&owner.session_id(), Type::TEXT),
                ],
            )
            .await?;
        call.read(row.try_get(0))
    }

    /// Calls `list_waiting`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn list_waiting<C: GenericClient + Sync>(
        &self,
        client: &C,
        query: &WaiterQuery,
    ) -> Result<Vec<Waiter>, Error> {
        let page_size = query.page_size.map_or(-1, i64::from);
        let after = query.after.as_ref().map(|(id, _)| id);
        let after_ticket = query.after.as_ref().map(|(_, ticket)| *ticket);
        let call = self.call(client, "list_waiting", None);
        let rows = call
            .rows(
                &self.statements.list_waiting,
                &[
                    (&query.group, Type::TEXT),
                    (&query.mode, Type::TEXT),
                    (&query.mutex_id, Type::TEXT),
                    (&query.mutex_id_prefix, Type::TEXT),
                    (&query.session_id, Type::TEXT),
                    (&page_size, Type::INT8),
                    (&after.map(MutexId::group), Type::TEXT),
                    (&after.map(MutexId::mode), Type::TEXT),
                    (&after.map(MutexId::id), Type::TEXT),
                    (&after_ticket, Type::INT8),
                ],
            )
            .await?;
        rows.iter().map(|row| call.read(row::waiter(row))).collect()
    }

    /// Calls `keep`, and says which holds could not be kept.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn keep<C: GenericClient + Sync>(
        &self,
        client: &C,
        holds: &[HoldToKeep],
    ) -> Result<Vec<NotKept>, Error> {
        let each = |part: fn(&HoldToKeep) -> &str| holds.iter().map(part).collect::<Vec<&str>>();
        let groups = each(|hold| hold.id.group());
        let modes = each(|hold| hold.id.mode());
        let ids = each(|hold| hold.id.id());
        let tokens: Vec<i64> = holds.iter().map(|hold| hold.token.get()).collect();
        let call = self.call(client, "keep", None);
        let rows = call
            .rows(
                &self.statements.keep,
                &[
                    (&groups, Type::TEXT_ARRAY),
                    (&modes, Type::TEXT_ARRAY),
                    (&ids, Type::TEXT_ARRAY),
                    (&tokens, Type::INT8_ARRAY),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let outcome: &str = call.read(row.try_get(1))?;
                Ok(NotKept {
                    token: FencingToken::new(call.read(row.try_get(0))?),
                    is_lost: outcome == "not_held",
                })
            })
            .collect()
    }

    /// Calls `attach_session`, and gives the session's number.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub(in super::super) async fn attach_session<C: GenericClient + Sync>(
        &self,
        client: &C,
        listen: bool,
        instead_of: Option<i64>,
    ) -> Result<i64, Error> {
        let call = self.call(client, "attach_session", None);
        let row = call
            .one_row(
                &self.statements.attach_session,
                &[(&listen, Type::BOOL), (&instead_of, Type::INT8)],
            )
            .await?;
        call.read(row.try_get(0))
    }

    /// Calls `look_at_lines`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub(in super::super) async fn look_at_lines<C: GenericClient + Sync>(
        &self,
        client: &C,
        listener: i64,
        has_session: bool,
        tickets: Option<&[i64]>,
    ) -> Result<Vec<Look>, Error> {
        let call = self.call(client, "look_at_lines", None);
        let rows = call
            .rows(
                &self.statements.look_at_lines,
                &[
                    (&listener, Type::INT8),
                    (&has_session, Type::BOOL),
                    (&tickets, Type::INT8_ARRAY),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let seconds: Option<f64> = call.read(row.try_get(2))?;
                Ok(Look {
                    ticket: call.read(row.try_get(0))?,
                    is_my_turn: call.read(row.try_get(1))?,
                    // Over already: its row is locked at the moment. The next look will do.
                    look_again_in: seconds
                        .filter(|seconds| *seconds >= 0.0)
                        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
                })
            })
            .collect()
    }

    /// Asks which of the server's processes serves the session.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub(in super::super) async fn process_id<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<i32, Error> {
        let call = self.call(client, "process_id", None);
        let row = call.one_row(Self::PROCESS_ID, &[]).await?;
        call.read(row.try_get(0))
    }
}
