//! The audit: every beginning and end of a hold is recorded, once, with its reason, in the transaction
//! in which it happens; nothing else is; and nobody can forge, change or lose an event.

mod events;
mod months;
mod privileges;
mod query;

use crate::support::{Database, Session};

/// A database whose audit is on, and a session in it.
async fn audited() -> (Database, Session) {
    let database = Database::fresh().await;
    let session = database.session().await;
    assert_eq!(on_or_off(&session, "enable").await, "true");
    (database, session)
}

/// Switches the audit on or off, and says whether that was new.
async fn on_or_off(session: &Session, how: &str) -> String {
    session
        .ask(&format!("select pgmutex.{how}_audit()::text"))
        .await
}

/// What happened to the mutex with this id, in order: the event, whose hold it was, and the reason.
async fn trail(session: &Session, mutex_id: &str) -> String {
    session
        .ask(&format!(
            "select coalesce(string_agg(concat_ws(' ', event, owner_session, '(' || reason || ')'), ', ' order by number), '') \
             from pgmutex.audit where mutex_id = '{mutex_id}'"
        ))
        .await
}

/// The months that have partitions, and how many events are in the default one.
async fn months(session: &Session) -> String {
    session
        .ask(
            "select coalesce(string_agg(p.name, ' ' order by p.name), '') || ' + ' \
                    || (select count(*) from pgmutex.audit_default) \
             from pgmutex.audit_partitions() p",
        )
        .await
}
