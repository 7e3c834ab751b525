use std::{str::FromStr, time::Duration};

/// A length of time, written as seconds: `90` or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seconds(pub(super) Duration);

#[derive(Debug, thiserror::Error)]
#[error("is not a number of seconds such as 90 or 0.5")]
pub(super) struct NoSeconds;

impl Seconds {
    pub(super) fn new(number: f64) -> Result<Self, NoSeconds> {
        match Duration::try_from_secs_f64(number) {
            Ok(duration) => Ok(Self(duration)),
            // As good as for ever, and bounded by whoever uses it.
            Err(_) if number.is_finite() && number > 0.0 => Ok(Self(Duration::MAX)),
            Err(_) => Err(NoSeconds),
        }
    }
}

impl FromStr for Seconds {
    type Err = NoSeconds;

    fn from_str(text: &str) -> Result<Self, NoSeconds> {
        let is_plain = text.len() <= 30
            && text.starts_with(|c: char| c.is_ascii_digit())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
        match text.parse::<f64>() {
            Ok(number) if is_plain => Self::new(number),
            _ => Err(NoSeconds),
        }
    }
}
