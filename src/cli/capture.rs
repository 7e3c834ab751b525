use std::{
    future::IntoFuture as _,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    Exit, Failure, Output,
    database::Database,
    duration,
    holder::Holder,
    interrupt::unless_interrupted,
    metrics_file,
    mutex_name::{HOW_TO_NAME, MutexName},
    printable::printable,
    say, spoken,
    waiting::telling,
    wanted::{Until, Wanted},
};
use crate::domain::{CaptureOutcome, MutexId};

/// Captures a mutex, or refreshes a hold that the same session has
///
/// The hold stays when the program has ended, until its rule ends it or `pgmutex release` with the
/// same session does. To hold a mutex while a command runs, use `pgmutex run`. Exit code 75 says that
/// another has it, or had it as long as --wait was willing to wait; 80 that it may have been captured or
/// not: do it again with the same session.
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME)]
pub(super) struct Capture {
    /// The mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: MutexName,

    #[command(flatten)]
    wanted: Wanted,

    #[command(flatten)]
    until: Until,

    /// Wait in line for so long at most
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// Free text for people, and for the holder itself
    #[arg(long, value_name = "TEXT")]
    status_data: Option<String>,

    /// The code to end with if another has it [default: 75]
    #[arg(short = 'E', long, value_name = "CODE")]
    conflict_exit_code: Option<u8>,

    #[command(flatten)]
    holder: Holder,
}

impl Capture {
    pub(super) fn mutex(&self) -> &MutexId {
        self.mutex.id()
    }

    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let owner = self.holder.owner()?;
        let session = owner.session_id().to_owned();
        let wish = self.wanted.wish(&self.mutex);
        let asked = wish.clone();
        let mutexes = database.connect().await?;
        let captured = unless_interrupted(&mutexes, async {
            let mut capture = mutexes.capture(wish).owner(owner);
            if let Some(rule) = self.until.rule() {
                capture = capture.auto_release(rule);
            }
            if let Some(status_data) = self.status_data {
                capture = capture.status_data(status_data);
            }
            let Some(wait) = self.wait else {
                return Ok(capture.await);
            };
            let begun = Instant::now();
            let captured = telling(&mutexes, asked, capture.wait(wait).into_future()).await;
            metrics_file::waited(begun.elapsed());
            Ok(captured)
        })
        .await?;
        match captured {
            Ok(captured) => {
                let outcome = match &captured.outcome {
                    CaptureOutcome::Captured => "captured",
                    CaptureOutcome::Refreshed => "refreshed",
                    CaptureOutcome::Evicted(evicted) => {
                        spoken::evicted(&evicted.name, &evicted.session_id);
                        "evicted"
                    }
                };
                spoken::answer(output, outcome, &captured)?;
                Ok(Exit::Success)
            }
            Err(error) => {
                spoken::refusal(output, &error)?;
                let failure = Failure::from(error);
                if failure.exit == Exit::Unknown {
                    // Nobody else could find the hold that may be there.
                    say(&format!(
                        "to find out, or to release it: --session {}",
                        printable(&session)
                    ));
                }
                Err(match self.conflict_exit_code {
                    Some(code) if failure.exit == Exit::Busy => failure.with_code(code),
                    _ => failure,
                })
            }
        }
    }
}
