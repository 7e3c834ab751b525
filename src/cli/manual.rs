use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use super::{Exit, Failure, Output};

/// Prints the manual page
///
/// To read it: `pgmutex man | man -l -`.
#[derive(Debug, Args)]
pub(super) struct Manual {
    /// Write a page for the program and one for each command into this folder, which must be there
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Manual {
    pub(super) fn run(self, program: Command, output: &mut Output) -> Result<Exit, Failure> {
        match self.dir {
            None => {
                let mut page = Vec::new();
                Man::new(program).render(&mut page)?;
                output.verbatim(&page)?;
            }
            Some(folder) => clap_mangen::generate_to(program, &folder)
                .map_err(|error| format!("cannot write to {}: {error}", folder.display()))?,
        }
        Ok(Exit::Success)
    }
}
