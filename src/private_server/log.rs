//! The end of a log, for error messages.

use std::fs;
use std::path::Path;

const LINES: usize = 20;

/// So that only what comes later is shown.
pub(super) fn length(log: &Path) -> usize {
    fs::metadata(log).map_or(0, |log| usize::try_from(log.len()).unwrap_or(0))
}

/// The last lines of what was written since the log had the given length.
pub(super) fn tail(log: &Path, since: usize) -> String {
    let log = fs::read(log).unwrap_or_default();
    let recent = String::from_utf8_lossy(log.get(since..).unwrap_or_default());
    let lines: Vec<&str> = recent.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
