//! Calls about pools of sessions.

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{GenericClient, Row, types::Type};

use super::{
    super::{
        call::{Call, Parameter},
        row::{self, Outcome, SESSION_WIDTH},
    },
    Repository,
};
use crate::{
    backend::{
        CapturedAll, CheckedOut, CheckoutRequest, PoolAnswer, PoolCall, PoolRequest, Ticket,
    },
    domain::{
        Error, FencingToken, PoolIndex, PoolStatistics, PooledSession, Result, SessionFilter,
    },
};

impl Repository {
    /// Calls the function that a request about a pool names.
    pub(in super::super) async fn pool<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &PoolRequest,
    ) -> Result<PoolAnswer> {
        let at = Pool {
            call: self.call(client, name(&request.call), None),
            repository: self,
            collection: request.collection.as_deref(),
        };
        let text = |value: &SessionFilter| json(value);
        match &request.call {
            PoolCall::GetSession {
                count_use,
                next_use_delay,
                request_id,
                filter,
            } => {
                let filter = text(filter)?;
                at.session(
                    "pool_get_session($1, $2, make_interval(secs => $3), $4, $5::jsonb)",
                    &[
                        (&count(*count_use), Type::INT8),
                        (next_use_delay, Type::FLOAT8),
                        (request_id, Type::TEXT),
                        (&filter, Type::TEXT),
                    ],
                )
                .await
            }
            PoolCall::Success {
                id,
                count: successes,
                next_use_delay,
                token,
            } => {
                at.session(
                    "pool_success($1, $2, $3, make_interval(secs => $4), $5)",
                    &[
                        (id, Type::INT8),
                        (&count(*successes), Type::INT8),
                        (next_use_delay, Type::FLOAT8),
                        (&token.map(FencingToken::get), Type::INT8),
                    ],
                )
                .await
            }
            PoolCall::Lock { id, period, token } => {
                let token = token.map(FencingToken::get);
                at.locked("pool_lock", id, period, token).await
            }
            PoolCall::Block { id, period, token } => {
                let token = token.map(FencingToken::get);
                at.locked("pool_block", id, period, token).await
            }
            PoolCall::Inactive(id) => at.about("pool_inactive($1, $2)", id).await,
            PoolCall::Activate(id) => at.about("pool_activate($1, $2)", id).await,
            PoolCall::Delete(id) => at.about("pool_delete($1, $2)", id).await,
            PoolCall::Get(id) => at.about("pool_get($1, $2)", id).await,
            PoolCall::Add(payload) => {
                let payload = json(payload)?;
                at.session("pool_add($1, $2::jsonb)", &[(&payload, Type::TEXT)])
                    .await
            }
            PoolCall::Update { id, set, unset } => {
                let set = json(set)?;
                at.session(
                    "pool_update($1, $2, $3::jsonb, $4)",
                    &[
                        (id, Type::INT8),
                        (&set, Type::TEXT),
                        (unset, Type::TEXT_ARRAY),
                    ],
                )
                .await
            }
            PoolCall::FindOneAndUpdate { filter, set, unset } => {
                let (filter, set) = (text(filter)?, json(set)?);
                at.session(
                    "pool_find_one_and_update($1, $2::jsonb, $3::jsonb, $4)",
                    &[
                        (&filter, Type::TEXT),
                        (&set, Type::TEXT),
                        (unset, Type::TEXT_ARRAY),
                    ],
                )
                .await
            }
            PoolCall::DeleteOne(filter) => {
                let filter = text(filter)?;
                at.session("pool_delete_one($1, $2::jsonb)", &[(&filter, Type::TEXT)])
                    .await
            }
            PoolCall::Find {
                filter,
                projection,
                page_size,
                after,
            } => {
                let filter = text(filter)?;
                let page_size = page_size.map_or(-1, i64::from);
                let rows = at
                    .rows(
                        &at.of_sessions("pool_find($1, $2::jsonb, $3, $4, $5)"),
                        &[
                            (&filter, Type::TEXT),
                            (projection, Type::TEXT_ARRAY),
                            (&page_size, Type::INT8),
                            (after, Type::INT8),
                        ],
                    )
                    .await?;
                let sessions = rows.iter().map(|row| at.read_session(row, 0));
                let sessions = sessions.collect::<Result<Vec<_>>>()?;
                Ok(PoolAnswer::Sessions(
                    sessions.into_iter().flatten().collect(),
                ))
            }
            PoolCall::Count(filter) => at.number("pool_count($1, $2::jsonb)", filter).await,
            PoolCall::CountActive(filter) => {
                at.number("pool_count_active($1, $2::jsonb)", filter).await
            }
            PoolCall::CreateIndex(path) => {
                let row = at
                    .row("pool_create_index($1, $2)", &[(path, Type::TEXT)])
                    .await?;
                Ok(PoolAnswer::Text(at.call.read(row.try_get(0))?))
            }
            PoolCall::DropIndex(path) => {
                let row = at
                    .row("pool_drop_index($1, $2)", &[(path, Type::TEXT)])
                    .await?;
                Ok(PoolAnswer::Flag(at.call.read(row.try_get(0))?))
            }
            PoolCall::ListIndexes => {
                let schema = self.schema().quoted();
                let statement = format!("select name, path from {schema}.pool_list_indexes($1)");
                let rows = at.rows(&statement, &[]).await?;
                let index = |row: &Row| {
                    Ok(PoolIndex {
                        name: at.call.read(row.try_get(0))?,
                        path: at.call.read(row.try_get(1))?,
                    })
                };
                Ok(PoolAnswer::Indexes(
                    rows.iter().map(index).collect::<Result<_>>()?,
                ))
            }
            PoolCall::Statistics => {
                let schema = self.schema().quoted();
                let statement = format!(
                    "select collection, total, active, inactive, ready, in_use, locked, blocked, uses, successes, success_rate \
                     from {schema}.pool_statistics($1)"
                );
                let rows = at.rows(&statement, &[]).await?;
                let statistics = rows.iter().map(|row| at.call.read(statistics(row)));
                Ok(PoolAnswer::Statistics(statistics.collect::<Result<_>>()?))
            }
        }
    }

    /// Calls `pool_checkout`, for a listener if the asker wants to wait.
    pub(in super::super) async fn pool_checkout<C: GenericClient + Sync>(
        &self,
        client: &C,
        request: &CheckoutRequest,
        listener: Option<i64>,
    ) -> Result<CheckedOut> {
        let lease = &request.lease;
        let (rule, config) = lease.auto_release.clone().unwrap_or_default().dump();
        let while_holding = request.while_holding.iter().map(|token| token.get());
        let while_holding: Vec<i64> = while_holding.collect();
        let filter = json(&request.filter)?;
        let owner = &lease.owner;
        let call = self.call(client, "checkout", Some(&lease.id));
        let row = call
            .one_row(
                &self.statements.pool_checkout,
                &[
                    (&request.collection, Type::TEXT),
                    (&owner.session_id(), Type::TEXT),
                    (&owner.host(), Type::TEXT),
                    (&owner.user_id(), Type::TEXT),
                    (&owner.login(), Type::TEXT),
                    (&owner.name(), Type::TEXT),
                    (&rule, Type::TEXT),
                    (&config, Type::TEXT),
                    (&lease.status_data, Type::TEXT),
                    (&count(request.count_use), Type::INT8),
                    (&request.next_use_delay, Type::FLOAT8),
                    (&filter, Type::TEXT),
                    (&request.wait, Type::BOOL),
                    (&listener, Type::INT8),
                    (&while_holding, Type::INT8_ARRAY),
                ],
            )
            .await?;
        let at = Pool {
            call,
            repository: self,
            collection: Some(&request.collection),
        };
        let session = at.read_session(&row, Outcome::WIDTH)?;
        let word: String = at.call.read(row.try_get(0))?;
        if word == "none" {
            return Ok(None);
        }
        if word == "queued" {
            let number: i64 = at.call.read(row.try_get(Outcome::TICKET))?;
            let observed_at = at.call.read(row::time(&row, Outcome::OBSERVED_AT))?;
            let ticket = Ticket {
                number,
                holder: Box::new(crate::domain::Mutex::new(
                    lease.id.clone(),
                    lease.owner.clone(),
                    crate::domain::AutoRelease::Never,
                    FencingToken::new(0),
                    observed_at,
                )),
                observed_at,
            };
            return Ok(Some((CapturedAll::Queued(ticket), None)));
        }
        let captured = at.call.captured(at.call.read(Outcome::read(row))?)?;
        Ok(Some((CapturedAll::Captured(vec![captured]), session)))
    }

    /// The statement of a checkout: the lease's columns, then the session's.
    pub(super) fn checkout_statement(schema: &str) -> String {
        let lease = Outcome::columns();
        let lease: Vec<String> = lease
            .split(", ")
            .map(|column| format!("(c.lease).{}", column.trim()))
            .collect();
        let session: Vec<String> = row::SESSION_COLUMNS
            .iter()
            .map(|column| format!("(c.session).{column}"))
            .collect();
        format!(
            "select {}, {} from {schema}.pool_checkout($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, make_interval(secs => $11), \
             $12::jsonb, $13, $14, $15) c",
            lease.join(", "),
            session.join(", ")
        )
    }
}

