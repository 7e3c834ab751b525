//! Connection URLs.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The port is named although it is the usual one: it is part of the socket's name, and PGPORT
/// could say otherwise.
pub(super) fn of_database(database: &str, socket_dir: &Path, port: u16) -> String {
    let database = percent_encoded(database.as_bytes());
    let host = percent_encoded(socket_dir.as_os_str().as_bytes());
    format!("postgres://postgres@/{database}?host={host}&port={port}")
}

fn percent_encoded(bytes: &[u8]) -> String {
    let encoded = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_unusual_is_encoded() {
        assert_eq!(
            of_database("a b/ü?", Path::new("/tmp/x&y"), 5432),
            "postgres://postgres@/a%20b%2F%C3%BC%3F?host=%2Ftmp%2Fx%26y&port=5432"
        );
    }
}
