use std::{fmt, time::Duration};

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Error, Mutex, limits};

/// Longest timeout, in seconds: 100 years.
const LONGEST_TIMEOUT: u64 = 3_153_600_000;

/// What a timeout that is no number, and a deadline that is no time, count as, in seconds.
const FALLBACK_TIMEOUT: u64 = 300;

/// Codes that the database judges by itself: a custom rule cannot have them.
const BUILT_IN: [&str; 5] = ["", "never", "timeout", "deadline", "connection"];

/// The rule that says when a hold is over by itself.
///
/// It is stored as two texts, a code and a setting, which [`dump`](Self::dump) gives and
/// [`restore`](Self::restore) reads; in serde's formats it is `{"rule": "timeout", "config":
/// "300"}`. The default is a timeout of 300 seconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "RuleTexts", into = "RuleTexts")]
#[non_exhaustive]
pub enum AutoRelease {
    /// Only a release ends the hold. A holder that dies keeps the mutex until someone forces its
    /// release.
    Never,
    /// Over when this time has passed since the capture or the last refresh: whole seconds, from 1
    /// to 100 years.
    Timeout(Duration),
    /// Over when this moment has passed, however often the hold is refreshed.
    Deadline(DateTime<Utc>),
    /// Over when the holder's database session is gone, at the latest when the time has passed since
    /// the capture or the last refresh, if there is one.
    Connection {
        /// The number of the session, as the SQL function `attach_session` gives it.
        session: u64,
        /// Whole seconds, from 1 to 100 years.
        timeout: Option<Duration>,
    },
    /// A rule of the application's own: the database treats the hold as held, and a client that has
    /// an [`AutoReleaseRule`] registered for the code decides.
    Custom {
        /// The code by which the rule is known.
        code: String,
        /// The rule's setting, in the rule's own format.
        config: String,
    },
    /// A built-in code with a setting that makes no sense, as another program may have written it.
    /// Shown as it is. The database counts it as a timeout of 300 seconds, or as over at once
    /// or never if it is a number out of range.
    Malformed {
        /// The code: `timeout`, `deadline` or `connection`.
        code: String,
        /// The setting that makes no sense.
        config: String,
    },
}

#[derive(Serialize, Deserialize)]
struct RuleTexts {
    rule: String,
    #[serde(default)]
    config: String,
}

impl Default for AutoRelease {
    fn default() -> Self {
        Self::Timeout(Duration::from_secs(FALLBACK_TIMEOUT))
    }
}

impl AutoRelease {
    /// The two texts that stand for the rule in the table: code and setting.
    pub fn dump(&self) -> (String, String) {
        match self {
            Self::Never => (String::new(), String::new()),
            Self::Timeout(timeout) => ("timeout".to_owned(), timeout.as_secs().to_string()),
            Self::Deadline(deadline) => (
                "deadline".to_owned(),
                deadline.to_rfc3339_opts(SecondsFormat::Micros, true),
            ),
            Self::Connection { session, timeout } => (
                "connection".to_owned(),
                match timeout {
                    Some(timeout) => format!("{session} {}", timeout.as_secs()),
                    None => session.to_string(),
                },
            ),
            Self::Custom { code, config } | Self::Malformed { code, config } => {
                (code.clone(), config.clone())
            }
        }
    }

    /// The rule that two texts from the table stand for. Any two texts give one.
    pub fn restore(code: impl Into<String>, config: impl Into<String>) -> Self {
        let (code, config) = (code.into(), config.into());
        match code.as_str() {
            "" | "never" => Self::Never,
            "timeout" => match seconds(&config) {
                Some(Seconds::Within(seconds)) => Self::Timeout(Duration::from_secs(seconds)),
                _ => Self::Malformed { code, config },
            },
            "deadline" => match deadline(&config) {
                Some(deadline) => Self::Deadline(deadline),
                None => Self::Malformed { code, config },
            },
            "connection" => match connection(&config) {
                Some((session, timeout)) => Self::Connection { session, timeout },
                None => Self::Malformed { code, config },
            },
            _ => Self::Custom { code, config },
        }
    }

