use tokio_postgres::{
    GenericClient, Row,
    types::{ToSql, Type},
};

use super::{
    SchemaName,
    hot::Statement,
    preparing::Prepared,
    row::{Outcome, Unreadable},
    sqlstate::Failure,
};
use crate::domain::{CaptureOutcome, Captured, Error, FencingToken, MutexId};

/// A value for a place in a statement, and its type: most statements are not prepared, so nobody
/// asks the server.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// One call of one function: where it is sent, and what errors need to know about it.
pub(super) struct Call<'a, C> {
    pub(super) client: &'a C,
    pub(super) schema: &'a SchemaName,
    pub(super) operation: &'static str,
    pub(super) id: Option<&'a MutexId>,
    pub(super) token: Option<FencingToken>,
    /// What is prepared on the connection, if anything may be.
    pub(super) prepared: Option<&'a Prepared>,
}

impl<C: GenericClient + Sync> Call<'_, C> {
    /// Asks for a decision.
    pub(super) async fn decide(
        &self,
        statement: impl Into<Statement<'_>>,
        parameters: &[Parameter<'_>],
    ) -> Result<Outcome, Error> {
        self.read(Outcome::read(self.one_row(statement, parameters).await?))
    }

    /// Asks for decisions, as many as this.
    pub(super) async fn decide_each(
        &self,
        statement: impl Into<Statement<'_>>,
        parameters: &[Parameter<'_>],
        count: usize,
    ) -> Result<Vec<Outcome>, Error> {
        let answers = self.answers(statement, parameters).await?;
        if answers.len() != count {
            return Err(self.senseless(format!("{} rows instead of {count}", answers.len())));
        }
        Ok(answers)
    }

    /// Asks for decisions.
    pub(super) async fn answers(
        &self,
        statement: impl Into<Statement<'_>>,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Outcome>, Error> {
        let rows = self.rows(statement, parameters).await?;
        rows.into_iter()
            .map(|row| self.read(Outcome::read(row)))
            .collect()
    }

    /// The capture that an answer tells of.
    pub(super) fn captured(&self, answer: Outcome) -> Result<Captured, Error> {
        let outcome = match answer.word.as_str() {
            "captured" => CaptureOutcome::Captured,
            "refreshed" => CaptureOutcome::Refreshed,
            "evicted" => CaptureOutcome::Evicted(self.read(answer.evicted())?),
            _ => return Err(self.refused(&answer)),
        };
        Ok(Captured::new(self.read(answer.mutex())?, outcome))
    }

    /// Asks for a count.
    pub(super) async fn number(
        &self,
        statement: impl Into<Statement<'_>>,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, Error> {
        let row = self.one_row(statement, parameters).await?;
        let number: i64 = self.read(row.try_get(0))?;
        u64::try_from(number).map_err(|_| self.senseless(format!("{number} is no count")))
    }

    /// Asks for one row.
    pub(super) async fn one_row(
        &self,
        statement: impl Into<Statement<'_>>,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, Error> {
        let mut rows = self.rows(statement, parameters).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(self.senseless("it is not one row".to_owned())),
        }
    }

    /// Asks for rows.
    pub(super) async fn rows(
        &self,
        statement: impl Into<Statement<'_>>,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        let failure = Failure {
            operation: self.operation,
            id: self.id,
            token: self.token,
            schema: self.schema,
        };
        let unnamed = match (statement.into(), self.prepared) {
            (Statement::Unnamed(text), _) => text,
            (Statement::Hot(hot), None) => hot.unnamed(),
            (Statement::Hot(hot), Some(prepared)) => {
                let answer = hot.ask(self.client.client(), prepared, parameters).await;
                match answer.map_err(|error| failure.translate(error))? {
                    Some(rows) => return Ok(rows),
                    None => hot.unnamed(),
                }
            }
        };
        self.client
            .query_typed(unnamed, parameters)
            .await
            .map_err(|error| failure.translate(error))
    }

    /// What was read from a row, or why it could not be.
    pub(super) fn read<T>(&self, value: Result<T, Unreadable>) -> Result<T, Error> {
        value.map_err(|error| self.senseless(error.to_string()))
    }

    /// The error for an outcome that is not one of success: busy, or a word of a newer version's.
    pub(super) fn refused(&self, answer: &Outcome) -> Error {
        match (answer.word.as_str(), self.id) {
            ("busy", Some(id)) => match self.read(answer.mutex()) {
                Ok(holder) => Error::Busy {
                    id: id.clone(),
                    holder: Box::new(holder),
                    observed_at: answer.observed_at,
                },
                Err(error) => error,
            },
            (word, _) => self.senseless(format!("outcome {word:?}")),
        }
    }

    /// The error for an answer that makes no sense.
    pub(super) fn senseless(&self, reason: String) -> Error {
        Error::Protocol {
            operation: self.operation,
            reason,
        }
    }
}
