use clap::Args;

use super::{Failure, Output};
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
        conflicts_with_all = ["check", "sql"]
    )]
    m3_compat: Option<String>,

    /// The role of that application, which may use the view then
    #[arg(long, value_name = "ROLE", requires = "m3_compat")]
    m3_role: Option<String>,
}

impl M3Compat {
    /// Installs the view, if that was asked for, and gives what became of the table's rows.
    pub(super) async fn install(
        &self,
        mutexes: &Mutexes,
    ) -> Result<Option<M3MutexImport>, Failure> {
        let Some(schema) = &self.m3_compat else {
            return Ok(None);
        };
        let role = self.m3_role.as_deref();
        Ok(Some(mutexes.adopt_m3_mutex(schema, role).await?))
    }

    /// Says what became of them.
    pub(super) fn report(
        &self,
        import: &M3MutexImport,
        output: &mut Output,
    ) -> Result<(), Failure> {
        output.line("the view m3_mutex is there")?;
        if import.rows.is_empty() {
            return Ok(());
        }
        output.line(&format!(
            "of the table's rows {} were imported, {} were over, {} were refused",
            import.count(M3MutexOutcome::Imported),
            import.count(M3MutexOutcome::Over),
            import.count(M3MutexOutcome::Refused),
        ))?;
        for row in import.problems() {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
            // Quoted: what is in the row must not be taken for a line of this report.
            output.line(&format!(
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
            ))?;
        }
        Ok(())
    }
}
