//! What is compared as a whole.

use serde_json::Value;

use crate::program::Ended;

/// The JSON in each line, tidied.
pub(crate) fn json_lines(ended: &Ended) -> Vec<Value> {
    let lines = ended.output.lines();
    lines
        .map(|line| tidy(serde_json::from_str(line).unwrap_or_else(|_| panic!("{ended:?}"))))
        .collect()
}

/// The same JSON without what is different each time: times, tokens, and the name of this machine.
fn tidy(value: Value) -> Value {
    let is_time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).is_ok();
    match value {
        Value::Array(values) => values.into_iter().map(tidy).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| {
                let value = match (key.as_str(), value) {
                    ("fencing_token", Value::Number(_)) => "<token>".into(),
                    ("ticket", Value::Number(_)) => "<ticket>".into(),
                    ("host", Value::String(_)) => "<host>".into(),
                    (_, value) => tidy(value),
                };
                (key, value)
            })
            .collect(),
        Value::String(text) if is_time(&text) => "<time>".into(),
        value => value,
    }
}
