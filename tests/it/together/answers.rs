//! What the answers say.

use std::time::Duration;

use pgmutex::{
    Access, AutoRelease, CaptureAllRequest, CaptureOutcome, Error, MutexBackend, MutexOwner,
    MutexState, Released, StateRequest,
};

use super::{captured, giving_back, refreshing, wish, wish_with};
use crate::support::{Database, mutex_id, owner};

/// Requests that differ in everything that a request can say.
fn of_all_kinds() -> Vec<CaptureAllRequest> {
    let mut requests: Vec<CaptureAllRequest> = (0..12)
        .map(|number| wish(&format!("kind {number}"), &format!("asker {number}")))
        .collect();
    let rules = [
        AutoRelease::Never,
        AutoRelease::Timeout(Duration::from_secs(7)),
        AutoRelease::Deadline("2100-02-03T04:05:06.123456789Z".parse().unwrap()),
        AutoRelease::Custom {
            code: "tide".to_owned(),
            config: "high".to_owned(),
        },
    ];
    for (request, rule) in requests[1..].iter_mut().zip(rules) {
        request.captures[0].auto_release = Some(rule);
    }
    requests[5].captures[0].status_data = Some("busy \u{e9}".to_owned());
    requests[6].captures[0].status_data = Some(String::new());
    requests[7].captures[0].access = Access::permit_of(3);
    requests[8].captures[0].access = Access::shared();
    requests[9].captures[0].owner = MutexOwner::new("asker 9")
        .unwrap()
        .with_name("Ada")
        .unwrap();
    requests
}

#[tokio::test]
async fn an_answer_tells_of_the_hold_as_it_is_stored() {
    let database = Database::fresh().await;
    let backend = database.backend();
    let requests = of_all_kinds();
    let answers = backend.capture_together(&requests).await.unwrap();
    assert_eq!(answers.len(), requests.len());
    let mut tokens = Vec::new();
    for (answer, request) in answers.into_iter().zip(&requests) {
        let answer = captured(answer);
        assert_eq!(answer.outcome, CaptureOutcome::Captured);
        let stored = StateRequest {
            id: request.captures[0].id.clone(),
            owner: request.captures[0].owner.clone(),
        };
        let stored = backend.request(&stored).await.unwrap().value;
        tokens.push(answer.mutex.fencing_token);
        assert_eq!(stored, MutexState::CapturedByMe(answer.mutex));
    }
    assert!(tokens.is_sorted());
    tokens.dedup();
    assert_eq!(tokens.len(), requests.len());
}

#[tokio::test]
async fn every_caller_gets_an_answer_of_its_own() {
    let database = Database::fresh().await;
    let backend = database.backend();
    let requests = [
        wish("1", "me"),
        wish("2", "me"),
        wish("1", "you"),
        wish("1", "me"),
        wish_with(&mutex_id("/tree/"), "me", Access::Exclusive),
    ];
    let mut answers = backend
        .capture_together(&requests)
        .await
        .unwrap()
        .into_iter();
    let mut next = || answers.next().unwrap();
    let first = captured(next()).mutex;
    assert_eq!(captured(next()).mutex.id, mutex_id("2"));
    match next() {
        Some(Err(Error::Busy { id, holder, .. })) => {
            assert_eq!((id, *holder), (mutex_id("1"), first.clone()));
        }
        other => panic!("{other:?}"),
    }
    let again = captured(next());
    assert_eq!(again.outcome, CaptureOutcome::Refreshed);
    assert_eq!(again.mutex.fencing_token, first.fencing_token);
    assert!(next().is_none(), "a path is left alone");

    let refreshed = backend
        .refresh_together(&[
            refreshing("1", "me"),
            refreshing("2", "you"),
            refreshing("3", "me"),
        ])
        .await
        .unwrap();
    assert!(matches!(&refreshed[0], Some(Ok(mutex)) if mutex.owner == owner("me")));
    assert!(
        matches!(&refreshed[1], Some(Err(Error::Busy { holder, .. })) if holder.owner == owner("me"))
    );
    assert!(matches!(&refreshed[2], Some(Err(Error::Lost { .. }))));

    let released = backend
        .release_together(&[
            giving_back("1", "you"),
            giving_back("1", "me"),
            giving_back("1", "me"),
            giving_back("2", "me"),
        ])
        .await
        .unwrap();
    assert!(matches!(&released[0], Some(Err(Error::Busy { .. }))));
    assert!(
        matches!(&released[1], Some(Ok(Released::Released(mutex))) if mutex.fencing_token == first.fencing_token)
    );
    assert!(matches!(&released[2], Some(Ok(Released::NotHeld))));
    assert!(matches!(&released[3], Some(Ok(Released::Released(_)))));
    assert_eq!(backend.capture_together(&[]).await.unwrap().len(), 0);
}
