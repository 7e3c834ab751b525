//! `pgmutex bench` makes, locks and ends nothing on connections that the pooler lends to others.

use super::{program::run, support::Database};

const LEFT: &str =
    "select count(*)::text from pg_namespace where nspname like 'pgmutex\\_bench\\_%'";

async fn left(database: &Database) -> String {
    let client = database.client().await;
    client.query_one(LEFT, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn without_a_way_past_the_pooler_it_does_not_begin() {
    let database = Database::empty().await;
    let refused = run(database.url(), &["bench", "--quick", "--scenario", "list"]);
    assert_eq!(
        (refused.code, refused.output.as_str()),
        (Some(69), ""),
        "{refused:?}"
    );
    assert!(refused.said.contains("name a --direct-url"), "{refused:?}");
    assert_eq!(left(&database).await, "0");
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}

#[tokio::test]
async fn with_one_it_measures_what_goes_through_the_pooler() {
    let database = Database::empty().await;
    let direct = database.direct_url();
    let arguments = [
        "bench",
        "--quick",
        "--scenario",
        "rows",
        "--direct-url",
        &direct,
    ];
    let ended = run(database.url(), &arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(left(&database).await, "0");
    assert_eq!(database.left_behind("postgres").await, [""; 0]);
}
