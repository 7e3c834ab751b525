//! Statements that are sent so often that preparing them pays.

use tokio_postgres::{
    Client, Error, Row,
    error::{Severity, SqlState},
    types::{ToSql, Type},
};

use super::{SchemaName, call::Parameter, preparing::Prepared};

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Statement<'a> {
    /// Typed and unnamed: parsed and planned at each call, and carried by every pooler.
    Unnamed(&'a str),
    /// The same, or prepared where that is possible.
    Hot(&'a Hot),
}

impl<'a> From<&'a str> for Statement<'a> {
    fn from(text: &'a str) -> Self {
        Self::Unnamed(text)
    }
}

impl<'a> From<&'a String> for Statement<'a> {
    fn from(text: &'a String) -> Self {
        Self::Unnamed(text)
    }
}

impl<'a> From<&'a Hot> for Statement<'a> {
    fn from(hot: &'a Hot) -> Self {
        Self::Hot(hot)
    }
}

/// A statement that calls one function.
///
/// Its plan is a scan of that function and no table: the server may keep it for as long as it likes,
/// it cannot become a bad one.
#[derive(Debug)]
pub(super) struct Hot {
    unnamed: String,
    gated: String,
    gate: String,
    gates: usize,
    no_row_is_an_answer: bool,
}

/// What became of a prepared statement that was not carried out as such.
enum Fault {
    /// What it answers has other types than when it was prepared: the schema was migrated.
    Outdated,
    /// It is not there, or it is another: nothing was done.
    Mistaken,
    /// It cannot be told what was done, and the answer was not ours.
    Incomprehensible,
    /// It is what it says, or there is no connection any more.
    None,
}

impl Hot {
    /// The statement with this text and so many places, which calls this function of this schema, and
    /// its gates. The text ends with its `from`, and the function answers at least one row.
    ///
    /// The gates are evaluated once, before the function is. Where it is another statement of this
    /// library's that answers to the name, they are closed: no row, and nothing done. One would do;
    /// there are as many as make the number of parameters one that no other hot statement has, so
    /// that values of one are never read as those of another.
    pub(super) fn new(
        unnamed: String,
        places: usize,
        gates: usize,
        schema: &SchemaName,
        function: &str,
    ) -> Self {
        let gate = format!("{schema}/{function}/{}", env!("CARGO_PKG_VERSION"));
        let text = gate.replace('\'', "''");
        let conditions: Vec<String> = (places + 1..=places + gates)
            .map(|place| format!("${place} = '{text}'"))
            .collect();
        let gated = format!("{unnamed} where {}", conditions.join(" and "));
        Self {
            unnamed,
            gated,
            gate,
            gates,
            no_row_is_an_answer: false,
        }
    }

    /// The same for a function whose answer may be no row, which then says that it has done nothing.
    /// So does the statement that was not meant, if its gates are closed: it cannot be told apart, and
    /// need not be.
    pub(super) fn or_no_row(self) -> Self {
        Self {
            no_row_is_an_answer: true,
            ..self
        }
    }

    pub(super) fn unnamed(&self) -> &str {
        &self.unnamed
    }

    /// How many parameters it has when it is prepared, read from its text.
    #[cfg(test)]
    pub(super) fn parameters(&self) -> usize {
        let places = self.gated.split('$').skip(1).map(|after| {
            let end = after.find(|sign: char| !sign.is_ascii_digit());
            after[..end.unwrap_or(after.len())].parse().unwrap_or(0)
        });
        places.max().unwrap_or(0)
    }

    /// Asks by the prepared statement. `None`: nothing was done, and it has to be asked otherwise.
    /// Only where the call is a transaction of its own: within another an error would be its end.
    pub(super) async fn ask(
        &self,
        client: &Client,
        prepared: &Prepared,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Vec<Row>>, Error> {
        let (mut values, mut types): (Vec<&(dyn ToSql + Sync)>, Vec<Type>) = parameters
            .iter()
            .map(|(value, type_)| (*value, type_.clone()))
            .unzip();
        for _ in 0..self.gates {
            values.push(&self.gate);
            types.push(Type::TEXT);
        }
        let mut anew = false;
        loop {
            let answer = async {
                let statement = prepared.cache.prepare_typed(client, &self.gated, &types);
                client.query(&statement.await?, &values).await
            };
            let error = match answer.await {
                Ok(rows) if self.no_row_is_an_answer || !rows.is_empty() => return Ok(Some(rows)),
                Ok(_) => {
                    prepared.distrust("another statement has answered");
                    return Ok(None);
                }
                Err(error) => error,
            };
            match fault(&error) {
                Fault::Outdated if anew => return Ok(None),
                Fault::Outdated => {
                    drop(prepared.cache.remove(&self.gated, &types));
                    anew = true;
                }
                Fault::Mistaken => {
                    prepared.distrust(&error.to_string());
                    return Ok(None);
                }
                Fault::Incomprehensible => {
                    prepared.distrust(&error.to_string());
                    return Err(error);
                }
                Fault::None => return Err(error),
            }
        }
    }
}

fn fault(error: &Error) -> Fault {
    let Some(answer) = error.as_db_error() else {
        return match error.is_closed() {
            true => Fault::None,
            false => Fault::Incomprehensible,
        };
    };
    // An error of the server's undoes the whole call. Anything graver ends the connection as well,
    // and says nothing about the call.
    if answer.parsed_severity() != Some(Severity::Error) {
        return Fault::None;
    }
    match answer.code() {
        // "cached plan must not change result type"
        &SqlState::FEATURE_NOT_SUPPORTED => Fault::Outdated,
        &SqlState::INVALID_SQL_STATEMENT_NAME
        | &SqlState::DUPLICATE_PSTATEMENT
        | &SqlState::PROTOCOL_VIOLATION => Fault::Mistaken,
        // A value was read as one of another type: the driver writes them as what they are, and no
        // text with a NUL in it comes this far.
        &SqlState::INVALID_BINARY_REPRESENTATION | &SqlState::CHARACTER_NOT_IN_REPERTOIRE => {
            Fault::Mistaken
        }
        _ => Fault::None,
    }
}
