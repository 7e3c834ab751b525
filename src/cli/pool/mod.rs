//! `pgmutex pool`: pools of sessions.

mod add;
mod look;
mod session;
mod state;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Output, database::Database, table::Table};

/// Pools of sessions: how they stand, and what is done with one session
///
/// Payloads are secrets: they are shown only with --payload.
#[derive(Debug, Args)]
pub(super) struct Pool {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Stats(look::Stats),
    List(look::List),
    Show(look::Show),
    Add(add::Add),
    Lock(state::Lock),
    Block(state::Block),
    Inactive(state::Inactive),
    Activate(state::Activate),
    Delete(state::Delete),
}

impl Pool {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        match self.act {
            Act::Stats(stats) => stats.run(&mutexes, output).await?,
            Act::List(list) => list.run(&mutexes, output).await?,
            Act::Show(show) => show.run(&mutexes, output).await?,
            Act::Add(add) => add.run(&mutexes, output).await?,
            Act::Lock(lock) => lock.run(&mutexes, output).await?,
            Act::Block(block) => block.run(&mutexes, output).await?,
            Act::Inactive(inactive) => inactive.run(&mutexes, output).await?,
            Act::Activate(activate) => activate.run(&mutexes, output).await?,
            Act::Delete(delete) => delete.run(&mutexes, output).await?,
        }
        Ok(Exit::Success)
    }
}
