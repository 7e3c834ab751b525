//! Bad input: names, owners, rules and status texts that nobody should send. Each gets a typed
//! error or makes an exact round trip, in the same words from Rust and from SQL. A refused call
//! changes nothing, and nothing gets stuck.

mod calls;
mod rules;
mod serialized;
mod texts;

use pgmutex::{Error, Mutexes};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::support::Database;

/// What an error of the server says: its SQLSTATE and its message.
fn refusal(error: tokio_postgres::Error) -> (String, String) {
    let answer = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (answer.code().code().to_owned(), answer.message().to_owned())
}

/// The words of an error that says what is wrong with an argument, as SQL says them.
fn words(error: &Error) -> String {
    match error {
        Error::InvalidRule { reason } => reason.clone(),
        Error::InvalidId { .. } | Error::InvalidOwner { .. } | Error::InvalidInput { .. } => {
            error.to_string()
        }
        error => panic!("{error:?}"),
    }
}

/// Runs properties. What fails is printed, not kept in a file.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

/// Runs a property on one database of its own, with generated values, which are made simpler if one
/// fails.
fn check<S: Strategy>(cases: u32, values: S, property: impl AsyncFn(&Mutexes, &Client, S::Value)) {
    let runtime = Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh());
    let (mutexes, client) =
        runtime.block_on(async { (database.mutexes().await, database.client().await) });
    let checked = runner(cases).run(&values, |value| {
        runtime.block_on(async {
            client
                .batch_execute("delete from pgmutex.mutex_model")
                .await
                .unwrap();
            property(&mutexes, &client, value).await;
        });
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Any characters, often those that mean something to someone.
fn any_text(most: usize) -> impl Strategy<Value = String> {
    let character =
        prop_oneof![8 => any::<char>(), 1 => select(vec!['\'', '%', '_', '\\', '\u{301}', '\n'])];
    vec(character, 0..=most).prop_map(String::from_iter)
}
