//! `bench`, in its smallest set. What it measures is not looked at, but that it is whole.

mod ending;
mod figures;
mod refusals;

use pgmutex::private_server::PrivatePostgres;

use crate::support::Session;

/// The schemas that a bench has made and not removed.
const LEFT: &str =
    "select count(*)::text from pg_namespace where nspname like 'pgmutex\\_bench\\_%'";

async fn is_gone(session: &Session) -> bool {
    session.ask(LEFT).await == "0"
}

/// A server that nobody else writes to, not even itself: what is written is counted for all of it.
fn own_server() -> PrivatePostgres {
    PrivatePostgres::builder()
        .setting("max_connections", "200")
        .setting("autovacuum", "off")
        // Else the log says now and then which transactions are running.
        .setting("wal_level", "minimal")
        .setting("max_wal_senders", "0")
        .start()
        .unwrap_or_else(|error| panic!("{error}"))
}
