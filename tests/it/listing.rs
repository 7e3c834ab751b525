//! Listing: typed filters, a stable order, pages whose cost does not grow with the number of holds;
//! and that looking at a busy mutex, or asking for it, writes nothing.

use pgmutex::{
    AutoRelease, Mutex, MutexId, MutexOwner, MutexQuery, Mutexes, PagePosition, SessionBackend,
};
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::{Database, mutex_id, owner};

/// The one text that a query gives, of whatever type.
async fn text(client: &Client, query: &str) -> String {
    let messages = client.simple_query(query).await.unwrap();
    let text = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    text.unwrap_or_else(|| panic!("no text from {query}"))
        .to_owned()
}

fn names(mutexes: &[Mutex]) -> Vec<String> {
    mutexes.iter().map(|mutex| mutex.id.to_string()).collect()
}

async fn listed(mutexes: &Mutexes, query: &MutexQuery) -> Vec<String> {
    names(&mutexes.list(query).await.unwrap().mutexes)
}

/// PostgreSQL, in this database, and the process: every list must read alike in both.
async fn both(database: &Database) -> [Mutexes; 2] {
    let in_process = Mutexes::builder().backend(SessionBackend::new());
    [database.mutexes().await, in_process]
}

#[tokio::test]
async fn every_filter_counts_alone_and_all_that_are_set_count_together() {
    let person = |session: &str, user_id: &str, login: &str| -> MutexOwner {
        let owner = owner(session).with_user_id(user_id).unwrap();
        owner.with_login(login).unwrap()
    };
    let (ada, bob, eve) = (
        person("s1", "7", "ada"),
        person("s2", "8", "bob"),
        person("s3", "7", "ada@home"),
    );
    let job = AutoRelease::Custom {
        code: "job".to_owned(),
        config: "nightly".to_owned(),
    };
    let all = MutexQuery::all;
    let database = Database::fresh().await;
    for mutexes in both(&database).await {
        for (parts, owner, rule) in [
            (("orders", "edit", "1"), &ada, AutoRelease::default()),
            (("orders", "edit", "12"), &bob, AutoRelease::Never),
            (("orders", "view", "1"), &ada, job.clone()),
            (("stock", "edit", "1"), &eve, AutoRelease::default()),
        ] {
            let id = MutexId::new(parts.0, parts.1, parts.2).unwrap();
            let capture = mutexes.capture(&id).owner(owner.clone());
            capture.auto_release(rule).await.unwrap();
        }
        let [a, b, c, d] = [
            "orders/edit/1",
            "orders/edit/12",
            "orders/view/1",
            "stock/edit/1",
        ];
        let cases: [(MutexQuery, &[&str]); 19] = [
            (all(), &[a, b, c, d]),
            (all().group("orders"), &[a, b, c]),
            (all().group("order"), &[]),
            (all().group(""), &[]),
            (all().mode("edit"), &[a, b, d]),
            (all().mutex_id("1"), &[a, c, d]),
            (all().mutex_id_prefix("1"), &[a, b, c, d]),
            (all().mutex_id_prefix("12"), &[b]),
            (all().mutex_id_prefix(""), &[a, b, c, d]),
            (all().session_id("s1"), &[a, c]),
            (all().user_id("7"), &[a, c, d]),
            (all().login("ada"), &[a, c]),
            (all().auto_release_rule("timeout"), &[a, d]),
            (all().auto_release_rule("job"), &[c]),
            (all().auto_release_rule(""), &[b]),
            (all().group("orders").mode("edit"), &[a, b]),
            (all().user_id("7").login("ada@home"), &[d]),
            (all().session_id("s1").auto_release_rule("timeout"), &[a]),
            (all().session_id("s2").mutex_id("1"), &[]),
        ];
        for (query, expected) in cases {
            assert_eq!(listed(&mutexes, &query).await, expected, "{query:?}");
            let count = mutexes.count(&query).await.unwrap();
            assert_eq!(count, expected.len() as u64, "{query:?}");
        }
    }
}

