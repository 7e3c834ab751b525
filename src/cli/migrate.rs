use clap::Args;

use super::{Exit, Failure, Output, database::Database};

/// Brings the schema in a database up to date
///
/// Any number of processes may do it at once. It prints what it applied.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Change nothing: print what is missing, and end with 3 if something is
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        let (names, exit) = if self.check {
            let status = mutexes.schema_status().await?;
            let pending = status.map(|status| status.pending).unwrap_or_default();
            let exit = match pending.is_empty() {
                true => Exit::Success,
                false => Exit::Pending,
            };
            (pending, exit)
        } else {
            (mutexes.migrate().await?.applied, Exit::Success)
        };
        for name in names {
            output.line(&name)?;
        }
        match exit {
            Exit::Success => Ok(exit),
            _ => Err(Failure::new(
                exit,
                "the schema is not up to date: run `pgmutex migrate`",
            )),
        }
    }
}
