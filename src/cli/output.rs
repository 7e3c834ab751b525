//! What a command prints.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Failure;

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

/// Between two columns.
const GAP: usize = 2;
/// No column is made narrower than this.
const NARROWEST: usize = 8;

/// A table that fits the terminal: the longest cells are cut where there is no room, and where there
/// is hardly any, each row becomes lines of its own. It can be laid out piece by piece: a column never
/// gets narrower.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<String>,
    widths: Vec<usize>,
    is_begun: bool,
}

struct Lines {
    header: Option<String>,
    rows: Vec<String>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            widths: header.iter().map(|name| name.width()).collect(),
            is_begun: false,
        }
    }

    fn laid_out(&mut self, rows: &[Vec<String>], width: Option<usize>) -> Lines {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        for row in rows {
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = cell.width().max(*widest);
            }
        }
        let mut widths = self.widths.clone();
        if let Some(width) = width {
            let room = width.saturating_sub(GAP * widths.len().saturating_sub(1));
            let narrowest: usize = widths.iter().map(|widest| NARROWEST.min(*widest)).sum();
            if narrowest > room {
                return self.records(rows, width, is_first);
            }
            while widths.iter().sum::<usize>() > room {
                let Some(widest) = widths.iter_mut().max_by_key(|widest| **widest) else {
                    break;
                };
                *widest -= 1;
            }
        }
        let line = |cells: &Vec<String>| {
            let mut line = String::new();
            for (cell, widest) in cells.iter().zip(&widths) {
                let cell = shortened(cell, *widest);
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', widest - cell.width() + GAP));
            }
            line.trim_end().to_owned()
        };
        Lines {
            header: is_first.then(|| line(&self.header)),
            rows: rows.iter().map(line).collect(),
        }
    }

    fn records(&self, rows: &[Vec<String>], width: usize, is_first: bool) -> Lines {
        let mut lines = Vec::new();
        for row in rows {
            if !is_first || !lines.is_empty() {
                lines.push(String::new());
            }
            for (name, cell) in self.header.iter().zip(row) {
                if !cell.is_empty() {
                    lines.push(shortened(&format!("{name}: {cell}"), width));
                }
            }
        }
        Lines {
            header: None,
            rows: lines,
        }
    }
}

/// The lines of a text, none of them longer than so many columns, broken between words where that is
/// possible.
fn parts(text: &str, width: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        if used > 0 && used + word.trim_end().width() > width {
            parts.push(std::mem::take(&mut part).trim_end().to_owned());
            used = 0;
        }
        for c in word.chars() {
            let columns = c.width().unwrap_or(0);
            if used + columns > width && c != ' ' {
                parts.push(std::mem::take(&mut part));
                used = 0;
            }
            part.push(c);
            used += columns;
        }
    }
    parts.push(part.trim_end().to_owned());
    parts
}

/// A text of at most so many columns.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if columns > left {
            break;
        }
        left -= columns;
        short.push(c);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: Option<usize>) -> Vec<String> {
        let rows = [
            vec![
                "deploy/prod/1".to_owned(),
                "Ada".to_owned(),
                "4m12s".to_owned(),
            ],
            vec![
                "orders/edit/a-very-long-name-of-a-mutex".to_owned(),
                "東京".to_owned(),
                String::new(),
            ],
        ];
        let lines = Table::new(&["MUTEX", "HOLDER", "LEFT"]).laid_out(&rows, width);
        lines.header.into_iter().chain(lines.rows).collect()
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let lines = table(None);
        assert_eq!(
            lines[0],
            "MUTEX                                    HOLDER  LEFT"
        );
        assert_eq!(lines[2], "orders/edit/a-very-long-name-of-a-mutex  東京");
    }

    #[test]
    fn a_table_fits_its_terminal() {
        for width in [20, 30, 40, 80] {
            let lines = table(Some(width));
            assert!(lines.iter().all(|line| line.width() <= width), "{lines:#?}");
            assert!(lines.iter().any(|line| line.contains("Ada")), "{lines:#?}");
        }
        assert_eq!(table(Some(40))[2], "orders/edit/a-very-long-…  東京");
        assert_eq!(table(Some(20))[1], "HOLDER: Ada");
    }

    #[test]
    fn a_long_value_goes_on_in_the_next_line() {
        assert_eq!(parts("a東京b", 3), ["a東", "京b"]);
        assert_eq!(parts("", 3), [""]);
        assert_eq!(parts("one two three", 7), ["one two", "three"]);
        assert_eq!(parts("a thousand", 5), ["a", "thous", "and"]);
        assert_eq!(parts("one two", usize::MAX), ["one two"]);
    }

    #[test]
    fn a_table_can_be_printed_piece_by_piece() {
        let mut table = Table::new(&["MUTEX", "LEFT"]);
        let rows = |names: &[&str]| -> Vec<Vec<String>> {
            let row = |name: &&str| vec![(*name).to_owned(), "1s".to_owned()];
            names.iter().map(row).collect()
        };
        let first = table.laid_out(&rows(&["deploy/prod/1"]), None);
        let second = table.laid_out(&rows(&["//x"]), None);
        assert_eq!(first.header.unwrap(), "MUTEX          LEFT");
        assert_eq!(second.header, None);
        assert_eq!(second.rows, ["//x            1s"]);
        let narrow = Some(6);
        let first = Table::new(&["A", "B"]).laid_out(&rows(&["a"]), narrow);
        assert_eq!(first.rows, ["a  1s"]);
    }
}