    /// Whether a hold may be captured under this rule.
    ///
    /// # Errors
    /// [`Error::InvalidRule`] for a timeout that is not whole seconds from 1 to 3,153,600,000 (100
    /// years), a deadline outside the years 1 to 9999, a custom rule with a built-in code, a
    /// code of over 400 or a setting of over 1,600 bytes, and for a malformed rule.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |reason: &str| {
            Err(Error::InvalidRule {
                reason: reason.to_owned(),
            })
        };
        match self {
            Self::Never => Ok(()),
            Self::Timeout(timeout)
                if timeout.subsec_nanos() != 0
                    || !(1..=LONGEST_TIMEOUT).contains(&timeout.as_secs()) =>
            {
                refuse(
                    "auto_release_config of a timeout must be whole seconds from 1 to 3153600000 (100 years)",
                )
            }
            Self::Timeout(_) => Ok(()),
            Self::Connection { session, .. } if !(1..10_u64.pow(18)).contains(session) => {
                refuse("the number of a database session has from 1 to 18 digits")
            }
            Self::Connection {
                timeout: Some(timeout),
                ..
            } => Self::Timeout(*timeout).check(),
            Self::Connection { timeout: None, .. } => Ok(()),
            Self::Deadline(deadline) if !can_be_deadline(deadline) => {
                refuse("a deadline must be in the years 1 to 9999, and not in a leap second")
            }
            Self::Deadline(_) => Ok(()),
            Self::Custom { code, .. } if BUILT_IN.contains(&code.as_str()) => {
                refuse("a custom rule cannot have the code of a built-in one")
            }
            Self::Custom { code, config } => {
                limits::check("auto_release_rule", code, limits::AUTO_RELEASE_RULE)
                    .and_then(|()| {
                        limits::check("auto_release_config", config, limits::AUTO_RELEASE_CONFIG)
                    })
                    .map_err(Error::of_a_rule)
            }
            Self::Malformed { code, config } => Err(Error::InvalidRule {
                reason: format!("{config:?} makes no sense as the setting of {code}"),
            }),
        }
    }

    /// When a hold captured or refreshed at this time is over: `None` if the rule is not one of
    /// time. The database's function `rule_ends_at` gives the same answers; a moment beyond
    /// what [`DateTime`] can say is its first or last.
    pub fn ends_at(&self, captured_since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Never | Self::Custom { .. } | Self::Connection { timeout: None, .. } => None,
            Self::Deadline(deadline) => Some(*deadline),
            Self::Timeout(timeout)
            | Self::Connection {
                timeout: Some(timeout),
                ..
            } => Some(after(captured_since, timeout.as_secs())),
            Self::Malformed { code, config } => Some(match seconds(config) {
                Some(Seconds::Negative(seconds)) if code == "timeout" => {
                    TimeDelta::try_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
                        .and_then(|delta| captured_since.checked_sub_signed(delta))
                        .unwrap_or(DateTime::<Utc>::MIN_UTC)
                }
                Some(Seconds::TooMany) if code == "timeout" => DateTime::<Utc>::MAX_UTC,
                Some(Seconds::TooFew) if code == "timeout" => DateTime::<Utc>::MIN_UTC,
                _ => after(captured_since, FALLBACK_TIMEOUT),
            }),
        }
    }
}

