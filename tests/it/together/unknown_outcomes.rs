//! The connection breaks when the server has decided and the answer is on its way; or the server is
//! still about to commit. A call for many is not repeated: each is asked for on its own.

use std::time::Duration;

use pgmutex::{
    CaptureOutcome, CapturedAll, MutexBackend, PostgresBackend, PostgresSettings, Released,
    SchemaName, pool_for_url, private_server::PrivatePostgres,
};

use super::{captured, giving_back, refreshing, wish};
use crate::{
    guards::must,
    support::{Cut, Database, Proxy, mutex_id, run_in_private_server, session_at},
    unknown_outcomes::commits_wait_for_the_standby,
};

#[tokio::test]
async fn each_on_its_own_finds_what_was_decided() {
    let database = Database::fresh().await;
    let proxy = Proxy::in_front_of(database.url()).await;
    let backend = Database::backend_at(proxy.url());
    // It has a connection now.
    backend.now().await.unwrap();
    let ids = ["1", "2", "3"];
    let requests = ids.map(|id| wish(id, "me"));
    proxy.set(Cut::AnswerOfNextRequest);
    let unknown = backend.capture_together(&requests).await.unwrap_err();
    assert!(unknown.is_outcome_unknown(), "{unknown:?}");
    proxy.has_cut().await;
    let mut tokens = Vec::new();
    for (request, id) in requests.iter().zip(ids) {
        let again = captured(Some(backend.capture_all(request).await));
        assert_eq!(again.outcome, CaptureOutcome::Refreshed);
        assert_eq!(again.mutex.id, mutex_id(id));
        tokens.push(again.mutex.fencing_token);
    }

    proxy.set(Cut::AnswerOfNextRequest);
    let requests = ids.map(|id| refreshing(id, "me"));
    let unknown = backend.refresh_together(&requests).await.unwrap_err();
    assert!(unknown.is_outcome_unknown(), "{unknown:?}");
    proxy.has_cut().await;
    for (request, token) in requests.iter().zip(tokens) {
        assert_eq!(backend.refresh(request).await.unwrap().fencing_token, token);
    }

    proxy.set(Cut::AnswerOfNextRequest);
    let requests = ids.map(|id| giving_back(id, "me"));
    let unknown = backend.release_together(&requests).await.unwrap_err();
    assert!(unknown.is_outcome_unknown(), "{unknown:?}");
    proxy.has_cut().await;
    for request in &requests {
        assert_eq!(backend.release(request).await.unwrap(), Released::NotHeld);
    }
}

/// While it waits for its standby it has its locks: whoever asks again with others meanwhile would be
/// left alone, and that says nothing about what is about to be committed.
#[tokio::test]
async fn what_is_about_to_be_committed_is_unknown() {
    let local = PrivatePostgres::builder().setting("synchronous_commit", "local");
    let (server, mutexes) = run_in_private_server(local).await;
    drop(mutexes);
    let url = server.url("postgres");
    let session = session_at(&url).await;
    session
        .run("alter system set synchronous_standby_names = 'nobody'")
        .await;
    session.run("select pg_reload_conf()").await;
    must(commits_wait_for_the_standby(&url)).await;

    let mut settings = PostgresSettings::default();
    settings.call_timeout = Duration::from_secs(3);
    settings.settle_timeout = Duration::from_secs(60);
    let pool = pool_for_url(&url).unwrap();
    // To connect may take longer.
    drop(pool.get().await.unwrap());
    let backend = PostgresBackend::new(pool.clone(), SchemaName::default(), settings);
    let requests = ["1", "2"].map(|id| wish(id, "me"));
    let waiting = "select count(*)::text from pg_stat_activity where wait_event = 'SyncRep'";
    let (answers, _) = tokio::join!(
        backend.capture_together(&requests),
        must(session.ask_until(waiting, |count| count == "1"))
    );
    let unknown = answers.unwrap_err();
    assert!(unknown.is_outcome_unknown(), "{unknown:?}");

    session
        .run("alter system reset synchronous_standby_names")
        .await;
    session.run("select pg_reload_conf()").await;
    must(session.ask_until(waiting, |count| count == "0")).await;
    drop(pool.get().await.unwrap());
    for request in &requests {
        match must(backend.capture_all(request)).await.unwrap() {
            CapturedAll::Captured(holds) => {
                assert_eq!(holds[0].outcome, CaptureOutcome::Refreshed);
            }
            other @ CapturedAll::Queued(_) => panic!("{other:?}"),
        }
    }
}
