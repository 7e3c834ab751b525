use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, Output, database::Database, output::Look, printable::printable};
use crate::domain::{Diagnosis, Finding, Verdict};

/// Looks at what has to be right around the locks, and says what to do where it is not
///
/// The connection, poolers, clocks, the schema, rights, settings, replication, vacuum, and what has
/// stayed behind. Nothing is changed. It ends with 1 if something is a problem: what is promised does
/// not hold then.
#[derive(Debug, Args)]
pub(super) struct Doctor {}

/// A diagnosis, as JSON.
#[derive(Serialize)]
struct Seen<'a> {
    worst: Verdict,
    findings: &'a [Finding],
}

impl Doctor {
    pub(super) async fn run(
        self,
        database: &Database,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let diagnosis = database.connect().await?.diagnose().await?;
        let worst = diagnosis.worst();
        match output.is_json {
            true => output.json(&Seen {
                worst,
                findings: &diagnosis.findings,
            })?,
            false => print(&diagnosis, output)?,
        }
        match worst {
            Verdict::Problem => {
                let problems = diagnosis.findings.iter();
                let problems = problems.filter(|finding| finding.verdict == Verdict::Problem);
                let subjects: Vec<&str> =
                    problems.map(|finding| finding.subject.as_str()).collect();
                let message = format!("there are problems: {}", subjects.join(", "));
                Err(Failure::new(Exit::Failed, message))
            }
            _ => Ok(Exit::Success),
        }
    }
}

fn print(diagnosis: &Diagnosis, output: &mut Output) -> Result<(), Failure> {
    for finding in &diagnosis.findings {
        let look = match finding.verdict {
            Verdict::Ok => Look::Good,
            Verdict::Note => Look::Plain,
            Verdict::Warning => Look::Warning,
            Verdict::Problem => Look::Bad,
        };
        let verdict = output.look(look, &format!("{:8}", finding.verdict));
        let subject = printable(&finding.subject);
        let margin = format!("{verdict}{subject:18}  ");
        output.hanging(&margin, 28, &printable(&finding.found))?;
        if let Some(advice) = &finding.advice {
            // A statement among it can be copied where nothing breaks it: where it is no terminal.
            output.hanging(&" ".repeat(28), 28, &printable(advice))?;
        }
    }
    Ok(())
}
