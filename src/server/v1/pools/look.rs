use std::str::FromStr;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{answer, cursor::Cursor, list},
    pool,
    session::Session,
};
use crate::{
    domain::{PoolStatistics, SessionFilter},
    server::{
        app::SharedApp,
        openapi::ProblemDetails,
        parameters::{Parameters, invalid},
        problem::Problem,
    },
};

/// How a pool stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Totals {
    /// Which pool.
    pub(in crate::server) collection: String,
    /// All its sessions.
    total: u64,
    /// Those that may be used, now or later.
    active: u64,
    /// Those that may not.
    inactive: u64,
    /// Those that could be taken now.
    ready: u64,
    /// Those that are leased; a lease that is over counts until somebody has noticed.
    in_use: u64,
    /// Those that are not to be used before some time, other than the blocked ones.
    locked: u64,
    /// Those that were blocked.
    blocked: u64,
    /// Uses of all its sessions.
    uses: u64,
    /// Successes of all its sessions.
    successes: u64,
    /// Successes for each use; null as long as there was none.
    success_rate: Option<f64>,
}

impl From<PoolStatistics> for Totals {
    fn from(statistics: PoolStatistics) -> Self {
        Self {
            collection: statistics.collection,
            total: statistics.total,
            active: statistics.active,
            inactive: statistics.inactive,
            ready: statistics.ready,
            in_use: statistics.in_use,
            locked: statistics.locked,
            blocked: statistics.blocked,
            uses: statistics.uses,
            successes: statistics.successes,
            success_rate: statistics.success_rate,
        }
    }
}

/// How the pools stand.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Pools {
    pools: Vec<Totals>,
}

/// Some of the sessions that fit, in the order of their numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Sessions {
    sessions: Vec<Session>,
    /// For the parameter `after`: where the next page begins; null at the end.
    next: Option<String>,
}

/// A filter, as JSON in a query.
struct FilterText(SessionFilter);

impl FromStr for FilterText {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text).map(Self)
    }
}

/// How one pool stands, or all. It reads every session of theirs: not for each second.
#[utoipa::path(get, path = "/v1/pools/statistics", tag = "pools",
    params(("collection" = Option<String>, Query, description = "Only this pool")),
    responses(
        (status = 200, description = "Totals", body = Pools),
        (status = 400, description = "It cannot be read", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn statistics(
    State(app): State<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(&query.unwrap_or_default())?;
    let collection = parameters.take("collection")?;
    parameters.done()?;
    let pools = match collection {
        Some(collection) => vec![pool(&app, collection).aggregate_statistics().await?],
        None => pool(&app, String::new()).statistics_of_all().await?,
    };
    answer(&Pools {
        pools: pools.into_iter().map(Totals::from).collect(),
    })
}

/// Lists the sessions of a pool, with their payloads.
#[utoipa::path(get, path = "/v1/pools/sessions", tag = "pools",
    params(
        ("collection" = String, Query, description = "The pool"),
        ("filter" = Option<String>, Query, description = "Conditions that must all hold, in JSON: `[{\"path\": \"country\", \"test\": \"equal\", \"value\": \"DE\"}]`"),
        ("limit" = Option<u32>, Query, description = "Most sessions in the answer: from 1 to 1000, else 100"),
        ("after" = Option<String>, Query, description = "The `next` of the page before")),
    responses(
        (status = 200, description = "A page", body = Sessions),
        (status = 400, description = "It cannot be read", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json")))]
pub(in crate::server) async fn sessions(
    State(app): State<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(&query.unwrap_or_default())?;
    let collection = parameters.take("collection")?;
    let collection = collection.ok_or_else(|| invalid("collection", "is missing"))?;
    let filter = parameters.take_as("filter")?;
    let filter = filter.map_or_else(SessionFilter::all, |FilterText(filter)| filter);
    let limit = list::limit(&app, &mut parameters)?;
    let after = parameters.take_as::<Cursor<i64>>("after")?;
    parameters.done()?;
    let after = after.map(|Cursor(id)| id);
    let found = pool(&app, collection)
        .find(filter, Some(limit), after)
        .await?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| found.len() >= limit);
    let last = found.last().filter(|_| is_full);
    answer(&Sessions {
        next: last.and_then(|last| Cursor(last.id).written()),
        sessions: found.into_iter().map(Session::from).collect(),
    })
}