/// A call about one pool.
struct Pool<'a, C> {
    call: Call<'a, C>,
    repository: &'a Repository,
    collection: Option<&'a str>,
}

impl<C: GenericClient + Sync> Pool<'_, C> {
    fn of_sessions(&self, function: &str) -> String {
        let schema = self.repository.schema().quoted();
        format!(
            "select {} from {schema}.{function}",
            row::SESSION_COLUMNS.join(", ")
        )
    }

    async fn rows(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        let mut all: Vec<Parameter<'_>> = vec![(&self.collection, Type::TEXT)];
        all.extend(parameters.iter().cloned());
        self.call.rows(statement, &all).await
    }

    async fn row(&self, function: &str, parameters: &[Parameter<'_>]) -> Result<Row> {
        let schema = self.repository.schema().quoted();
        let statement = format!("select {schema}.{function}");
        let mut rows = self.rows(&statement, parameters).await?;
        let row = rows.pop();
        row.ok_or_else(|| self.call.senseless("no row".to_owned()))
    }

    async fn session(&self, function: &str, parameters: &[Parameter<'_>]) -> Result<PoolAnswer> {
        let rows = self.rows(&self.of_sessions(function), parameters).await?;
        let row = rows
            .first()
            .ok_or_else(|| self.call.senseless("no row".to_owned()))?;
        let word: &str = self.call.read(row.try_get(0))?;
        Ok(PoolAnswer::Session(match word {
            "none" | "not_found" => None,
            _ => self.read_session(row, 0)?.map(Box::new),
        }))
    }

    async fn about(&self, function: &str, id: &i64) -> Result<PoolAnswer> {
        self.session(function, &[(id, Type::INT8)]).await
    }

    async fn locked(
        &self,
        function: &str,
        id: &i64,
        period: &f64,
        token: Option<i64>,
    ) -> Result<PoolAnswer> {
        let call = format!("{function}($1, $2, make_interval(secs => $3), $4)");
        let parameters: [Parameter<'_>; 3] = [
            (id, Type::INT8),
            (period, Type::FLOAT8),
            (&token, Type::INT8),
        ];
        self.session(&call, &parameters).await
    }

    async fn number(&self, function: &str, filter: &SessionFilter) -> Result<PoolAnswer> {
        let filter = json(filter)?;
        let row = self.row(function, &[(&filter, Type::TEXT)]).await?;
        let number: i64 = self.call.read(row.try_get(0))?;
        Ok(PoolAnswer::Number(u64::try_from(number).unwrap_or(0)))
    }

    /// The session whose columns begin there, after the word; `None` if the row has none.
    fn read_session(&self, row: &Row, from: usize) -> Result<Option<PooledSession>> {
        debug_assert!(from + SESSION_WIDTH <= row.len());
        let session = self.call.read(row::session(row, from))?;
        session
            .map(|(session, payload)| {
                session.with_payload(|()| {
                    serde_json::from_str::<Value>(&payload)
                        .map_err(|error| self.call.senseless(error.to_string()))
                })
            })
            .transpose()
    }
}

fn statistics(row: &Row) -> Result<PoolStatistics, row::Unreadable> {
    let count = |column: usize| -> Result<u64, row::Unreadable> {
        let number: Option<i64> = row.try_get(column)?;
        Ok(u64::try_from(number.unwrap_or(0)).unwrap_or(0))
    };
    Ok(PoolStatistics {
        collection: row.try_get(0)?,
        total: count(1)?,
        active: count(2)?,
        inactive: count(3)?,
        ready: count(4)?,
        in_use: count(5)?,
        locked: count(6)?,
        blocked: count(7)?,
        uses: count(8)?,
        successes: count(9)?,
        success_rate: row.try_get(10)?,
    })
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::InvalidInput {
        field: "payload",
        reason: format!("is not JSON: {error}"),
    })
}

/// The name of a call, for errors and logs.
pub(in super::super) fn name(call: &PoolCall) -> &'static str {
    match call {
        PoolCall::GetSession { .. } => "get_session",
        PoolCall::Success { .. } => "session_success",
        PoolCall::Lock { .. } => "session_lock",
        PoolCall::Block { .. } => "session_block",
        PoolCall::Inactive(_) => "session_inactive",
        PoolCall::Activate(_) => "session_activate",
        PoolCall::Add(_) => "add",
        PoolCall::Update { .. } => "session_update",
        PoolCall::Delete(_) | PoolCall::DeleteOne(_) => "session_delete",
        PoolCall::Get(_) | PoolCall::Find { .. } => "find",
        PoolCall::Count(_) | PoolCall::CountActive(_) => "count",
        PoolCall::FindOneAndUpdate { .. } => "find_one_and_update",
        PoolCall::CreateIndex(_) => "create_index",
        PoolCall::ListIndexes => "index_information",
        PoolCall::DropIndex(_) => "drop_index",
        PoolCall::Statistics => "aggregate_statistics",
    }
}
