mod audit;
mod diagnose;
#[cfg(feature = "cli")]
pub(super) mod floors;
mod m3_mutex;
mod one;
mod pool;
mod roles;
mod several;
mod statistics;
mod together;
mod waiting;

pub(super) use diagnose::{Rights, Whereabouts};

use std::sync::Arc;

use tokio_postgres::GenericClient;

use super::{
    SchemaName,
    call::Call,
    hot::Hot,
    preparing::Prepared,
    row::{HOLD_COLUMNS, Outcome, STATISTICS_COLUMNS, WAITER_COLUMNS},
};
use crate::domain::MutexId;

/// The SQL functions as typed Rust functions: one each, under one name.
///
/// Every function takes the client to run on, so it works on a pooled client and inside a caller's
/// transaction alike. Each is one statement and one round trip; statements are unnamed and typed,
/// which poolers in transaction mode can carry.
///
/// Nothing is retried here and no transaction is begun. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    statements: Arc<Statements>,
    /// What is prepared on the one connection that this value is for.
    prepared: Option<Prepared>,
}

#[derive(Debug)]
struct Statements {
    schema: SchemaName,
    hot: HotStatements,
    request: String,
    holder_in_the_way: String,
    list_waiting: String,
    list: String,
    list_count: String,
    evict: String,
    fence: String,
    force_release: String,
    sweep: String,
    ensure_generation: String,
    capture_each: String,
    capture_all: String,
    release_each: String,
    release_owner: String,
    leave_line: String,
    keep: String,
    attach_session: String,
    look_at_lines: String,
    pool_checkout: String,
    statistics: String,
    doctor: String,
    enable_audit: String,
    disable_audit: String,
    keep_audit: String,
    audit: String,
}

/// No two of them have as many parameters.
#[derive(Debug)]
struct HotStatements {
    capture: Hot,
    refresh: Hot,
    release: Hot,
    capture_together: Hot,
    refresh_together: Hot,
    release_together: Hot,
}

impl Repository {
    /// The functions in this schema.
    pub fn new(schema: SchemaName) -> Self {
        let in_schema = schema.quoted();
        let outcome = Outcome::columns();
        let arguments = |count: usize| {
            let places: Vec<String> = (1..=count).map(|place| format!("${place}")).collect();
            places.join(", ")
        };
        let decide = |function: &str, count: usize| {
            format!(
                "select {outcome} from {in_schema}.{function}({})",
                arguments(count)
            )
        };
        let decide_together = |function: &str, count: usize| {
            format!(
                "select {outcome}, place from {in_schema}.{function}({})",
                arguments(count)
            )
        };
        let hot = |function: &str, count: usize, gates: usize| {
            Hot::new(decide(function, count), count, gates, &schema, function)
        };
        // A request that is left alone has no row.
        let hot_together = |function: &str, count: usize, gates: usize| {
            let text = decide_together(function, count);
            Hot::new(text, count, gates, &schema, function).or_no_row()
        };
        let statements = Statements {
            hot: HotStatements {
                capture: hot("capture", 18, 1),
                refresh: hot("refresh", 6, 1),
                release: hot("release", 6, 2),
                capture_together: hot_together("capture_together", 16, 1),
                refresh_together: hot_together("refresh_together", 6, 3),
                release_together: hot_together("release_together", 6, 4),
            },
            request: decide("request", 4),
            holder_in_the_way: decide("holder_in_the_way", 8),
            list_waiting: format!(
                "select {WAITER_COLUMNS} from {in_schema}.list_waiting({})",
                arguments(10)
            ),
            evict: decide("evict", 4),
            force_release: decide("force_release", 5),
            fence: format!("select 1 from {in_schema}.fence({})", arguments(4)),
            list: format!(
                "select {HOLD_COLUMNS} from {in_schema}.list({})",
                arguments(15)
            ),
            list_count: format!("select {in_schema}.list_count({})", arguments(9)),
            sweep: format!("select {in_schema}.sweep()"),
            ensure_generation: format!("select {in_schema}.ensure_generation()"),
            capture_each: format!("select {outcome} from {in_schema}.capture_each($1::jsonb)"),
            capture_all: format!(
                "select {outcome} from {in_schema}.capture_all($1::jsonb, '{{}}', $2, $3, $4)"
            ),
            release_each: format!(
                "select {outcome} from {in_schema}.release_each($1::jsonb, '{{}}', $2)"
            ),
            release_owner: decide("release_owner", 1),
            leave_line: format!("select {in_schema}.leave_line({})", arguments(4)),
            keep: format!(
                "select fencing_token, outcome from {in_schema}.keep({})",
                arguments(4)
            ),
            attach_session: format!("select {in_schema}.attach_session({})", arguments(2)),
            look_at_lines: format!(
                "select ticket, is_my_turn, extract(epoch from look_again_in)::float8 from {in_schema}.look_at_lines({})",
                arguments(3)
            ),
            doctor: format!("select subject, verdict, found, advice from {in_schema}.doctor()"),
            pool_checkout: Self::checkout_statement(&in_schema.to_string()),
            statistics: format!("select {STATISTICS_COLUMNS} from {in_schema}.statistics()"),
            enable_audit: format!("select {in_schema}.enable_audit()"),
            disable_audit: format!("select {in_schema}.disable_audit()"),
            keep_audit: format!(
                "select made, moved, dropped from {in_schema}.keep_audit(make_interval(secs => $1))"
            ),
            audit: Self::audit_statement(&in_schema),
            schema,
        };
        Self {
            statements: Arc::new(statements),
            prepared: None,
        }
    }

    /// The same functions, for calls on the connection on which this is prepared, each a transaction
    /// of its own.
    pub(super) fn with_prepared(&self, prepared: Option<Prepared>) -> Self {
        Self {
            statements: Arc::clone(&self.statements),
            prepared,
        }
    }

    /// The schema.
    pub fn schema(&self) -> &SchemaName {
        &self.statements.schema
    }

    fn call<'a, C: GenericClient + Sync>(
        &'a self,
        client: &'a C,
        operation: &'static str,
        id: Option<&'a MutexId>,
    ) -> Call<'a, C> {
        Call {
            client,
            schema: &self.statements.schema,
            operation,
            id,
            token: None,
            prepared: self.prepared.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{HotStatements, Repository, SchemaName};

    #[test]
    fn no_two_hot_statements_have_as_many_parameters() {
        let repository = Repository::new(SchemaName::default());
        let HotStatements {
            capture,
            refresh,
            release,
            capture_together,
            refresh_together,
            release_together,
        } = &repository.statements.hot;
        let all = [
            capture,
            refresh,
            release,
            capture_together,
            refresh_together,
            release_together,
        ];
        let numbers: BTreeSet<usize> = all.iter().map(|hot| hot.parameters()).collect();
        assert_eq!(numbers.len(), all.len(), "{numbers:?}");
    }
}
