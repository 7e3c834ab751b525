use std::io::{self, Write};

use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::Failure;

/// Writes what happens to standard error, from now on.
pub(super) fn begin(which: Targets) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(|| OneLine(io::stderr()));
    tracing_subscriber::registry()
        .with(which)
        .with(lines)
        .try_init()?;
    Ok(())
}

/// Spells out what could make one event look like two, or something else: names of mutexes and
/// owners have any characters.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// It is called once for each event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = String::with_capacity(text.len());
        for c in text.strip_suffix('\n').unwrap_or(&text).chars() {
            match c {
                '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    line.extend(c.escape_unicode());
                }
                c if c.is_control() => line.extend(c.escape_default()),
                c => line.push(c),
            }
        }
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