#[tokio::test]
async fn a_prefix_is_taken_literally() {
    let ids = [
        "100%", "100%_a", "1000", "a_b", "axb", "a\\b", "a\\%b", "a%b", "\\", "%", "_", "'", "x",
    ];
    let database = Database::fresh().await;
    // Also where backslashes in plain string literals are escapes.
    let old_fashioned = Database::fresh().await;
    let client = old_fashioned.client().await;
    let alter = format!("alter database {}", old_fashioned.name());
    let set = format!("{alter} set standard_conforming_strings = off");
    client.batch_execute(&set).await.unwrap();
    let [postgres, in_process] = both(&database).await;
    for mutexes in [postgres, in_process, old_fashioned.mutexes().await] {
        for id in ids {
            mutexes.capture(mutex_id(id)).await.unwrap();
        }
        for prefix in [
            "", "100%", "100%_", "a_", "a\\", "a\\%", "\\", "\\\\", "%", "_", "a%", "'",
        ] {
            let query = MutexQuery::all().mutex_id_prefix(prefix);
            let mut expected: Vec<String> = ids
                .iter()
                .filter(|id| id.starts_with(prefix))
                .map(|id| mutex_id(id).to_string())
                .collect();
            expected.sort();
            assert_eq!(listed(&mutexes, &query).await, expected, "{prefix}");
        }
    }
}

#[tokio::test]
async fn the_order_is_that_of_the_bytes() {
    let mut ids: Vec<MutexId> = Vec::new();
    let parts = [
        "", "a", "B", "aa", "a b", "a-b", "Z", "é", "e", "𝄞", "10", "9", "_",
    ];
    for (number, group) in parts.iter().enumerate() {
        for mode in [parts[(number * 5) % 13], "x"] {
            for id in parts {
                ids.extend(MutexId::new(*group, mode, id).ok());
            }
        }
    }
    let database = Database::fresh().await;
    let mut sorted = ids.clone();
    sorted.sort();
    for mutexes in both(&database).await {
        for id in &ids {
            mutexes.capture(id).await.unwrap();
        }
        let page = mutexes.list(&MutexQuery::all()).await.unwrap();
        let order: Vec<MutexId> = page.mutexes.into_iter().map(|mutex| mutex.id).collect();
        assert_eq!(order, sorted);
    }
    // By the columns themselves, so it does not depend on the locale of this database.
    let collation = "select string_agg(distinct attcollation::regcollation::text, ', ') from pg_attribute \
                     where attrelid = 'pgmutex.mutex_model'::regclass and attname like 'mutex\\_%'";
    assert_eq!(text(&database.client().await, collation).await, "\"C\"");
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let database = Database::fresh().await;
    for mutexes in both(&database).await {
        for number in 0..10 {
            mutexes
                .capture(mutex_id(&number.to_string()))
                .await
                .unwrap();
        }
        let all = listed(&mutexes, &MutexQuery::all()).await;
        for size in [1, 3, 5, 10, 11] {
            let (mut query, mut seen) = (MutexQuery::all().page_size(size), Vec::new());
            loop {
                let page = mutexes.list(&query).await.unwrap();
                assert!(page.mutexes.len() <= size as usize);
                seen.extend(names(&page.mutexes));
                match page.next {
                    Some(next) => query = query.after(next),
                    None => break,
                }
            }
            assert_eq!(seen, all);
        }
        let query = MutexQuery::all().page_size(3);
        assert_eq!(listed(&mutexes, &query.clone().start(8)).await, all[8..]);
        assert_eq!(listed(&mutexes, &query.clone().start(4)).await, all[4..7]);
        assert_eq!(mutexes.count(&query.clone().start(4)).await.unwrap(), 10);
        for nothing in [
            query.clone().start(10),
            query.clone().start(u64::MAX),
            query.clone().page_size(0),
            query.clone().after(PagePosition::behind(mutex_id("9"))),
        ] {
            let page = mutexes.list(&nothing).await.unwrap();
            assert_eq!((page.mutexes, page.next), (Vec::new(), None));
        }
        // A place in the order stays a place when the hold there is gone.
        let after_four = query.after(PagePosition::behind(mutex_id("4")));
        mutexes.release(&mutex_id("4")).await.unwrap();
        assert_eq!(listed(&mutexes, &after_four).await, all[5..8]);
        let from_six = after_four.group("tests").mode("step").start(1);
        assert_eq!(listed(&mutexes, &from_six).await, all[6..9]);
    }
}

