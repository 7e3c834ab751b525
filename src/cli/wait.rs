use std::{ops::ControlFlow, time::Duration};

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Exit, Failure, Output,
    database::Database,
    duration, holder,
    interrupt::unless_interrupted,
    mutex_name::{HOW_TO_NAME, MutexName},
    spoken,
    wanted::Wanted,
};
use crate::{
    domain::{Error, Mutex, MutexId, MutexQuery},
    mutexes::Mutexes,
    random,
};

/// After so long it looks again at first, and after so long in the end.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);

/// Waits until a mutex could be captured, and takes nothing
///
/// It looks again and again, and has no place in line: by the time it ends, another may have captured
/// the mutex. To have it, use `pgmutex capture --wait` or `pgmutex run --wait`. Exit code 75 says that
/// the time is up.
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME)]
pub(super) struct Wait {
    /// The mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: MutexName,

    /// Wait until somebody holds it instead
    #[arg(long, conflicts_with_all = ["shared", "permits", "lock_parents", "lock_children"])]
    held: bool,

    #[command(flatten)]
    wanted: Wanted,

    /// Wait for so long at most, if one look takes no longer; with 0 it only looks once
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

/// Who was in the way when that was last to be seen, or why it never was.
type Seen = Option<Result<Option<Mutex>, Error>>;

impl Wait {
    pub(super) fn mutex(&self) -> &MutexId {
        self.mutex.id()
    }

    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mutexes = database.connect().await?;
        let begin = Instant::now();
        let end = self.timeout.and_then(|timeout| begin.checked_add(timeout));
        let mut seen = None;
        let done = unless_interrupted(&mutexes, async {
            // However little time there is: nobody is told that it was in vain who has not looked.
            if let ControlFlow::Break(found) = self.look(&mutexes, &mut seen).await? {
                return Ok(Some(found));
            }
            let waiting = self.until_it_is(&mutexes, &mut seen);
            match end {
                None => waiting.await.map(Some),
                Some(end) => timeout_at(end, waiting).await.ok().transpose(),
            }
        })
        .await?;
        match done {
            Some(hold) => {
                if output.is_json {
                    let outcome = if self.held { "held" } else { "free" };
                    let hold = hold.as_ref().map(crate::json::Hold::from);
                    output.json(&json!({ "outcome": outcome, "hold": hold }))?;
                }
                Ok(Exit::Success)
            }
            None => {
                let error = Error::Timeout {
                    id: self.mutex.id().clone(),
                    waited: begin.elapsed(),
                    holder: seen.transpose()?.flatten().map(Box::new),
                };
                spoken::refusal(output, &error)?;
                Err(match self.held {
                    false => error.into(),
                    true => Failure::new(
                        Exit::Busy,
                        format!(
                            "nobody has captured {} in {:.1} s",
                            self.mutex,
                            begin.elapsed().as_secs_f64()
                        ),
                    ),
                })
            }
        }
    }

    /// Looks again and again, and returns when it is as wanted.
    async fn until_it_is(
        &self,
        mutexes: &Mutexes,
        seen: &mut Seen,
    ) -> Result<Option<Mutex>, Failure> {
        let mut pause = SHORTEST;
        loop {
            sleep(jittered(pause)).await;
            pause = LONGEST.min(pause * 3 / 2);
            if let ControlFlow::Break(found) = self.look(mutexes, seen).await? {
                return Ok(found);
            }
        }
    }

    /// Whether it is as wanted, with the hold if that is what is waited for. Notes what it sees.
    async fn look(
        &self,
        mutexes: &Mutexes,
        seen: &mut Seen,
    ) -> Result<ControlFlow<Option<Mutex>>, Failure> {
        let looked = match self.held {
            true => {
                let query = MutexQuery::of(self.mutex.id()).page_size(1);
                let held = mutexes.list(&query).await;
                held.map(|page| page.mutexes.into_iter().next())
            }
            false => {
                let wish = self.wanted.wish(&self.mutex);
                mutexes.holder_in_the_way(wish, &holder::nobody()?).await
            }
        };
        match looked {
            Ok(Some(hold)) if self.held => return Ok(ControlFlow::Break(Some(hold))),
            Ok(None) if !self.held => return Ok(ControlFlow::Break(None)),
            // Somebody in line has no token: the message would take the place for a hold.
            Ok(hold) => *seen = Some(Ok(hold.filter(|hold| hold.fencing_token.get() != 0))),
            // Whoever waits can wait for the server, too.
            Err(error) if error.is_transient() || error.is_outcome_unknown() => {
                if !matches!(seen, Some(Ok(_))) {
                    *seen = Some(Err(error));
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Half of it to all of it, so that those who wait for the same do not all ask at once.
fn jittered(pause: Duration) -> Duration {
    let [byte] = random::bytes();
    pause / 2 + pause / 2 * u32::from(byte) / 255
}
