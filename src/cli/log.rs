use std::io::{self, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::{Failure, printable::printable};

/// What goes to the log, and how.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// What goes to the log on standard error, as in info or pgmutex=debug [default: info for serve, else error]
    #[arg(long, value_name = "LEVEL", env = "PGMUTEX_LOG", global = true)]
    log: Option<Targets>,

    /// How the log is written: json is one object a line
    #[arg(long, value_enum, default_value_t = Form::Text, value_name = "FORM", env = "PGMUTEX_LOG_FORMAT", global = true)]
    log_format: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

impl Log {
    /// Writes what happens to standard error, from now on.
    pub(super) fn begin(&self, usual: &str) -> Result<(), Failure> {
        let which = match &self.log {
            Some(which) => which.clone(),
            None => usual.parse().map_err(|error| format!("{error}"))?,
        };
        let lines = tracing_subscriber::fmt::layer().with_ansi(false);
        let begun = match self.log_format {
            Form::Text => {
                let lines = lines.with_writer(|| OneLine(io::stderr()));
                tracing_subscriber::registry()
                    .with(which)
                    .with(lines)
                    .try_init()
            }
            Form::Json => {
                let lines = lines.json().flatten_event(true).with_writer(io::stderr);
                tracing_subscriber::registry()
                    .with(which)
                    .with(lines)
                    .try_init()
            }
        };
        begun.map_err(|error| error.to_string().into())
    }
}

/// Spells out what could make one event look like two, or something else: names of mutexes and
/// owners have any characters.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// It is called once for each event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = printable(text.strip_suffix('\n').unwrap_or(&text));
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let mut written = OneLine(Vec::new());
        written
            .write_all("a \"b\"\nc\u{1b}[1m\u{202e}é\n".as_bytes())
            .unwrap();
        let text = String::from_utf8(written.0).unwrap();
        assert_eq!(text, "a \"b\"\\nc\\u{1b}[1m\\u{202e}é\n");
    }
}
