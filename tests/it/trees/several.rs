//! Several paths in one call.

use pgmutex::{MutexId, Wish};
use tokio::task::JoinSet;

use super::{ALL, capture, capture_all};
use crate::{
    guards::must,
    support::{Database, owner},
};

#[tokio::test]
async fn paths_above_each_other_go_into_one_call() {
    let database = Database::fresh().await;
    let s = database.session().await;
    assert_eq!(
        s.ask(&capture_all(&["/a/b/", "/a/", "/z/"], "a", "")).await,
        "captured /a/b/ a, captured /a/ a, captured /z/ a"
    );
    assert_eq!(
        s.ask(&capture_all(&["/q/", "/z/y/", "/"], "b", "")).await,
        "busy /z/ a, busy /a/ a"
    );
}

/// The first key that one of these calls waits for is the same for all of them.
#[tokio::test]
async fn captures_of_one_and_of_several_lock_in_one_order() {
    let database = Database::fresh().await;
    let (a, s) = (database.session().await, database.session().await);
    let paths = ["/", "/a/", "/a/b/", "/a/b/c/", "/a/b/c/d/"];
    // Their keys in the order in which they are to be locked.
    let keys = format!(
        "select string_agg(path, ' ' order by pgmutex.mutex_key('lab', 'tree', path)) from unnest('{{{}}}'::text[]) path",
        paths.join(",")
    );
    let in_order = s.ask(&keys).await;
    let locked_up_to = async |call: &str, gate: &str| {
        let gate_key =
            format!("select pg_advisory_lock(pgmutex.mutex_key('lab', 'tree', '{gate}'))");
        s.run(&gate_key).await;
        let waiting = a.begin(call);
        a.is_blocked().await;
        let locks = format!(
            "select coalesce(string_agg(path, ' ' order by pgmutex.mutex_key('lab', 'tree', path)), '') \
             from unnest('{{{}}}'::text[]) path \
             where exists (select from pg_locks l where l.pid = {} and l.locktype = 'advisory' and l.granted \
                           and (l.classid::bigint << 32 | l.objid::bigint) = pgmutex.mutex_key('lab', 'tree', path))",
            paths.join(","),
            a.process_id()
        );
        let locked = s.ask(&locks).await;
        s.run("select pg_advisory_unlock_all()").await;
        waiting.text().await;
        locked
    };
    let (whole, single) = (
        capture_all(&["/a/b/c/d/", "/a/", "/"], "a", ""),
        capture("/a/b/c/d/", "a", ALL),
    );
    for gate in paths {
        let before: Vec<&str> = in_order
            .split(' ')
            .take_while(|path| *path != gate)
            .collect();
        for call in [&whole, &single] {
            assert_eq!(
                locked_up_to(call, gate).await,
                before.join(" "),
                "{call} at {gate}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_want_overlapping_paths_in_every_order_do_not_hang() {
    let database = Database::fresh().await;
    let mut tasks = JoinSet::new();
    for number in 0..6_usize {
        let s = database.session().await;
        tasks.spawn(async move {
            let mut paths = ["/", "/a/", "/a/b/", "/a/b/c/", "/a/d/", "/e/f/"];
            let me = format!("owner {number}");
            for round in 0..40 {
                paths.rotate_left(1 + (number + round) % 5);
                paths.swap(round % 6, number);
                let of_them = &paths[..1 + (round + number) % 4];
                match number % 2 {
                    0 => s.ask(&capture_all(of_them, &me, "")).await,
                    _ => s.ask(&capture(of_them[0], &me, ALL)).await,
                };
                s.ask(&format!(
                    "select count(*)::text from pgmutex.release_owner('{me}')"
                ))
                .await;
            }
        });
    }
    while let Some(ended) = must(tasks.join_next()).await {
        ended.unwrap();
    }
    let left_over = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(database.session().await.ask(left_over).await, "0");
}

/// Each of these takes a hundred locks: not all of them fit into one call.
fn deep(number: usize) -> MutexId {
    let segments = format!("{number}/").repeat(99);
    MutexId::new("lab", "tree", format!("/{segments}")).unwrap()
}

#[tokio::test]
async fn more_locks_than_a_call_may_take_are_refused_and_many_calls_are_made_of_it() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let requests = "(select jsonb_agg(jsonb_build_object('mutex_id', '/' || repeat(n || '/', 99))) from generate_series(1, 41) n)";
    let defaults =
        "'{\"mutex_group\": \"lab\", \"mutex_mode\": \"tree\", \"owner_session\": \"a\"}'";
    for call in ["capture_all", "capture_each", "release_each"] {
        let (code, message) = s.refusal(&format!("{call}({requests}, {defaults})")).await;
        assert_eq!(code, "PM003");
        assert!(
            message.contains("take 4060 locks; at most 4000"),
            "{message}"
        );
    }
    let ids: Vec<MutexId> = (1..=41).map(deep).collect();
    let captured = mutexes
        .capture_each(ids.iter().map(Wish::from))
        .owner(owner("a"))
        .await
        .unwrap();
    assert!(captured.iter().all(Result::is_ok));
    assert_eq!(captured.len(), 41);
    let released = mutexes.release_each(&ids).owner(owner("a")).await.unwrap();
    assert_eq!(released.len(), 41);
    let left_over = "select count(*)::text from pgmutex.mutex_model";
    assert_eq!(s.ask(left_over).await, "0");
}
