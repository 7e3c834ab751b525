//! Texts of other people's on a terminal or in a log: names of mutexes and owners have any
//! characters, and must not look like something else.

/// Whether a terminal would obey it or show nothing for it, so that it is spelled out.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The same text on one line, with what is hidden spelled out.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => line.extend(c.escape_default()),
            c if is_hidden(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_is_one_line_and_shows_all_it_has() {
        let shown = super::printable("a \"b\"\nc\u{1b}[1m\u{202e}é");
        assert_eq!(shown, "a \"b\"\\nc\\u{1b}[1m\\u{202e}é");
    }
}
