//! How a mutex is named on the command line: `group/mode/id`.

use std::fmt::{self, Write as _};

use crate::domain::{MutexId, Wish};

/// A mutex as people write it.
///
/// The first two slashes set the parts apart; all that follows is the id, slashes too, so that a path
/// of a tree can be written as it is. A slash in group or mode is written `%2F`, a percent sign `%25`
/// everywhere; `%` with any two hexadecimal digits is that byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MutexName(MutexId);

/// For the help of each command that takes one.
pub(super) const HOW_TO_NAME: &str = "\
A mutex is written group/mode/id: the first two slashes set the parts apart, the rest is the id. \
In group and mode a slash is written %2F; everywhere a percent sign is %25, and % with two hexadecimal \
digits is that byte. So deploy/prod/1 is group deploy, mode prod, id 1; and //backup has only an id.";

impl MutexName {
    pub(super) fn id(&self) -> &MutexId {
        &self.0
    }

    /// For clap.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '/');
        let (Some(group), Some(mode), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(
                "write it group/mode/id, as in deploy/prod/1; //x has only an id".to_owned(),
            );
        };
        let id = MutexId::new(decoded(group)?, decoded(mode)?, decoded(id)?);
        id.map(Self).map_err(|error| error.to_string())
    }
}

impl From<&MutexName> for Wish {
    fn from(name: &MutexName) -> Self {
        name.0.clone().into()
    }
}

fn decoded(part: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(
                "a % must be followed by two hexadecimal digits; a percent sign is %25".to_owned(),
            );
        };
        bytes.extend(u8::try_from(high * 16 + low));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 once decoded".to_owned())
}

/// As it would be written on the command line, on one line and without anything that a terminal or a
/// shell's word would not take as it is.
pub(super) fn written(id: &MutexId) -> String {
    let mut text = String::new();
    encode(&mut text, id.group(), true);
    text.push('/');
    encode(&mut text, id.mode(), true);
    text.push('/');
    encode(&mut text, id.id(), false);
    text
}

fn encode(text: &mut String, part: &str, slash: bool) {
    for c in part.chars() {
        let is_told_apart = c == '%' || c == '/' && slash;
        if is_told_apart || c.is_whitespace() || super::printable::is_hidden(c) {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                // Writing to a text cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
}

impl fmt::Display for MutexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same_mutex() {
        for (group, mode, id) in [
            ("deploy", "prod", "1"),
            ("", "", "x"),
            ("a/b", "c%d", "e/f%g"),
            ("orders", "tree", "/rack1/a%2Fb/"),
            ("g", "", "a b\tc\u{1b}\u{202e}é"),
            ("g", "/", ""),
        ] {
            let id = MutexId::new(group, mode, id).unwrap();
            let text = written(&id);
            assert_eq!(MutexName::parse(&text).unwrap().id(), &id, "{text}");
            assert!(!text.contains(char::is_whitespace), "{text}");
        }
    }

    #[test]
    fn a_name_reads_as_documented() {
        let read = |text| MutexName::parse(text).map(|name| name.0);
        let id = |group, mode, id| Ok(MutexId::new(group, mode, id).unwrap());
        assert_eq!(read("deploy/prod/1"), id("deploy", "prod", "1"));
        assert_eq!(read("//backup"), id("", "", "backup"));
        assert_eq!(
            read("lab/tree//rack1/board3/"),
            id("lab", "tree", "/rack1/board3/")
        );
        assert_eq!(read("a%2Fb/m/50%25"), id("a/b", "m", "50%"));
        for wrong in [
            "deploy", "a/b", "//", "", "a/b/50%", "a/b/%zz", "a/b/%ff", "a/b/%00",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
