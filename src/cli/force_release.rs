use clap::Args;

use super::{
    Exit, Failure, Output,
    database::Database,
    holder,
    mutex_name::{HOW_TO_NAME, MutexName, written},
    printable::printable,
    question, say, spoken,
};
use crate::{
    domain::{FencingToken, ForceReleased, Mutex, MutexId, MutexQuery},
    mutexes::Mutexes,
};

/// Longest reason, in bytes: it goes to the server's log.
const LONGEST_REASON: usize = 1000;

/// Takes a mutex away from whoever holds it
///
/// It shows the holder and asks for a reason and for confirmation; a script says --reason and --yes
/// instead. The reason goes to the server's log. The holder is not told: its next refresh says that
/// the hold is gone, and a fenced write of it fails. Of a shared mutex all holds are taken, unless
/// --token says which. Exit code 75 says that a holder is in the middle of a fenced write: try again.
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_NAME)]
pub(super) struct ForceRelease {
    /// The mutex: group/mode/id
    #[arg(value_parser = MutexName::parse)]
    mutex: MutexName,

    /// Only the hold with this fencing token: the one that was looked at
    #[arg(long, value_name = "TOKEN")]
    token: Option<i64>,

    /// Why: for the server's log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl ForceRelease {
    pub(super) fn mutex(&self) -> &MutexId {
        self.mutex.id()
    }

    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        if (self.reason.is_none() || !self.yes) && !question::can_be_asked() {
            return Err(Failure::usage(
                "there is no terminal to ask at: say --reason TEXT and --yes",
            ));
        }
        let mutexes = database.connect().await?;
        let holds = self.holds(&mutexes).await?;
        if holds.is_empty() {
            spoken::no_hold(output, "not_held", &self.mutex.to_string())?;
            return Ok(Exit::Success);
        }
        let Some(reason) = self.allowed(&mutexes, &holds).await? else {
            return Err(Failure::new(Exit::Failed, "nothing was changed"));
        };
        let in_the_log = format!("{reason} (asked for by {})", holder::who());
        let mut release = mutexes.force_release(self.mutex.id(), in_the_log);
        // With the token it cannot hit a hold that nobody has looked at, and may be repeated.
        if let [only] = holds.as_slice() {
            release = release.token(only.fencing_token);
        }
        match release.await {
            Ok(ForceReleased::Released(mutex)) => {
                spoken::answer(output, "released", &mutex)?;
                if let [_, others @ ..] = holds.as_slice()
                    && !others.is_empty()
                {
                    let others = others.len();
                    say(&format!(
                        "{others} more that shared it were taken away, too"
                    ));
                }
            }
            Ok(ForceReleased::NotHeld) => {
                spoken::no_hold(output, "not_held", &self.mutex.to_string())?;
            }
            Err(error) => {
                spoken::refusal(output, &error)?;
                return Err(error.into());
            }
        }
        Ok(Exit::Success)
    }

    /// The holds that are to be taken away.
    async fn holds(&self, mutexes: &Mutexes) -> Result<Vec<Mutex>, Failure> {
        let query = MutexQuery::of(self.mutex.id()).include_over();
        let mut holds = mutexes.list(&query).await?.mutexes;
        if let Some(token) = self.token {
            holds.retain(|hold| hold.fencing_token == FencingToken::new(token));
        }
        Ok(holds)
    }

    /// The reason, if it is to be done.
    async fn allowed(&self, mutexes: &Mutexes, holds: &[Mutex]) -> Result<Option<String>, Failure> {
        if !self.yes {
            let now = mutexes.now().await?;
            for hold in holds {
                eprint_fields(&written(&hold.id), &spoken::hold(hold, now))?;
            }
        }
        let given = match &self.reason {
            Some(reason) => reason.clone(),
            None => match question::ask("Reason, for the server's log:")?.as_str() {
                "" => return Ok(None),
                typed => reason(typed).map_err(Failure::usage)?,
            },
        };
        let is_meant = self.yes
            || matches!(
                question::ask("Take it away? [y/N]")?
                    .to_lowercase()
                    .as_str(),
                "y" | "yes"
            );
        Ok(is_meant.then_some(given))
    }
}

fn eprint_fields(name: &str, fields: &[(&str, String)]) -> Result<(), Failure> {
    use std::io::Write as _;

    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "{name}")?;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(stderr, "  {name:7}  {value}")?;
    }
    Ok(())
}

/// For clap.
fn reason(text: &str) -> Result<String, String> {
    let text = printable(text.trim());
    match text.len() {
        1..=LONGEST_REASON => Ok(text),
        _ => Err(format!("it has from 1 to {LONGEST_REASON} bytes")),
    }
}
