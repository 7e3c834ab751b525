use std::io::Write as _;

use clap::Args;

use super::{Exit, Failure, Output};
use crate::server::{Role, TokenList};

/// Makes a token for a token list
///
/// The token goes to standard error, to be given to whoever is to use the server; the line for the
/// list goes to standard output: `pgmutex token application build-farm >> tokens`.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// What its holder may do: reader, application or admin
    role: Role,
    /// Who its holder is: one word, as others will see it
    name: String,
}

impl Token {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let (token, line) = TokenList::new_token(&self.name, self.role).map_err(Failure::of)?;
        output.line(&line)?;
        writeln!(std::io::stderr(), "{}", token.reveal())?;
        Ok(Exit::Success)
    }
}
