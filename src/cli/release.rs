use clap::Args;

use super::{
    Exit, Failure, Output,
    database::Database,
    holder::Holder,
    mutex_name::{HOW_TO_NAME, MutexName},
    spoken,
};
use crate::domain::{FencingToken, MutexId, Released};

/// Gives a mutex back
///
/// That it is not held is no failure. That another holds it is one (exit code 75).
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME)]
pub(super) struct Release {
    /// The mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: MutexName,

    /// Only the hold with this fencing token
    #[arg(long, value_name = "TOKEN")]
    token: Option<i64>,

    #[command(flatten)]
    holder: Holder,
}

impl Release {
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
        let mut release = mutexes.release(self.mutex.id()).owner(owner);
        if let Some(token) = self.token {
            release = release.token(FencingToken::new(token));
        }
        match release.await {
            Ok(Released::Released(mutex)) => spoken::answer(output, "released", &mutex)?,
            Ok(Released::NotHeld) => spoken::no_hold(output, "not_held", &self.mutex.to_string())?,
            Err(error) => {
                spoken::refusal(output, &error)?;
                return Err(error.into());
            }
        }
        Ok(Exit::Success)
    }
}
