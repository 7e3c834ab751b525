use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Output, database::Database};

/// Removes the holds that are over, and says how many
///
/// Nothing depends on it, for a hold that is over stops nobody: it keeps the table small, and may be
/// left to a cron job.
#[derive(Debug, Args)]
pub(super) struct Sweep {}

impl Sweep {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        let mut swept = 0;
        // What another transaction had its hand on is left out, and so are the holds that end
        // meanwhile: whoever sweeps again finds them.
        loop {
            match mutexes.sweep().await? {
                0 => break,
                more => swept += more,
            }
        }
        match output.is_json {
            true => output.json(&json!({ "swept": swept }))?,
            false => output.line(&format!("swept {swept}"))?,
        }
        Ok(Exit::Success)
    }
}
