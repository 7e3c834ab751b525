use clap::Args;

use super::{
    Exit, Failure, Output,
    database::Database,
    holder::Holder,
    mutex_name::{HOW_TO_NAME, MutexName},
    spoken,
};
use crate::domain::{FencingToken, MutexId};

/// Makes the time of a hold start again
///
/// It never captures: that the hold is gone is a failure (exit code 79), and so is that another has
/// the mutex by now (75).
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME)]
pub(super) struct Refresh {
    /// The mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: MutexName,

    /// Only the hold with this fencing token
    #[arg(long, value_name = "TOKEN")]
    token: Option<i64>,

    /// Free text for people, and for the holder itself [default: what the hold has]
    #[arg(long, value_name = "TEXT")]
    status_data: Option<String>,

    #[command(flatten)]
    holder: Holder,
}

impl Refresh {
    pub(super) fn mutex(&self) -> &MutexId {
        self.mutex.id()
    }

    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let owner = self.holder.known_owner()?;
        let mutexes = database.connect().await?;
        let mut refresh = mutexes.refresh(self.mutex.id()).owner(owner);
        if let Some(token) = self.token {
            refresh = refresh.token(FencingToken::new(token));
        }
        if let Some(status_data) = self.status_data {
            refresh = refresh.status_data(status_data);
        }
        match refresh.await {
            Ok(mutex) => spoken::answer(output, "refreshed", &mutex)?,
            Err(error) => {
                spoken::refusal(output, &error)?;
                return Err(error.into());
            }
        }
        Ok(Exit::Success)
    }
}