fn after(start: DateTime<Utc>, seconds: u64) -> DateTime<Utc> {
    i64::try_from(seconds)
        .ok()
        .and_then(TimeDelta::try_seconds)
        .and_then(|delta| start.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Reads what `rule_ends_at` reads: a time as in RFC 3339, but not in a leap second, with at most
/// nine decimals and an offset of less than 16 hours (PostgreSQL knows no larger ones), in the
/// years that can be written so in UTC.
fn deadline(config: &str) -> Option<DateTime<Utc>> {
    let written = DateTime::parse_from_rfc3339(config).ok()?;
    let decimals = config.split_once('.').map_or(0, |(_, rest)| {
        rest.bytes().take_while(u8::is_ascii_digit).count()
    });
    let is_read = config.is_ascii()
        && decimals <= 9
        && written.offset().local_minus_utc().abs() < 16 * 3600
        && written.year() > 0;
    Some(written.to_utc()).filter(|deadline| is_read && can_be_deadline(deadline))
}

/// Reads what `rule_ends_at` reads: the number of a session, and perhaps a space and whole seconds.
fn connection(config: &str) -> Option<(u64, Option<Duration>)> {
    let number = |digits: &str, most_digits: usize| {
        let is_number = (1..=most_digits).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_number)
    };
    match config.split_once(' ') {
        None => Some((number(config, 18)?, None)),
        Some((session, seconds)) => {
            let seconds = number(seconds, 10).filter(|seconds| *seconds <= LONGEST_TIMEOUT)?;
            Some((number(session, 18)?, Some(Duration::from_secs(seconds))))
        }
    }
}

/// Whether a deadline can be written as a time that is read back as the same.
fn can_be_deadline(time: &DateTime<Utc>) -> bool {
    let is_in_leap_second = time.timestamp_subsec_nanos() >= 1_000_000_000;
    (1..=9999).contains(&time.year()) && !is_in_leap_second
}

/// The setting of a timeout, as a number.
enum Seconds {
    Within(u64),
    Negative(u64),
    TooMany,
    TooFew,
}

/// Reads what `rule_ends_at` reads: decimal digits with an optional sign, and spaces around them.
fn seconds(config: &str) -> Option<Seconds> {
    let trimmed = config.trim_matches([' ', '\t', '\r', '\n']);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More than 18 characters count as out of range without being read, zeros in front or not.
    let number = match digits.parse::<u64>() {
        Ok(number) if trimmed.len() <= 18 && number <= LONGEST_TIMEOUT => Some(number),
        _ => None,
    };
    Some(match (number, trimmed.starts_with('-')) {
        (Some(0), _) => Seconds::Within(0),
        (Some(number), false) => Seconds::Within(number),
        (Some(number), true) => Seconds::Negative(number),
        (None, false) => Seconds::TooMany,
        (None, true) => Seconds::TooFew,
    })
}

impl From<RuleTexts> for AutoRelease {
    fn from(texts: RuleTexts) -> Self {
        Self::restore(texts.rule, texts.config)
    }
}

impl From<AutoRelease> for RuleTexts {
    fn from(rule: AutoRelease) -> Self {
        let (rule, config) = rule.dump();
        Self { rule, config }
    }
}

/// For people.
impl fmt::Display for AutoRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Timeout(timeout) => write!(f, "after {} s", timeout.as_secs()),
            Self::Deadline(deadline) => write!(f, "at {deadline}"),
            Self::Connection {
                timeout: Some(timeout),
                ..
            } => write!(f, "with its connection, or after {} s", timeout.as_secs()),
            Self::Connection { timeout: None, .. } => f.write_str("with its connection"),
            Self::Custom { code, config } | Self::Malformed { code, config } => {
                write!(f, "{code} {config:?}")
            }
        }
    }
}

/// A rule of the application's own, registered with
/// [`MutexesBuilder::auto_release_rule`](crate::MutexesBuilder::auto_release_rule).
///
/// The database knows only its code and treats holds under it as held. A client that has the rule
/// registered asks it whenever such a hold is in its way, and every 1 to 8 seconds while it waits; it
/// evicts the hold if the rule says that it is over: exactly the hold that was judged, compared by
/// its fencing token.
pub trait AutoReleaseRule: fmt::Debug + Send + Sync {
    /// The code that holds under this rule are stored with, as in [`AutoRelease::Custom`].
    fn code(&self) -> &str;

    /// Whether the hold is over. `now` is the database's time. It must not block.
    fn is_over(&self, mutex: &Mutex, now: DateTime<Utc>) -> bool;
}
