use clap::{Args, Command};
use clap_complete::Shell;

use super::{Exit, Failure, Output};

/// Prints what a shell needs to complete this program's commands and options
///
/// For bash: `pgmutex completions bash > /etc/bash_completion.d/pgmutex`; for zsh: a file _pgmutex in a
/// folder of $fpath; for fish: ~/.config/fish/completions/pgmutex.fish.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut program: Command, output: &mut Output) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "pgmutex", &mut script);
        output.verbatim(&script)?;
        Ok(Exit::Success)
    }
}
