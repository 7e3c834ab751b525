use clap::Args;

use crate::domain::{MutexQuery, WaiterQuery};

/// Which holds, or which who wait. What is said must all fit.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Of mutexes in this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Of mutexes of this mode
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,

    /// Of mutexes with this id
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Of mutexes whose id begins so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// Of this owner session
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// Of the user with this id
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,

    /// Of the user with this login
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,

    /// Under this rule: timeout, deadline, never, connection or a custom one
    #[arg(long, value_name = "CODE")]
    rule: Option<String>,

    /// Also those that are over and not yet removed
    #[arg(long)]
    include_over: bool,
}

impl Filter {
    pub(super) fn holds(&self) -> MutexQuery {
        let mut query = MutexQuery::all();
        type Narrow = fn(MutexQuery, String) -> MutexQuery;
        let filters: [(&Option<String>, Narrow); 8] = [
            (&self.group, MutexQuery::group),
            (&self.mode, MutexQuery::mode),
            (&self.id, MutexQuery::mutex_id),
            (&self.prefix, MutexQuery::mutex_id_prefix),
            (&self.session, MutexQuery::session_id),
            (&self.user_id, MutexQuery::user_id),
            (&self.login, MutexQuery::login),
            (&self.rule, |query, rule| {
                // The rule that is none has no name in the table.
                query.auto_release_rule(if rule == "never" { String::new() } else { rule })
            }),
        ];
        for (filter, narrow) in filters {
            if let Some(value) = filter {
                query = narrow(query, value.clone());
            }
        }
        match self.include_over {
            true => query.include_over(),
            false => query,
        }
    }

    pub(super) fn waiters(&self) -> WaiterQuery {
        let mut query = WaiterQuery::all();
        type Narrow = fn(WaiterQuery, String) -> WaiterQuery;
        let filters: [(&Option<String>, Narrow); 5] = [
            (&self.group, WaiterQuery::group),
            (&self.mode, WaiterQuery::mode),
            (&self.id, WaiterQuery::mutex_id),
            (&self.prefix, WaiterQuery::mutex_id_prefix),
            (&self.session, WaiterQuery::session_id),
        ];
        for (filter, narrow) in filters {
            if let Some(value) = filter {
                query = narrow(query, value.clone());
            }
        }
        query
    }
}
