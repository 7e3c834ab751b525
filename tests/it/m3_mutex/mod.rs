//! The view that stands in for the table of m3-mutex: statements as that package sends them (through
//! Django 5.2), taken as steps of several sessions.

mod deleting;
mod excluding;
mod importing;
mod installing;
mod passing_on;
mod rights;
mod showing;

use crate::support::{Database, Session};

/// A database with the view in schema public.
async fn with_view() -> Database {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes.install_m3_mutex("public", None).await.unwrap();
    database
}

/// One process of the application, on a connection of its own.
struct Application(Session);

/// The row that the package reads before it does anything.
const READ: &str = "select id::text || ' ' || owner_session from m3_mutex where mutex_group = 'tests' and mutex_mode = 'step' and mutex_id =";
const OF_MUTEX: &str = "mutex_group = 'tests' and mutex_mode = 'step' and mutex_id =";

impl Application {
    async fn new(database: &Database) -> Self {
        Self(database.session().await)
    }

    /// The number and the owner of the row, or nothing.
    async fn read(&self, id: &str) -> Option<String> {
        let row = format!("select coalesce(({READ} '{id}'), '')");
        Some(self.0.ask(&row).await).filter(|row| !row.is_empty())
    }

    /// `MutexModel(…).save()`: the number of the row.
    async fn insert(&self, id: &str, owner_session: &str) -> Result<String, (String, String)> {
        let save = insert(id, owner_session, "timeout", "300");
        self.0.try_ask(&save).await.map_err(refusal)
    }

    /// `filter(…).update(captured_since=…, status_data=F('status_data'))`: how many rows it was.
    async fn update(&self, id: &str) -> Result<String, (String, String)> {
        self.count(&format!(
            "update m3_mutex set captured_since = '2000-01-01', status_data = status_data where {OF_MUTEX} '{id}'"
        ))
        .await
    }

    /// `filter(…).delete()`: how many rows it was.
    async fn delete(&self, id: &str) -> Result<String, (String, String)> {
        self.count(&format!("delete from m3_mutex where {OF_MUTEX} '{id}'"))
            .await
    }

    async fn count(&self, statement: &str) -> Result<String, (String, String)> {
        let count =
            format!("with written as ({statement} returning 1) select count(*)::text from written");
        self.0.try_ask(&count).await.map_err(refusal)
    }
}

/// What `MutexModel(…).save()` sends.
fn insert(id: &str, owner_session: &str, rule: &str, config: &str) -> String {
    format!(
        "insert into m3_mutex (mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name, \
         auto_release_rule, auto_release_config, captured_since, status_data) \
         values ('tests', 'step', '{id}', '{owner_session}', 'host', '7', 'login', 'name', '{rule}', '{config}', '2000-01-01', '') \
         returning id::text"
    )
}

/// The SQLSTATE and the message.
fn refusal(error: tokio_postgres::Error) -> (String, String) {
    let answer = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (answer.code().code().to_owned(), answer.message().to_owned())
}

const TAKEN: &str = "23505";
