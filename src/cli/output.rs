//! What a command prints.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    Failure,
    table::{GAP, NARROWEST, Table, parts},
};

pub(super) use super::table::shortened;

/// How to print.
#[derive(Debug, Args)]
pub(super) struct Format {
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,

    /// Whether to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t = Colours::Auto, value_name = "WHEN", global = true)]
    color: Colours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colours {
    Auto,
    Always,
    Never,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) is_json: bool,
    is_terminal: bool,
    has_colours: bool,
    /// How many columns there are; `None`: as many as it takes.
    width: Option<usize>,
}

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Strong,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Format {
    pub(super) fn output(&self) -> Output {
        let is_terminal = io::stdout().is_terminal();
        let has_colours = match self.color {
            Colours::Always => true,
            Colours::Never => false,
            Colours::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
        };
        let named = std::env::var("COLUMNS")
            .ok()
            .and_then(|columns| columns.parse().ok());
        let found = || {
            ratatui::crossterm::terminal::size()
                .ok()
                .map(|(columns, _)| columns)
        };
        let width = is_terminal.then(|| named.or_else(found)).flatten();
        Output {
            is_json: self.json,
            is_terminal,
            has_colours,
            width: width.filter(|columns| *columns > 0).map(usize::from),
        }
    }
}

impl Output {
    /// One line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }

    /// Many lines at once.
    pub(super) fn lines(&mut self, lines: &[String]) -> Result<(), Failure> {
        let mut stdout = io::BufWriter::new(io::stdout().lock());
        for line in lines {
            writeln!(stdout, "{line}")?;
        }
        Ok(stdout.flush()?)
    }

    /// A text as it is, such as a script.
    pub(super) fn verbatim(&mut self, text: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text)?;
        Ok(stdout.flush()?)
    }

    /// One JSON value on one line.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.json_lines([value])
    }

    /// JSON values, each on a line of its own.
    pub(super) fn json_lines(
        &mut self,
        values: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<(), Failure> {
        let lines = values
            .into_iter()
            .map(|value| serde_json::to_string(&value));
        let lines: Result<Vec<String>, _> = lines.collect();
        self.lines(&lines.map_err(|error| error.to_string())?)
    }

    /// Names and values, one below the other; a value that is longer than the line goes on in the next.
    /// Those without a value are left out.
    pub(super) fn fields(&mut self, fields: &[(&str, String)]) -> Result<(), Failure> {
        let longest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let room = self.width.map_or(usize::MAX, |width| {
            width.saturating_sub(longest + GAP).max(NARROWEST)
        });
        let mut lines = Vec::new();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            let mut name = *name;
            for part in parts(value, room) {
                let shown = self.look(Look::Faint, &format!("{name:longest$}"));
                lines.push(format!("{shown}  {part}"));
                name = "";
            }
        }
        self.lines(&lines)
    }

    /// A text beside a margin of so many columns; below of it, where there is no room beside it.
    pub(super) fn hanging(
        &mut self,
        margin: &str,
        columns: usize,
        text: &str,
    ) -> Result<(), Failure> {
        let width = self.width.unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        if width < 2 * columns {
            lines.extend(Some(margin.trim_end().to_owned()).filter(|margin| !margin.is_empty()));
            let room = width.saturating_sub(GAP).max(NARROWEST);
            lines.extend(parts(text, room).iter().map(|part| format!("  {part}")));
        } else {
            let mut margin = margin.to_owned();
            for part in parts(text, width.saturating_sub(columns)) {
                lines.push(format!("{margin}{part}"));
                margin = " ".repeat(columns);
            }
        }
        self.lines(&lines)
    }

    /// The next rows of a table, with its header before the first.
    pub(super) fn rows(&mut self, table: &mut Table, rows: &[Vec<String>]) -> Result<(), Failure> {
        let lines = self.laid_out(table, rows);
        self.lines(&lines)
    }

    /// The lines of the next rows of a table, with its header before the first.
    pub(super) fn laid_out(&self, table: &mut Table, rows: &[Vec<String>]) -> Vec<String> {
        let mut lines = table.laid_out(rows, self.width);
        if let Some(header) = lines.header {
            lines.rows.insert(0, self.look(Look::Strong, &header));
        }
        lines.rows
    }

    /// A line that is cut where the terminal ends.
    pub(super) fn fitting(&self, text: &str) -> String {
        match self.width {
            Some(width) => shortened(text, width),
            None => text.to_owned(),
        }
    }

    /// Below what is there already; at a terminal instead of it, as much as there is room for.
    pub(super) fn screen(&mut self, mut lines: Vec<String>) -> Result<(), Failure> {
        if !self.is_terminal {
            lines.push(String::new());
            return self.lines(&lines);
        }
        let height = ratatui::crossterm::terminal::size().map_or(24, |(_, rows)| usize::from(rows));
        let room = height.saturating_sub(1).max(1);
        if lines.len() > room {
            let hidden = lines.len() - room + 1;
            lines.truncate(room - 1);
            lines.push(self.fitting(&format!("… {hidden} more lines")));
        }
        // From the top; each line up to its end, and then all that is below.
        let mut text = "\u{1b}[H".to_owned();
        for line in lines {
            text.push_str(&line);
            text.push_str("\u{1b}[K\n");
        }
        text.push_str("\u{1b}[J");
        self.verbatim(text.as_bytes())
    }

    /// That nobody reads any more is found out by writing; whoever has nothing to write asks.
    pub(super) fn check_reader(&self) -> Result<(), Failure> {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd as _;

            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

            let stdout = io::stdout();
            let mut asked = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
            if poll(&mut asked, PollTimeout::ZERO).is_ok()
                && asked[0]
                    .revents()
                    .is_some_and(|found| found.contains(PollFlags::POLLERR))
            {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
            }
        }
        Ok(())
    }

    /// Whether a person looks at it while it is printed.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    pub(super) fn has_colours(&self) -> bool {
        self.has_colours
    }

    pub(super) fn look(&self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Plain => "",
            Look::Strong => "1",
            Look::Good => "32",
            Look::Warning => "33",
            Look::Bad => "31",
            Look::Faint => "2",
        };
        match self.has_colours && !code.is_empty() {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}
