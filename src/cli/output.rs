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

    /// One JSON value on one line.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
        self.line(&text)
    }

    /// Names and values, one below the other. Those without a value are left out.
    pub(super) fn fields(&mut self, fields: &[(&str, String)]) -> Result<(), Failure> {
        let longest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            let name = self.look(Look::Faint, &format!("{name:longest$}"));
            self.line(&format!("{name}  {value}"))?;
        }
        Ok(())
    }

    /// A table that fits the terminal: the longest cells are cut where there is no room, and where
    /// there is hardly any, each row becomes lines of their own.
    pub(super) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let text = laid_out(header, rows, self.width);
        let mut lines = text.into_iter();
        if let Some(first) = lines.next() {
            let first = self.look(Look::Strong, &first);
            self.line(&first)?;
        }
        for line in lines {
            self.line(&line)?;
        }
        Ok(())
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

fn laid_out(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let mut widths: Vec<usize> = header.iter().map(|name| name.width()).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = cell.width().max(*widest);
        }
    }
    if let Some(width) = width {
        let room = width.saturating_sub(GAP * widths.len().saturating_sub(1));
        if NARROWEST * widths.len() > room {
            return records(header, rows, width);
        }
        while widths.iter().sum::<usize>() > room {
            let Some(widest) = widths.iter_mut().max_by_key(|widest| **widest) else {
                break;
            };
            *widest -= 1;
        }
    }
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let line = |cells: &Vec<String>| {
        let mut line = String::new();
        for (cell, widest) in cells.iter().zip(&widths) {
            let cell = shortened(cell, *widest);
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', widest - cell.width() + GAP));
        }
        line.trim_end().to_owned()
    };
    std::iter::once(&header).chain(rows).map(line).collect()
}

fn records(header: &[&str], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        for (name, cell) in header.iter().zip(row) {
            let cell = cell.as_str();
            if !cell.is_empty() {
                lines.push(shortened(&format!("{name}: {cell}"), width));
            }
        }
        lines.push(String::new());
    }
    lines.pop();
    lines
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
        laid_out(&["MUTEX", "HOLDER", "LEFT"], &rows, width)
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
        assert_eq!(table(Some(40))[2], "orders/edit/a-very-long…  東京");
        assert_eq!(table(Some(24))[1], "HOLDER: Ada");
    }
}