#[tokio::test]
async fn filters_and_places_in_the_order_go_together() {
    let parts = ["", "a", "b"];
    let mut ids: Vec<MutexId> = Vec::new();
    for (group, mode) in parts
        .iter()
        .flat_map(|group| parts.map(|mode| (group, mode)))
    {
        ids.extend(
            parts
                .map(|id| MutexId::new(*group, mode, id))
                .into_iter()
                .flatten(),
        );
    }
    let database = Database::fresh().await;
    let [postgres, in_process] = both(&database).await;
    for id in &ids {
        postgres.capture(id).await.unwrap();
        in_process.capture(id).await.unwrap();
    }
    let filters = [None, Some(""), Some("a"), Some("aa"), Some("b")];
    for (group, mode) in filters
        .iter()
        .flat_map(|group| filters.map(|mode| (group, mode)))
    {
        let mut query = MutexQuery::all().page_size(3);
        query = group.map_or(query.clone(), |group| query.group(group));
        query = mode.map_or(query.clone(), |mode| query.mode(mode));
        for id in &ids {
            let query = query.clone().after(PagePosition::behind(id.clone()));
            let expected = listed(&in_process, &query).await;
            assert_eq!(listed(&postgres, &query).await, expected, "{query:?}");
            let query = query.mutex_id_prefix("b");
            let expected = listed(&in_process, &query).await;
            assert_eq!(listed(&postgres, &query).await, expected, "{query:?}");
        }
    }
}

#[tokio::test]
async fn holds_that_are_over_are_listed_and_counted_on_demand_only() {
    let database = Database::fresh().await;
    let (session, mutexes) = (database.session().await, database.mutexes().await);
    session.capture("old", "ada").await;
    session.age("old", "1 hour").await;
    session.capture("new", "ada").await;
    let (held, all) = (MutexQuery::all(), MutexQuery::all().include_over());
    assert_eq!(listed(&mutexes, &held).await, ["tests/step/new"]);
    assert_eq!(mutexes.count(&held).await.unwrap(), 1);
    assert_eq!(
        listed(&mutexes, &all).await,
        ["tests/step/new", "tests/step/old"]
    );
    assert_eq!(mutexes.count(&all).await.unwrap(), 2);
}

/// The plan's root, of a statement that has been run: what it counted includes the functions that
/// it called.
async fn explained(client: &Client, options: &str, statement: &str) -> Value {
    let explain = format!("explain (analyze, format json, {options}) {statement}");
    let plans: Value = serde_json::from_str(&text(client, &explain).await).unwrap();
    plans[0]["Plan"].clone()
}

/// How many blocks a statement looks at; not counting those of the catalogs, which are read again when
/// the server has tidied them up.
async fn blocks(client: &Client, statement: &str) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..3 {
        let plan = explained(client, "buffers", statement).await;
        let blocks = plan["Shared Hit Blocks"].as_u64().unwrap()
            + plan["Shared Read Blocks"].as_u64().unwrap();
        least = least.min(blocks);
    }
    least
}

