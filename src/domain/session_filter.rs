use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which sessions of a pool are meant: those for which all conditions hold. Without any, all are.
///
/// Paths lead into the payload, with dots between the names.
///
/// ```
/// use pgmutex::SessionFilter;
///
/// let german = SessionFilter::all().equal("session.country", "DE").contains(serde_json::json!({"tags": ["fast"]}));
/// # let _ = german;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionFilter {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    test: Test,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
    Exists,
    Missing,
}

impl SessionFilter {
    /// All sessions.
    pub fn all() -> Self {
        Self::default()
    }

    fn at(mut self, path: impl Into<String>, test: Test, value: Option<Value>) -> Self {
        self.conditions.push(Condition {
            field: None,
            path: Some(path.into()),
            test,
            value,
        });
        self
    }

    fn on(mut self, field: &str, test: Test, value: Value) -> Self {
        self.conditions.push(Condition {
            field: Some(field.to_owned()),
            path: None,
            test,
            value: Some(value),
        });
        self
    }

    /// The value at this path is this one.
    pub fn equal(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.at(path, Test::Equal, Some(value.into()))
    }

    /// There is another value at this path, or none.
    pub fn not_equal(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.at(path, Test::NotEqual, Some(value.into()))
    }

    /// The value at this path is of the same kind and smaller.
    pub fn less(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.at(path, Test::Less, Some(value.into()))
    }

    /// The value at this path is of the same kind and not larger.
    pub fn at_most(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.at(path, Test::LessOrEqual, Some(value.into()))
    }

    /// The value at this path is of the same kind and larger.
    pub fn greater(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.at(path, Test::Greater, Some(value.into()))
    }

    /// The value at this path is of the same kind and not smaller.
    pub fn at_least(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.at(path, Test::GreaterOrEqual, Some(value.into()))
    }

    /// There is a value at this path, be it `null`.
    pub fn exists(self, path: impl Into<String>) -> Self {
        self.at(path, Test::Exists, None)
    }

    /// There is no value at this path.
    pub fn missing(self, path: impl Into<String>) -> Self {
        self.at(path, Test::Missing, None)
    }

    /// The payload contains this document: its objects have at least these entries, its arrays at
    /// least these elements. So `{"tags": ["fast"]}` chooses by tags.
    pub fn contains(mut self, document: impl Into<Value>) -> Self {
        self.conditions.push(Condition {
            field: None,
            path: None,
            test: Test::Contains,
            value: Some(document.into()),
        });
        self
    }

    /// The session with this number.
    pub fn id(self, id: i64) -> Self {
        self.on("id", Test::Equal, id.into())
    }

    /// Those that may be used at all, or those that may not.
    pub fn active(self, active: bool) -> Self {
        self.on("active", Test::Equal, active.into())
    }

    /// Not to be used before this time, or earlier.
    pub fn next_use_until(self, time: DateTime<Utc>) -> Self {
        self.on("next_use", Test::LessOrEqual, time.to_rfc3339().into())
    }

    /// Taken last before this time.
    pub fn last_use_before(self, time: DateTime<Utc>) -> Self {
        self.on("last_use", Test::Less, time.to_rfc3339().into())
    }

    /// Used at least so often.
    pub fn used_at_least(self, count: u64) -> Self {
        self.on("use_count", Test::GreaterOrEqual, count.into())
    }

    /// Also what another filter asks for.
    pub fn and(mut self, other: Self) -> Self {
        self.conditions.extend(other.conditions);
        self
    }

    /// The paths that it names.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let paths = self.conditions.iter();
        paths.filter_map(|condition| condition.path.as_deref())
    }

    /// What the values are compared with.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.conditions
            .iter()
            .filter_map(|condition| condition.value.as_ref())
    }
}
