//! What is no path, and what is too much.

use pgmutex::{Error, MutexId, Reach, TreePath, Wish};

use super::{ALL, capture};
use crate::support::{Database, owner};

fn refused<T: std::fmt::Debug>(made: pgmutex::Result<T>) -> String {
    match made.unwrap_err() {
        Error::InvalidId { field, reason } => format!("{field} {reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn segments_that_cannot_be_are_refused() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let tree = mutexes.tree("lab");
    assert_eq!(refused(tree.path([""])), "path has an empty segment");
    assert_eq!(refused(tree.path(["a", ""])), "path has an empty segment");
    assert!(refused(tree.path(["a\0b"])).contains("NUL"));
    assert!(refused(tree.root().unwrap().join(["a\0b"])).contains("NUL"));
    assert_eq!(
        refused(tree.path(["a"; 101])),
        "mutex_id is a path of more than 100 levels"
    );
    let deepest = tree.path(["a"; 100]).unwrap();
    assert!(refused(deepest.join(["a"])).contains("100 levels"));
    deepest.capture().owner(owner("a")).await.unwrap();
    // 1,600 bytes with the slashes before and behind.
    assert!(refused(tree.path(["x".repeat(1599)])).contains("at most 1600"));
    assert!(refused(tree.path(["/".repeat(533)])).contains("at most 1600"));
    let longest = tree.path(["é".repeat(799)]).unwrap();
    longest.capture().owner(owner("a")).await.unwrap();
    assert!(refused(mutexes.tree("x".repeat(401)).root()).contains("at most 400"));
}

#[tokio::test]
async fn segments_of_any_characters_are_other_segments_and_come_back() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let tree = mutexes.tree("lab");
    for segments in [
        vec!["a/b"],
        vec!["a", "b"],
        vec!["a%2Fb"],
        vec!["a%252Fb"],
        vec!["%"],
        vec!["/"],
        vec!["//", "%2F%25", "."],
        vec!["..", "'; drop", "\\", "\"", "é", "\u{1F512}", "\u{7f}\n"],
        vec![" "],
        vec!["_"],
        vec!["%a"],
    ] {
        let path = tree.path(&segments).unwrap();
        assert_eq!(path.segments(), segments);
        let who = owner(path.id().id().get(..60).unwrap_or(path.id().id()));
        let captured = path.capture().owner(who).await.unwrap();
        assert_eq!(TreePath::segments_of(&captured.id).unwrap(), segments);
    }
    assert_eq!(
        TreePath::segments_of(&MutexId::new("", "", "a/b").unwrap()),
        None
    );
    // Up and down again.
    let lower = tree.path(["a/b", "c"]).unwrap();
    assert_eq!(lower.parent().unwrap().segments(), ["a/b"]);
    assert_eq!(
        lower.parent().unwrap().parent().unwrap().id(),
        tree.root().unwrap().id()
    );
    assert!(tree.root().unwrap().parent().is_none());
}

#[tokio::test]
async fn a_reach_goes_with_a_path_only() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let goes_with = "lock_parents and lock_children go with a mutex_id that is a path: it begins and ends with a slash";
    for plain in ["a", "/a", "a/", ""] {
        for flag in ["lock_parents", "lock_children"] {
            let call = format!("capture('lab', 'm', '{plain}', 'a', {flag} => true)");
            let (code, message) = s.refusal(&call).await;
            assert_eq!(
                (code.as_str(), message.contains(goes_with)),
                ("PM003", true),
                "{message}"
            );
            let call = format!("holder_in_the_way('lab', 'm', '{plain}', 'a', {flag} => true)");
            assert_eq!(s.refusal(&call).await.0, "PM003");
        }
        let wish = Wish {
            reach: Reach::all(),
            ..Wish::new(MutexId::new("lab", "m", plain).unwrap())
        };
        let refused = mutexes.capture(wish).owner(owner("a")).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    }
    for flag in ["lock_parents", "lock_children"] {
        let (code, message) = s
            .refusal(&format!(
                "capture('lab', 'tree', '/a/', 'a', {flag} => null)"
            ))
            .await;
        assert_eq!(code, "PM003");
        assert!(message.contains("must not be null"), "{message}");
        // In a request of several, what is null is what is not said.
        let several = format!(
            "capture_all('[{{\"mutex_id\": \"/a/\", \"owner_session\": \"a\", \"{flag}\": null}}]')"
        );
        assert_eq!(
            s.outcome(&several).await.replace("refreshed", "captured"),
            "captured"
        );
        let nonsense = several.replace("null", "\"perhaps\"");
        assert_eq!(s.refusal(&nonsense).await.0, "22P02");
    }
}

#[tokio::test]
async fn too_deep_a_path_is_refused_by_every_call() {
    let database = Database::fresh().await;
    let s = database.session().await;
    let deep = format!("/{}", "a/".repeat(101));
    for call in [
        "capture",
        "release",
        "refresh",
        "request",
        "holder_in_the_way",
    ] {
        let (code, message) = s
            .refusal(&format!("{call}('lab', 'tree', '{deep}', 'a')"))
            .await;
        assert_eq!(code, "PM003", "{call}");
        assert!(message.contains("more than 100 levels"), "{message}");
    }
}

#[tokio::test]
async fn rows_that_other_programs_write_at_odd_paths_stop_nothing() {
    let database = Database::fresh().await;
    let (mutexes, s) = (database.mutexes().await, database.session().await);
    let write = |path: &str, flags: &str| {
        format!(
            "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config, \
             lock_parents, lock_children) values ('lab', 'tree', '{path}', 'stranger', 'timeout', '300', {flags})"
        )
    };
    for plain in ["a", "/a", "a/"] {
        let refused = s
            .try_ask(&format!("{} returning 'x'", write(plain, "true, false")))
            .await
            .unwrap_err();
        let refused = refused.as_db_error().unwrap();
        assert_eq!(refused.code().code(), "23514");
        assert_eq!(
            refused.constraint(),
            Some("lock_parents_and_lock_children_go_with_a_path")
        );
    }
    let deep = format!("/{}", "d/".repeat(799));
    for odd in ["//", "/a//", "///", "//a/", "/%/", "/%zz/", &deep] {
        s.run(&write(odd, "true, true")).await;
    }
    // They count for those above and below, like any others, and for nobody else.
    assert_eq!(s.ask(&capture("/a/", "b", ALL)).await, "busy /a// stranger");
    assert_eq!(
        s.ask(&capture("/d/", "b", ALL)).await,
        format!("busy {deep} stranger")
    );
    assert_eq!(s.ask(&capture("/b/", "b", ALL)).await, "captured /b/ b");
    let listed = mutexes.list(&mutexes.tree("lab").query()).await.unwrap();
    assert_eq!(listed.mutexes.len(), 8);
    for hold in &listed.mutexes {
        assert!(TreePath::segments_of(&hold.id).is_some());
    }
    // And make way when they are over.
    s.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where owner_session = 'stranger'")
        .await;
    assert_eq!(s.ask(&capture("/a/", "b", ALL)).await, "evicted /a/ b");
    assert_eq!(s.ask(&capture("/d/", "b", ALL)).await, "evicted /d/ b");
    s.ask_until("select pgmutex.sweep()::text", |swept| swept == "0")
        .await;
    assert_eq!(
        s.ask("select string_agg(mutex_id, ' ' order by mutex_id) from pgmutex.held")
            .await,
        "/a/ /b/ /d/"
    );
}
