use std::io::Write;

use clap::Args;

use super::{
    Failure,
    database::{Database, UNNAMED},
    m3_compat::M3Compat,
};

/// Brings the schema in a database up to date
///
/// Any number of processes may do it at once. It prints what it applied.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    database: Database,

    /// Change nothing: print what is missing, and fail if something is
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    m3_compat: M3Compat,
}

impl Migrate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.migrate())
    }

    async fn migrate(self) -> Result<(), Failure> {
        let url = self.database.url().ok_or(UNNAMED)?;
        let mutexes = self.database.mutexes(&url).await?;
        let (names, is_behind) = if self.check {
            let status = mutexes.schema_status().await?;
            let pending = status.map(|status| status.pending).unwrap_or_default();
            let is_behind = !pending.is_empty();
            (pending, is_behind)
        } else {
            (mutexes.migrate().await?.applied, false)
        };
        let mut output = std::io::stdout();
        for name in names {
            writeln!(output, "{name}")?;
        }
        self.m3_compat.install(&mutexes).await?;
        match is_behind {
            true => Err("the schema is not up to date: run `pgmutex migrate`".into()),
            false => Ok(()),
        }
    }
}
