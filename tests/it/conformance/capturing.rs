//! Who gets a mutex, who is refused, and what each is told.

use chrono::TimeDelta;
use pgmutex::{
    AutoRelease, CaptureOutcome, Error, MutexOwner, MutexState, current_owner, with_owner,
};

use super::{Subject, secs};
use crate::support::{mutex_id, owner};

pub(super) async fn a_free_mutex_is_captured(subject: &Subject) {
    let me = MutexOwner::new("me")
        .and_then(|me| me.with_name("Ada"))
        .and_then(|me| me.with_login("ada"))
        .and_then(|me| me.with_user_id("7"))
        .and_then(|me| me.with_host("10.0.0.1"))
        .unwrap();
    let id = mutex_id("a");
    let captured = subject
        .mutexes
        .capture(&id)
        .owner(me.clone())
        .status_data("req-7")
        .await
        .unwrap();
    assert_eq!(captured.outcome, CaptureOutcome::Captured);
    assert_eq!(captured.mutex.id, id);
    assert_eq!(captured.mutex.owner, me);
    assert_eq!(captured.status_data.as_deref(), Some("req-7"));
    assert_eq!(captured.auto_release, AutoRelease::Timeout(secs(300)));
    assert_eq!(captured.permit, 0);
    assert_eq!(captured.captured_since, captured.held_since);
    assert_eq!(
        captured.expires_at,
        Some(captured.captured_since + TimeDelta::seconds(300))
    );
    assert!(captured.check_owner(&me));
}

pub(super) async fn a_held_mutex_is_refused_to_others_with_its_holder(subject: &Subject) {
    let id = mutex_id("a");
    let held = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let refused = subject
        .mutexes
        .capture(&id)
        .owner(owner("b"))
        .await
        .unwrap_err();
    assert!(refused.is_busy() && !refused.is_transient());
    let Error::Busy {
        id: refused_id,
        holder,
        observed_at,
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(refused_id, id);
    assert_eq!(*holder, held.mutex);
    assert!(observed_at >= held.captured_since);
}

pub(super) async fn capturing_again_refreshes_and_keeps_the_token(subject: &Subject) {
    let id = mutex_id("a");
    let first = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject.pass(10).await;
    let second = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(second.outcome, CaptureOutcome::Refreshed);
    assert_eq!(second.fencing_token, first.fencing_token);
    assert!(second.captured_since > second.held_since);
    assert_eq!(
        second.expires_at,
        Some(second.captured_since + TimeDelta::seconds(300))
    );
}

pub(super) async fn status_data_is_replaced_only_by_a_text_that_is_not_empty(subject: &Subject) {
    let id = mutex_id("a");
    let capture = |text: Option<&str>| {
        let capture = subject.mutexes.capture(&id).owner(owner("a"));
        match text {
            Some(text) => capture.status_data(text),
            None => capture,
        }
    };
    let status = async |text| capture(text).await.unwrap().mutex.status_data;
    assert_eq!(status(Some("one")).await.as_deref(), Some("one"));
    assert_eq!(status(None).await.as_deref(), Some("one"));
    assert_eq!(status(Some("")).await.as_deref(), Some("one"));
    assert_eq!(status(Some("two")).await.as_deref(), Some("two"));
    let refreshed = subject
        .mutexes
        .refresh(&id)
        .owner(owner("a"))
        .status_data("three")
        .await
        .unwrap();
    assert_eq!(refreshed.status_data.as_deref(), Some("three"));
}

pub(super) async fn a_hold_whose_timeout_has_passed_makes_way(subject: &Subject) {
    let id = mutex_id("a");
    let first = subject
        .mutexes
        .capture(&id)
        .owner(owner("a").with_name("Ada").unwrap())
        .timeout(secs(36_000))
        .await
        .unwrap();
    subject.pass(20_000).await;
    assert!(
        subject
            .mutexes
            .capture(&id)
            .owner(owner("b"))
            .await
            .unwrap_err()
            .is_busy()
    );
    subject.pass(17_000).await;
    let second = subject
        .mutexes
        .capture(&id)
        .owner(owner("b"))
        .await
        .unwrap();
    let evicted = second.evicted().unwrap();
    assert_eq!(evicted.session_id, "a");
    assert_eq!(evicted.name, "Ada");
    assert_eq!(evicted.fencing_token, first.fencing_token);
    assert!(second.fencing_token > first.fencing_token);
}

pub(super) async fn ones_own_hold_that_is_over_is_captured_anew(subject: &Subject) {
    let id = mutex_id("a");
    let first = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject.pass(301).await;
    let second = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(second.evicted().unwrap().session_id, "a");
    assert!(second.fencing_token > first.fencing_token);
}

pub(super) async fn tokens_grow_with_every_capture(subject: &Subject) {
    let id = mutex_id("a");
    let mut last = None;
    for round in 0..20 {
        let captured = subject
            .mutexes
            .capture(&id)
            .owner(owner(&format!("owner {round}")))
            .await
            .unwrap();
        assert!(Some(captured.fencing_token) > last);
        last = Some(captured.fencing_token);
        if round % 2 == 0 {
            let owner = captured.owner.clone();
            subject.mutexes.release(&id).owner(owner).await.unwrap();
        } else {
            subject.pass(301).await;
        }
    }
}

pub(super) async fn calls_without_an_owner_use_the_current_one(subject: &Subject) {
    let id = mutex_id("a");
    assert_eq!(current_owner(), MutexOwner::console());
    with_owner(owner("ada"), async {
        let captured = subject.mutexes.capture(&id).await.unwrap();
        assert_eq!(captured.owner, owner("ada"));
        subject.mutexes.refresh(&id).await.unwrap();
        assert!(matches!(
            subject.mutexes.request(&id).await.unwrap(),
            MutexState::CapturedByMe(_)
        ));
    })
    .await;
    assert!(subject.mutexes.capture(&id).await.unwrap_err().is_busy());
    assert!(subject.mutexes.release(&id).await.unwrap_err().is_busy());
    with_owner(owner("ada"), async {
        assert!(subject.mutexes.release(&id).await.unwrap().is_released());
    })
    .await;
    let captured = subject.mutexes.capture(&id).await.unwrap();
    assert_eq!(captured.owner, MutexOwner::console());
}

pub(super) async fn what_a_capture_returns_is_what_a_request_sees(subject: &Subject) {
    let id = mutex_id("a");
    for _ in 0..2 {
        let captured = subject
            .mutexes
            .capture(&id)
            .owner(owner("a"))
            .status_data("text")
            .await
            .unwrap();
        let state = subject.mutexes.request_by(&id, &owner("a")).await.unwrap();
        assert_eq!(state.mutex(), Some(&captured.mutex));
        subject.pass(1).await;
    }
}
