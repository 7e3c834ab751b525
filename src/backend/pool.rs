//! What is asked about a pool of sessions, and what is answered.

use serde_json::{Map, Value};

use super::{BackendFuture, CaptureRequest, CapturedAll};
use crate::domain::{FencingToken, PoolIndex, PoolStatistics, PooledSession, SessionFilter};

/// A call about a pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolRequest {
    /// Which pool; `None`, where that makes sense: all of them.
    pub(crate) collection: Option<String>,
    pub(crate) call: PoolCall,
}

/// What is asked. Times are in seconds.
#[derive(Clone, Debug)]
pub(crate) enum PoolCall {
    GetSession {
        count_use: u64,
        next_use_delay: f64,
        /// Asking again with the same one gives the same session.
        request_id: String,
        filter: SessionFilter,
    },
    Success {
        id: i64,
        count: u64,
        next_use_delay: Option<f64>,
        token: Option<FencingToken>,
    },
    Lock {
        id: i64,
        period: f64,
        token: Option<FencingToken>,
    },
    Block {
        id: i64,
        period: f64,
        token: Option<FencingToken>,
    },
    Inactive(i64),
    Activate(i64),
    Add(Value),
    Update {
        id: i64,
        set: Map<String, Value>,
        unset: Vec<String>,
    },
    Delete(i64),
    Get(i64),
    Find {
        filter: SessionFilter,
        projection: Vec<String>,
        page_size: Option<u32>,
        after: Option<i64>,
    },
    Count(SessionFilter),
    CountActive(SessionFilter),
    FindOneAndUpdate {
        filter: SessionFilter,
        set: Map<String, Value>,
        unset: Vec<String>,
    },
    DeleteOne(SessionFilter),
    CreateIndex(String),
    ListIndexes,
    DropIndex(String),
    Statistics,
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum PoolAnswer {
    /// The one session that it is about, if there is one.
    Session(Option<Box<PooledSession>>),
    Sessions(Vec<PooledSession>),
    Number(u64),
    Flag(bool),
    Text(String),
    Indexes(Vec<PoolIndex>),
    Statistics(Vec<PoolStatistics>),
}

/// What a checkout asks for.
#[derive(Clone, Debug)]
pub(crate) struct CheckoutRequest {
    pub(crate) collection: String,
    /// For whom, under which rule; its mutex does not matter.
    pub(crate) lease: CaptureRequest,
    pub(crate) count_use: u64,
    /// In seconds.
    pub(crate) next_use_delay: f64,
    pub(crate) filter: SessionFilter,
    pub(crate) wait: bool,
    pub(crate) while_holding: Vec<FencingToken>,
}

/// What became of a checkout: the lease or a place in line, with the session if there is one;
/// `None` if there is neither.
pub(crate) type CheckedOut = Option<(CapturedAll, Option<PooledSession>)>;

/// Where pools of sessions are kept.
pub(crate) trait SessionStore: std::fmt::Debug + Send + Sync {
    fn pool<'a>(&'a self, request: &'a PoolRequest) -> BackendFuture<'a, PoolAnswer>;

    fn checkout<'a>(&'a self, request: &'a CheckoutRequest) -> BackendFuture<'a, CheckedOut>;
}