#[tokio::test]
async fn of_100_000_holds_each_page_costs_the_same_and_is_in_order() {
    let database = Database::fresh().await;
    let (client, mutexes) = (database.client().await, database.mutexes().await);
    // Stored in disorder, so that the rows of a page lie on as many blocks.
    client
        .batch_execute(
            "alter table pgmutex.mutex_model set (autovacuum_enabled = off); \
             insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config) \
             select 'tests', 'step', to_char(n, 'FM000000'), 'session ' || n % 1000, 'timeout', '86400' \
             from generate_series(1, 100000) n order by md5(n::text)",
        )
        .await
        .unwrap();
    // A page of 50 costs 50 blocks of rows, and a few of the index and of the catalogs. All rows
    // are on thousands.
    let few = 200;
    let page = |filter: &str, id: &str| {
        format!(
            "select * from pgmutex.list({filter} page_size => 50, after_group => 'tests', after_mode => 'step', after_id => '{id}')"
        )
    };
    for statistics in ["none", "fresh"] {
        if statistics == "fresh" {
            client
                .batch_execute("analyze pgmutex.mutex_model")
                .await
                .unwrap();
        }
        blocks(&client, &page("", "000000")).await; // fills the caches of the catalogs
        for filter in [
            "",
            "mutex_group => 'tests',",
            "mutex_group => 'tests', mutex_mode => 'step',",
        ] {
            for id in ["000000", "050000", "099900"] {
                let cost = blocks(&client, &page(filter, id)).await;
                assert!(
                    cost < few,
                    "{cost} after {id} with {filter} and statistics: {statistics}"
                );
            }
        }
        for filter in [
            "mutex_group => 'tests', mutex_mode => 'step', mutex_id_prefix => '09999'",
            "owner_session => 'session 7', page_size => 50",
        ] {
            let cost = blocks(&client, &format!("select * from pgmutex.list({filter})")).await;
            assert!(
                cost < few,
                "{cost} for {filter} and statistics: {statistics}"
            );
        }
        let by_number = "select * from pgmutex.list(page_start => 99900, page_size => 50)";
        assert!(blocks(&client, by_number).await > 5 * few);
    }

    let (mut query, mut seen) = (MutexQuery::all().page_size(7000), Vec::new());
    loop {
        let page = mutexes.list(&query).await.unwrap();
        seen.extend(page.mutexes.into_iter().map(|mutex| mutex.id));
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 100_000);
    assert!(seen.is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn request_and_capture_on_a_busy_mutex_write_nothing() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let client = database.client().await;
    assert_eq!(session.capture("m", "ada").await, "captured");
    let traces = "select concat_ws(' ', xmin, xmax, ctid, (select last_value from pgmutex.fencing_token_sequence)) \
                  from pgmutex.mutex_model";
    let before = text(&client, traces).await;
    for (call, outcome) in [
        (
            "capture('tests', 'step', 'm', 'bob', status_data => 'please')",
            "busy",
        ),
        ("request('tests', 'step', 'm', 'bob')", "captured_by_other"),
        ("request('tests', 'step', 'm', 'ada')", "captured_by_me"),
        ("refresh('tests', 'step', 'm', 'bob')", "busy"),
        ("release('tests', 'step', 'm', 'bob')", "busy"),
        ("request('tests', 'step', 'free', 'bob')", "free"),
    ] {
        let ask = format!("select outcome from pgmutex.{call}");
        session.run("begin").await;
        assert_eq!(session.ask(&ask).await, outcome);
        let number = "select coalesce(pg_current_xact_id_if_assigned()::text, 'none')";
        assert_eq!(session.ask(number).await, "none", "{call}");
        session.run("commit").await;
        explained(&client, "wal", &ask).await; // The first look at a page may be noted on it.
        let plan = explained(&client, "wal", &ask).await;
        for count in ["WAL Records", "WAL FPI", "WAL Bytes"] {
            assert_eq!(plan[count], 0, "{count} of {call}");
        }
        assert_eq!(text(&client, traces).await, before, "{call}");
    }
}

#[tokio::test]
async fn a_refresh_touches_no_index() {
    let database = Database::fresh().await;
    let setup = database.session().await;
    for id in ["a", "b", "c"] {
        setup.capture(id, "ada").await;
    }
    let session = database.session().await;
    for round in 1..=4 {
        for id in ["a", "b", "c"] {
            let refresh = format!(
                "select outcome from pgmutex.refresh('tests', 'step', '{id}', 'ada', status_data => 'round {round}')"
            );
            assert_eq!(session.ask(&refresh).await, "refreshed");
            session.run("begin").await;
            assert_eq!(session.capture(id, "ada").await, "refreshed");
            // What the transaction has counted itself: nobody else's, and without delay.
            let updates = "select concat_ws(' ', n_tup_upd > 0, n_tup_upd - n_tup_hot_upd) from pg_stat_xact_user_tables \
                           where relid = 'pgmutex.mutex_model'::regclass";
            assert_eq!(session.ask(updates).await, "t 0", "{id} in round {round}");
            session.run("commit").await;
        }
    }
}
