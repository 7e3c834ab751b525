//! Which holds a DELETE may remove.

use super::{Application, with_view};

#[tokio::test]
async fn a_release_frees_the_mutex_and_wakes_the_next() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    application.insert("m", "a").await.unwrap();
    application.read("m").await.unwrap();
    assert_eq!(application.delete("m").await.unwrap(), "1");
    assert_eq!(session.capture("m", "s").await, "captured");
}

#[tokio::test]
async fn what_others_hold_stays_until_it_is_over() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    session.capture("m", "s").await;
    application.read("m").await.unwrap();
    assert_eq!(application.delete("m").await.unwrap(), "0");
    assert_eq!(
        application.count("delete from m3_mutex").await.unwrap(),
        "0"
    );
    assert_eq!(session.capture("m", "t").await, "busy");
}

/// The package compares owners before it refreshes: it is one owner's, whoever captured first.
#[tokio::test]
async fn what_was_refreshed_through_the_view_can_be_released_through_it() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    for id in ["refreshed", "captured again"] {
        session.capture(id, "a").await;
        assert_eq!(application.delete(id).await.unwrap(), "0");
        if id == "refreshed" {
            application.read(id).await.unwrap();
            assert_eq!(application.update(id).await.unwrap(), "1");
        } else {
            application.insert(id, "a").await.unwrap();
        }
        assert_eq!(application.delete(id).await.unwrap(), "1");
        assert_eq!(session.capture(id, "s").await, "captured");
    }
}

#[tokio::test]
async fn a_hold_behind_its_fence_stays() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    application.insert("m", "a").await.unwrap();
    session
        .run("begin; select f.* from pgmutex.held h, pgmutex.fence('tests', 'step', 'm', h.fencing_token) f")
        .await;
    assert_eq!(application.delete("m").await.unwrap(), "0");
    session.run("commit").await;
    assert_eq!(application.delete("m").await.unwrap(), "1");
}

/// What Django sends where something listens to the signals of deletions.
#[tokio::test]
async fn deleting_by_number_means_one_hold() {
    let database = with_view().await;
    let (a, b) = (
        Application::new(&database).await,
        Application::new(&database).await,
    );
    let number = a.insert("m", "a").await.unwrap();
    let by_number = format!("delete from m3_mutex where id in ({number})");
    a.0.age("m", "1 hour").await;
    b.insert("m", "b").await.unwrap();
    assert_eq!(b.count(&by_number).await.unwrap(), "0");
    let number = b.read("m").await.unwrap().replace(" b", "");
    let by_number = format!("delete from m3_mutex where id in ({number})");
    assert_eq!(a.count(&by_number).await.unwrap(), "1");
}

/// `delete_stale_mutexes_pg`.
#[tokio::test]
async fn the_packages_clearing_away_removes_what_is_over_and_nothing_else() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    application.insert("over", "a").await.unwrap();
    application.insert("live", "a").await.unwrap();
    session.capture("theirs, over", "s").await;
    session.age("over", "1 hour").await;
    session.age("theirs, over", "1 hour").await;
    // Settings that the package's cast to an integer would not survive.
    session
        .capture_as(
            "long",
            "s",
            "auto_release_rule => 'timeout', auto_release_config => '3153600000'",
        )
        .await;
    session
        .run("insert into pgmutex.mutex_model (mutex_group, owner_session, auto_release_rule, auto_release_config) values ('odd', 's', 'timeout', 'soon')")
        .await;
    let clear = "delete from m3_mutex where auto_release_rule = 'timeout' \
                 and (extract(epoch from captured_since) + auto_release_config::integer) < extract(epoch from now())::bigint";
    assert_eq!(application.count(clear).await.unwrap(), "0");
    let left = "select string_agg(mutex_id, ' ' order by mutex_id) from pgmutex.hold where mutex_group = 'tests'";
    assert_eq!(session.ask(left).await, "live long");
    // A clock that is ahead: what others hold stays.
    let ahead = clear.replace("now()", "now() + interval '1 year'");
    assert_eq!(application.count(&ahead).await.unwrap(), "1");
    assert_eq!(session.ask(left).await, "long");
}

#[tokio::test]
async fn clearing_away_in_a_larger_transaction_keeps_no_turns() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    for id in ["one", "two"] {
        session.capture(id, "s").await;
        session.age(id, "1 hour").await;
    }
    application.0.run("begin").await;
    // Time passes between the beginning of a request and what it deletes.
    application.0.run("select pg_sleep(0.05)").await;
    assert_eq!(application.delete("none").await.unwrap(), "0");
    let locks = "select count(*)::text from pg_locks where locktype = 'advisory' and granted and pid <> pg_backend_pid() \
                 and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(session.ask(locks).await, "0");
    application.0.run("commit").await;
}

/// The package judges by what it has read: meanwhile the holder may have refreshed.
#[tokio::test]
async fn a_late_eviction_does_not_remove_a_hold_that_was_refreshed_since() {
    let database = with_view().await;
    let (holder, other) = (
        Application::new(&database).await,
        Application::new(&database).await,
    );
    holder.insert("m", "a").await.unwrap();
    other.read("m").await.unwrap();
    holder.read("m").await.unwrap();
    assert_eq!(holder.update("m").await.unwrap(), "1");
    assert_eq!(other.delete("m").await.unwrap(), "0");
    let (code, _) = other.insert("m", "b").await.unwrap_err();
    assert_eq!(code, "23505");
    holder.read("m").await.unwrap();
    assert_eq!(holder.delete("m").await.unwrap(), "1");
}
