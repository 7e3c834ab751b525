//! What only one side knows, and what is kept of it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::random;

/// A text of 122 random bits, written as a UUID of version 4.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// One that nobody has seen yet.
    pub fn random() -> Self {
        let mut bytes: [u8; 16] = random::bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits = format!("{:032x}", u128::from_be_bytes(bytes));
        let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
        let parts = parts.map(|(from, to)| digits.get(from..to).unwrap_or_default());
        Self(parts.join("-"))
    }

    /// The text, to be shown to the one whom it is for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is kept of a secret: it says whether a text is the secret, and not what the secret is.
pub(super) fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    match parts {
        [secret] => hash.update(secret),
        parts => {
            for part in parts {
                // With the lengths, so that no two lists of texts read the same.
                let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
                hash.update(length.to_be_bytes());
                hash.update(part);
            }
        }
    }
    hash.finalize().into()
}

/// In hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What hexadecimal digits stand for; `None` if they are not that.
pub(super) fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_uuid_of_version_4() {
        let secret = Secret::random();
        let text = secret.reveal();
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]));
        assert_ne!(secret, Secret::random());
        assert!(!format!("{secret:?}").contains(text));
    }

    #[test]
    fn hashes_are_those_of_sha256() {
        assert_eq!(
            hex(&hash(&["abc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_ne!(hash(&["a", "bc"]), hash(&["ab", "c"]));
    }

    #[test]
    fn hexadecimal_digits_are_read_back() {
        assert_eq!(bytes_of_hex(&hex(&[0, 171, 255])), Some(vec![0, 171, 255]));
        assert_eq!(bytes_of_hex("0AfF"), Some(vec![10, 255]));
        for wrong in ["0", "0g", "é0", "+1"] {
            assert_eq!(bytes_of_hex(wrong), None, "{wrong}");
        }
    }
}
