//! Telling whether a pooler in transaction mode is in between.

use super::{Repository, in_words::InWords};
use crate::domain::Error;

/// How often it is looked.
const LOOKS: usize = 6;

/// Whether these two connections, opened in the same way, have no session of their own; the first
/// one had this process a moment ago.
///
/// A pooler in transaction mode lends a session to whoever begins a transaction: what one connection
/// was lent a moment ago, the next one may have now. PgBouncer lends the session last given back
/// first, so the second connection meets the first one's; failing that, the first one is lent
/// another while the second keeps its own. Told to lend them in turn (`server_round_robin`), it may
/// bring the first one back to the same session each time; but of two transactions in succession, one
/// has another. Where others borrow and give back at the same moment, any of these may miss once, but
/// not again and again.
///
/// # Errors
/// [`Error::Unavailable`] and the like.
pub(super) async fn lends_sessions(
    repository: &Repository,
    first: &tokio_postgres::Client,
    process_id: i32,
    second: &mut tokio_postgres::Client,
) -> Result<bool, Error> {
    let unavailable = |error| Error::Unavailable {
        source: InWords::boxed(error),
    };
    for _ in 0..LOOKS {
        let transaction = second.transaction().await.map_err(unavailable)?;
        let lent_to_the_second = repository.process_id(&transaction).await?;
        let lent_to_the_first = repository.process_id(first).await?;
        transaction.rollback().await.map_err(unavailable)?;
        let lent_afterwards = repository.process_id(first).await?;
        let lent_at_last = repository.process_id(first).await?;
        let lent_to_the_first_one = [lent_to_the_first, lent_afterwards, lent_at_last];
        if lent_to_the_second == process_id
            || lent_to_the_first_one.iter().any(|lent| *lent != process_id)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
