use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, Result};

/// Longest time that a session can be locked for: 100 years.
const LONGEST: f64 = 3_153_600_000.0;

/// A session of a pool: an account, a proxy, a device that many workers share, as the database last
/// showed it. All times are the database's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PooledSession<T = Value> {
    /// The pool that it belongs to.
    pub collection: String,
    /// Its number.
    pub id: i64,
    /// What workers need of it.
    pub payload: T,
    /// Whether it may be used at all; false until somebody activates it.
    pub active: bool,
    /// Not to be used before; `None`: it never was locked.
    pub next_use: Option<DateTime<Utc>>,
    /// When it was taken last.
    pub last_use: Option<DateTime<Utc>>,
    /// How often it was used, by the word of those who took it.
    pub use_count: u64,
    /// How often with success.
    pub success_count: u64,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When anything about it was changed last.
    pub updated_at: DateTime<Utc>,
}

impl<T> PooledSession<T> {
    /// The same session with another view of its payload.
    pub(crate) fn with_payload<U>(
        self,
        change: impl FnOnce(T) -> Result<U>,
    ) -> Result<PooledSession<U>> {
        Ok(PooledSession {
            collection: self.collection,
            id: self.id,
            payload: change(self.payload)?,
            active: self.active,
            next_use: self.next_use,
            last_use: self.last_use,
            use_count: self.use_count,
            success_count: self.success_count,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// How a pool stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolStatistics {
    /// Which pool.
    pub collection: String,
    /// All its sessions.
    pub total: u64,
    /// Those that may be used, now or later.
    pub active: u64,
    /// Those that may not.
    pub inactive: u64,
    /// Those that could be taken now.
    pub ready: u64,
    /// Those that are leased; a lease that is over counts until somebody has noticed.
    pub in_use: u64,
    /// Those that are not to be used before some time, other than the blocked ones.
    pub locked: u64,
    /// Those that were blocked.
    pub blocked: u64,
    /// Uses of all its sessions.
    pub uses: u64,
    /// Successes of all its sessions.
    pub successes: u64,
    /// Successes for each use; `None` as long as there was none.
    pub success_rate: Option<f64>,
}

/// An index on a path of a pool's payloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolIndex {
    /// Its name in the database.
    pub name: String,
    /// The dotted path.
    pub path: String,
}

/// A length of time, in whatever units it is said; they add up.
///
/// ```
/// use pgmutex::Period;
/// use std::time::Duration;
///
/// let period = Period { hours: 1.5, ..Period::default() };
/// assert_eq!(Duration::try_from(period).unwrap(), Duration::from_secs(5400));
/// assert_eq!(Period::from(Duration::from_millis(250)).seconds, 0.25);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Period {
    /// Weeks.
    pub weeks: f64,
    /// Days of 24 hours.
    pub days: f64,
    /// Hours.
    pub hours: f64,
    /// Minutes.
    pub minutes: f64,
    /// Seconds.
    pub seconds: f64,
    /// Milliseconds.
    pub milliseconds: f64,
    /// Microseconds, the smallest unit that the database knows.
    pub microseconds: f64,
}

impl Period {
    /// So many days.
    pub fn days(days: f64) -> Self {
        Self {
            days,
            ..Self::default()
        }
    }

    /// So many hours.
    pub fn hours(hours: f64) -> Self {
        Self {
            hours,
            ..Self::default()
        }
    }

    /// So many minutes.
    pub fn minutes(minutes: f64) -> Self {
        Self {
            minutes,
            ..Self::default()
        }
    }

    /// So many seconds.
    pub fn seconds(seconds: f64) -> Self {
        Self {
            seconds,
            ..Self::default()
        }
    }

    /// In seconds, if it makes sense.
    pub(crate) fn in_seconds(self, field: &'static str) -> Result<f64> {
        let seconds = self.weeks * 604_800.0
            + self.days * 86_400.0
            + self.hours * 3_600.0
            + self.minutes * 60.0
            + self.seconds
            + self.milliseconds / 1e3
            + self.microseconds / 1e6;
        if (0.0..=LONGEST).contains(&seconds) {
            Ok(seconds)
        } else {
            Err(Error::InvalidInput {
                field,
                reason: "must be from 0 to 100 years".to_owned(),
            })
        }
    }
}

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self::seconds(duration.as_secs_f64())
    }
}

impl TryFrom<Period> for Duration {
    type Error = Error;

    fn try_from(period: Period) -> Result<Self> {
        Duration::try_from_secs_f64(period.in_seconds("period")?).map_err(|error| {
            Error::InvalidInput {
                field: "period",
                reason: error.to_string(),
            }
        })
    }
}

/// Deepest nesting of a payload, or of a value in it: far from what readers of JSON give up at.
const DEEPEST: usize = 100;

/// Refuses what the database could not store as JSON, or nobody read back: the character NUL in a
/// text or a name, and nesting that does not end.
pub(crate) fn check_json(field: &'static str, value: &Value) -> Result<()> {
    check_json_at(field, value, 0)
}

fn check_json_at(field: &'static str, value: &Value, depth: usize) -> Result<()> {
    let check = |value: &Value| check_json_at(field, value, depth + 1);
    let reason = match value {
        _ if depth > DEEPEST => format!("is nested more than {DEEPEST} levels deep"),
        Value::String(text) if text.contains('\0') => NO_NUL.to_owned(),
        Value::Object(entries) if entries.keys().any(|key| key.contains('\0')) => NO_NUL.to_owned(),
        Value::Array(values) => return values.iter().try_for_each(check),
        Value::Object(entries) => return entries.values().try_for_each(check),
        _ => return Ok(()),
    };
    Err(Error::InvalidInput { field, reason })
}

const NO_NUL: &str = "contains the character NUL, which PostgreSQL cannot store";
