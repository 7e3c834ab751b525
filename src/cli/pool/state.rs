use std::time::Duration;

use clap::Args;

use super::{
    Failure, Output,
    session::{Named, Shown},
};
use crate::{cli::duration, domain::Period, mutexes::Mutexes};

/// Keeps a session from being used for a while
#[derive(Debug, Args)]
pub(super) struct Lock {
    #[command(flatten)]
    session: Named,

    /// For how long [default: 10m]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    period: Option<Duration>,
}

/// Keeps a session from being used for long, and counts it among the blocked ones
#[derive(Debug, Args)]
pub(super) struct Block {
    #[command(flatten)]
    session: Named,

    /// For how long [default: 1d]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    period: Option<Duration>,
}

/// Takes a session out of use, until it is activated
#[derive(Debug, Args)]
pub(super) struct Inactive {
    #[command(flatten)]
    session: Named,
}

/// Puts a session into use again
#[derive(Debug, Args)]
pub(super) struct Activate {
    #[command(flatten)]
    session: Named,
}

/// Removes a session; a lease of it lasts on
#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    session: Named,

    #[command(flatten)]
    shown: Shown,
}

impl Lock {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let (pool, id) = self.session.pool(mutexes);
        let session = pool.session_lock(id, self.period.map(Period::from)).await?;
        Shown::NOTHING.print(output, &session, session.updated_at)
    }
}

impl Block {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let (pool, id) = self.session.pool(mutexes);
        let period = self.period.map(Period::from);
        let session = pool.session_block(id, period).await?;
        Shown::NOTHING.print(output, &session, session.updated_at)
    }
}

impl Inactive {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let (pool, id) = self.session.pool(mutexes);
        let session = pool.session_inactive(id).await?;
        Shown::NOTHING.print(output, &session, session.updated_at)
    }
}

impl Activate {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let (pool, id) = self.session.pool(mutexes);
        let session = pool.session_activate(id).await?;
        Shown::NOTHING.print(output, &session, session.updated_at)
    }
}

impl Delete {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let (pool, id) = self.session.pool(mutexes);
        let session = pool.session_delete(id).await?;
        self.shown.print(output, &session, session.updated_at)
    }
}
