use std::io::Write;

use clap::Args;

use super::Failure;
use crate::{
    domain::{M3MutexImport, M3MutexOutcome},
    mutexes::Mutexes,
};

/// For a Django application that uses m3-mutex.
#[derive(Debug, Args)]
pub(super) struct M3Compat {
    /// Then put a view into this schema that an application with m3-mutex takes for its table;
    /// a table of that name is kept as m3_mutex_before_pgmutex, and its holds are imported
    #[arg(
        long,
        value_name = "SCHEMA",
        num_args = 0..=1,
        default_missing_value = "public",
        conflicts_with = "check"
    )]
    m3_compat: Option<String>,

    /// The role of that application, which may use the view then
    #[arg(long, value_name = "ROLE", requires = "m3_compat")]
    m3_role: Option<String>,
}

impl M3Compat {
    pub(super) async fn install(&self, mutexes: &Mutexes) -> Result<(), Failure> {
        let Some(schema) = &self.m3_compat else {
            return Ok(());
        };
        let import = mutexes
            .adopt_m3_mutex(schema, self.m3_role.as_deref())
            .await?;
        report(&import)?;
        Ok(())
    }
}

fn report(import: &M3MutexImport) -> std::io::Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "the view m3_mutex is there")?;
    if import.rows.is_empty() {
        return Ok(());
    }
    writeln!(
        output,
        "of the table's rows {} were imported, {} were over, {} were refused",
        import.count(M3MutexOutcome::Imported),
        import.count(M3MutexOutcome::Over),
        import.count(M3MutexOutcome::Refused),
    )?;
    for row in import.problems() {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
        // Quoted as Rust does: what is in the row must not be taken for a line of this report.
        writeln!(
            output,
            "row {:?} ({:?}/{:?}/{:?}), {}: {:?}",
            text(&row.id),
            text(&row.mutex_group),
            text(&row.mutex_mode),
            text(&row.mutex_id),
            match row.outcome {
                M3MutexOutcome::Imported => "imported",
                M3MutexOutcome::Over => "over",
                M3MutexOutcome::Refused => "refused",
            },
            text(&row.problem),
        )?;
    }
    Ok(())
}
