//! The verbs as values, so that one place can decide how to run any of them: on a pooled client, in
//! a transaction begun for it or in the caller's, once or again.

mod audit;
mod one;
mod pool;
mod roles;
mod several;
mod statistics;
mod together;
mod waiting;

use std::future::Future;

use tokio_postgres::GenericClient;

pub(super) use audit::*;
pub(super) use one::*;
pub(super) use pool::*;
pub(super) use roles::*;
pub(super) use several::*;
pub(super) use statistics::*;
pub(super) use together::*;
pub(super) use waiting::*;

use super::Repository;
use crate::domain::Error;

/// One call of one repository function.
pub(super) trait Operation: Send + Sync {
    /// What the function answers.
    type Output: Send;

    /// Its verb, for errors and logs.
    const NAME: &'static str;

    /// Whether making the call again can do nothing but what it was meant to do, however often it
    /// has been carried out already.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Makes the call. `callers_transaction` says that more than this call will commit together.
    fn run<C: GenericClient + Send + Sync>(
        &self,
        repository: &Repository,
        client: &C,
        callers_transaction: bool,
    ) -> impl Future<Output = Result<Self::Output, Error>> + Send;
}
