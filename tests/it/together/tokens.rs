//! The fencing tokens of those who travel together.

use pgmutex::{CaptureAllRequest, FencingToken, MutexBackend, PostgresBackend};

use super::{captured, wish};
use crate::support::Database;

/// Captures these, gives them back by force, and says their tokens.
async fn tokens(
    database: &Database,
    backend: &PostgresBackend,
    wishes: &[CaptureAllRequest],
) -> Vec<FencingToken> {
    let answers = backend.capture_together(wishes).await.unwrap();
    let tokens = answers
        .into_iter()
        .map(|answer| captured(answer).mutex.fencing_token);
    let tokens = tokens.collect();
    let session = database.session().await;
    session.run("delete from pgmutex.mutex_model").await;
    tokens
}

#[tokio::test]
async fn they_rise_also_when_the_sequence_goes_back_with_a_new_generation() {
    let database = Database::fresh().await;
    let (backend, session) = (database.backend(), database.session().await);
    let ids = ["1", "2", "3"];
    // By one owner, which is the usual, and by several.
    for wishes in [ids.map(|id| wish(id, "me")), ids.map(|id| wish(id, id))] {
        let before = tokens(&database, &backend, &wishes).await;
        assert!(before.is_sorted_by(|one, next| one < next), "{before:?}");
        session
            .run("select pgmutex.bump_generation(); select setval('pgmutex.fencing_token_sequence', 1, false)")
            .await;
        let after = tokens(&database, &backend, &wishes).await;
        assert!(after.is_sorted_by(|one, next| one < next), "{after:?}");
        assert!(before.last() < after.first(), "{before:?} {after:?}");
    }
}
