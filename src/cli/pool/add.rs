use std::io::Read;

use clap::Args;
use serde_json::Value;

use super::{Failure, Output, session::Shown};
use crate::{mutexes::Mutexes, pool::SessionPool};

/// Adds sessions, ready to be used
#[derive(Debug, Args)]
pub(super) struct Add {
    /// The pool
    collection: String,

    /// What workers need of the session, a JSON object; -: as many as standard input has, which keeps
    /// secrets out of the arguments, where others can see them
    #[arg(value_name = "JSON", default_value = "-", hide_default_value = true)]
    payload: String,
}

impl Add {
    pub(super) async fn run(self, mutexes: &Mutexes, output: &mut Output) -> Result<(), Failure> {
        let payloads = match self.payload.as_str() {
            "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                objects(&text)
            }
            text => objects(text),
        }?;
        let pool: SessionPool = SessionPool::new(mutexes, self.collection);
        for payload in payloads {
            let session = pool.add(&payload).await?;
            Shown::NOTHING.print(output, &session, session.created_at)?;
        }
        Ok(())
    }
}

/// All are read before the first is added: a mistake in the last one adds none.
fn objects(text: &str) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter() {
        // The error names a line and a column, no more of what may be a secret.
        let value: Value = value
            .map_err(|error: serde_json::Error| Failure::usage(format!("no JSON: {error}")))?;
        if !value.is_object() {
            return Err(Failure::usage("a session's payload must be a JSON object"));
        }
        objects.push(value);
    }
    if objects.is_empty() {
        return Err(Failure::usage("there is no JSON object to add"));
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_objects_are_read_or_none() {
        assert_eq!(objects("{\"a\": 1}\n{} {\"b\": 2}").unwrap().len(), 3);
        for wrong in ["", "[]", "{} 1", "{\"password\": \"hidden\"", "{} {hidden}"] {
            let said = objects(wrong).unwrap_err().to_string();
            assert!(!said.contains("hidden"), "{said}");
        }
    }
}
