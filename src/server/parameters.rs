//! The parameters of a query or of a form, read strictly: what cannot be read is said, not guessed.

use std::fmt::Display;

use super::problem::{INVALID, MALFORMED, Problem};

/// Names and values that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Those of a text such as `a=1&b=2`.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut parameters = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
            parameters.push((decoded(name)?, decoded(value)?));
        }
        Ok(Self(parameters))
    }

    /// Those of both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The value of one of them. Nobody can say which one of two was meant.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = None;
        for (_, value) in self.0.extract_if(.., |(known, _)| known == name) {
            if found.replace(value).is_some() {
                return Err(invalid(name, "is given more than once"));
            }
        }
        Ok(found)
    }

    /// The value of one of them, read as something else than a text.
    pub(super) fn take_as<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr,
        T::Err: Display,
    {
        let value = self.take(name)?;
        let read = value.map(|value| value.parse::<T>().map_err(|error| invalid(name, error)));
        read.transpose()
    }

    /// Refuses what nobody has taken: most likely a name was misspelt.
    pub(super) fn done(self) -> Result<(), Problem> {
        match self.0.first() {
            Some(_) => {
                let names: Vec<String> = self.0.into_iter().map(|(name, _)| name).collect();
                let detail = "the query has parameters that do not exist here";
                Err(Problem::new(MALFORMED, detail).with("parameters", names))
            }
            None => Ok(()),
        }
    }
}

/// A value that cannot be accepted.
pub(super) fn invalid(field: &str, reason: impl Display) -> Problem {
    Problem::new(INVALID, format!("{field}: {reason}")).with("field", field)
}

/// A text with `%41` for `A`.
pub(super) fn percent_decoded(text: &str) -> Result<String, Problem> {
    let refused = |detail| Err(Problem::new(MALFORMED, detail));
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = match (digit(), digit()) {
            (Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        match value {
            Some(value) => bytes.push(value),
            None => return refused("a `%` is not followed by two hexadecimal digits"),
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => refused("percent-encoded bytes are not UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let mut read = Parameters::parse("a=1+2&&b=%C3%A9%2B&c").unwrap();
        assert_eq!(read.take("a").unwrap().as_deref(), Some("1 2"));
        assert_eq!(read.take("b").unwrap().as_deref(), Some("é+"));
        assert_eq!(read.take("c").unwrap().as_deref(), Some(""));
        assert_eq!(read.take("d").unwrap(), None);
        assert!(read.done().is_ok());
    }

    #[test]
    fn what_is_given_twice_or_unknown_is_refused() {
        assert!(Parameters::parse("a=1&a=1").unwrap().take("a").is_err());
        assert!(Parameters::parse("a=1").unwrap().done().is_err());
    }

    #[test]
    fn only_two_digits_make_a_byte() {
        assert_eq!(percent_decoded("%41%7e").unwrap(), "A~");
        for wrong in ["%", "%4", "%4g", "%+1", "%ff", "%c3", "a%"] {
            assert!(percent_decoded(wrong).is_err(), "{wrong}");
        }
    }
}
