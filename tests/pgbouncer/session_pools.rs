//! Session pools where connections are lent: checkouts, waiting for one, and giving back.

use std::{future::Future, future::IntoFuture, time::Duration};

use pgmutex::SessionPool;
use serde_json::json;
use tokio::time::timeout;

use crate::support::Database;

/// Waits for what must come, and fails if it does not. Not a measure of anything.
async fn must<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(300), future)
        .await
        .expect("it hangs")
}

#[tokio::test]
async fn a_session_goes_from_hand_to_hand() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let pool: SessionPool = SessionPool::new(&mutexes, "p").with_next_use_delay(Duration::ZERO);
    pool.add(&json!({"login": "ada"})).await.unwrap();
    let first = must(pool.checkout().into_future()).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.checkout().wait_forever().await }
    });
    let client = database.client().await;
    let in_line = "select count(*) from pgmutex.waiting";
    must(async {
        while client
            .query_one(in_line, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            != 1
        {}
    })
    .await;
    first.success(1).await.unwrap();
    assert!(must(first.give_back()).await.unwrap().is_released());
    let second = must(waiting).await.unwrap().unwrap();
    assert_eq!(second.payload(), &json!({"login": "ada"}));
    assert!(must(second.give_back()).await.unwrap().is_released());
    assert_eq!(
        must(pool.get_session().into_future())
            .await
            .unwrap()
            .use_count,
        3
    );
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}
