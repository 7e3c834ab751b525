//! Texts in as many columns as there are.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
pub(super) const GAP: usize = 2;
/// No column is made narrower than this.
pub(super) const NARROWEST: usize = 8;

/// A table that fits the terminal: the longest cells are cut where there is no room, and where there
/// is hardly any, each row becomes lines of its own. Numbers are never cut: half a token is another
/// token. It can be laid out piece by piece: a column never gets narrower.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<String>,
    widths: Vec<usize>,
    /// Which columns have nothing but numbers so far.
    are_numbers: Vec<bool>,
    is_begun: bool,
}

/// Some of its lines.
pub(super) struct Lines {
    pub(super) header: Option<String>,
    pub(super) rows: Vec<String>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            widths: header.iter().map(|name| name.width()).collect(),
            are_numbers: vec![true; header.len()],
            is_begun: false,
        }
    }

    pub(super) fn laid_out(&mut self, rows: &[Vec<String>], width: Option<usize>) -> Lines {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        for row in rows {
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = cell.width().max(*widest);
            }
            for (are_numbers, cell) in self.are_numbers.iter_mut().zip(row) {
                *are_numbers &= cell.bytes().all(|byte| byte.is_ascii_digit());
            }
        }
        let mut widths = self.widths.clone();
        if let Some(width) = width {
            let room = width.saturating_sub(GAP * widths.len().saturating_sub(1));
            let columns = widths.iter().zip(&self.are_numbers);
            let narrowest = columns.map(|(widest, are_numbers)| match are_numbers {
                true => *widest,
                false => NARROWEST.min(*widest),
            });
            if narrowest.sum::<usize>() > room {
                return self.records(rows, width, is_first);
            }
            while widths.iter().sum::<usize>() > room {
                let columns = widths.iter_mut().zip(&self.are_numbers);
                let texts = columns.filter(|(_, are_numbers)| !**are_numbers);
                let Some((widest, _)) = texts.max_by_key(|(widest, _)| **widest) else {
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
pub(super) fn parts(text: &str, width: usize) -> Vec<String> {
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
    fn a_number_is_not_cut() {
        let rows = [vec!["deploy/prod/1".to_owned(), "1099511627777".to_owned()]];
        let at = |width| {
            Table::new(&["MUTEX", "TOKEN"])
                .laid_out(&rows, Some(width))
                .rows
        };
        assert_eq!(at(24), ["deploy/p…  1099511627777"]);
        assert_eq!(at(22), ["MUTEX: deploy/prod/1", "TOKEN: 1099511627777"]);
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
