//! Questions to the person at the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use super::Failure;

/// Whether there is somebody to ask.
pub(super) fn can_be_asked() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and gives the line that is typed, without spaces around it. That nothing more comes is an
/// empty answer.
pub(super) fn ask(question: &str) -> Result<String, Failure> {
    let mut stderr = io::stderr();
    write!(stderr, "{question} ")?;
    stderr.flush()?;
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer)? == 0 {
        writeln!(stderr)?;
    }
    Ok(answer.trim().to_owned())
}
