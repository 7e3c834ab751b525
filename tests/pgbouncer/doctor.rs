//! The diagnosis notices the pooler, and the way past it.

use pgmutex::{Finding, Mutexes, Verdict, pool_for_url};

use crate::support::Database;

async fn about(mutexes: &Mutexes, subject: &str) -> Finding {
    let diagnosis = mutexes.diagnose().await.unwrap();
    diagnosis.about(subject).unwrap().clone()
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_noticed() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let pooler = about(&mutexes, "pooler").await;
    assert_eq!(pooler.verdict, Verdict::Note, "{pooler:?}");
    assert!(pooler.found.contains("transaction mode"), "{pooler:?}");
    // The URL of connect is the direct one, too, unless another is given.
    let direct = about(&mutexes, "direct URL").await;
    assert_eq!(direct.verdict, Verdict::Warning, "{direct:?}");
    assert!(
        direct
            .advice
            .unwrap()
            .contains("MutexesBuilder::direct_url")
    );
}

#[tokio::test]
async fn one_that_lends_its_sessions_in_turn_is_noticed() {
    let database = Database::lent_in_turn().await;
    // With any session at its beginning.
    for _ in 0..4 {
        let mutexes = database.mutexes().await;
        let pooler = about(&mutexes, "pooler").await;
        assert_eq!(pooler.verdict, Verdict::Note, "{pooler:?}");
        let client = database.pooled_client().await;
        client.batch_execute("select 1").await.unwrap();
    }
}

#[tokio::test]
async fn the_way_past_it_is_tried() {
    let (database, other) = (Database::fresh().await, Database::empty().await);
    for (direct, verdict) in [
        (database.direct_url(), Verdict::Ok),
        (other.direct_url(), Verdict::Problem),
    ] {
        let builder = Mutexes::builder().direct_url(&direct).unwrap();
        let mutexes = builder.pool(pool_for_url(database.url()).unwrap());
        assert_eq!(about(&mutexes, "pooler").await.verdict, Verdict::Note);
        let found = about(&mutexes, "direct URL").await;
        assert_eq!(found.verdict, verdict, "{found:?}");
    }
}

#[tokio::test]
async fn where_there_is_none_none_is_seen() {
    let database = Database::fresh().await;
    let mutexes = Mutexes::connect(&database.direct_url()).await.unwrap();
    assert_eq!(about(&mutexes, "pooler").await.verdict, Verdict::Ok);
    assert_eq!(about(&mutexes, "direct URL").await.verdict, Verdict::Ok);
}

#[tokio::test]
async fn looking_leaves_nothing_behind_and_gives_its_connections_back() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes.diagnose().await.unwrap();
    drop(mutexes);
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}
