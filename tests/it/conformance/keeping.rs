//! What a holder does with its hold: refreshing it and giving it back.

use pgmutex::{CaptureOutcome, Error, MutexQuery, Released};

use super::Subject;
use crate::support::{mutex_id, owner};

pub(super) async fn a_refresh_starts_the_time_again(subject: &Subject) {
    let id = mutex_id("a");
    let captured = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject.pass(200).await;
    let refreshed = subject
        .mutexes
        .refresh(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(refreshed.fencing_token, captured.fencing_token);
    subject.pass(200).await;
    assert!(
        subject
            .mutexes
            .capture(&id)
            .owner(owner("b"))
            .await
            .unwrap_err()
            .is_busy()
    );
}

pub(super) async fn a_refresh_of_what_is_not_held_says_lost(subject: &Subject) {
    let id = mutex_id("a");
    let refresh = async || subject.mutexes.refresh(&id).owner(owner("a")).await;
    assert!(matches!(refresh().await, Err(Error::Lost { .. })));
    subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject.pass(301).await;
    assert!(matches!(refresh().await, Err(Error::Lost { .. })));
    assert!(
        subject
            .mutexes
            .request_by(&id, &owner("a"))
            .await
            .unwrap()
            .is_free()
    );
}

pub(super) async fn a_refresh_of_anothers_mutex_says_busy(subject: &Subject) {
    let id = mutex_id("a");
    subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let refused = subject.mutexes.refresh(&id).owner(owner("b")).await;
    assert!(refused.unwrap_err().is_busy());
}

pub(super) async fn a_refresh_by_token_means_that_very_hold(subject: &Subject) {
    let id = mutex_id("a");
    let old = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject
        .mutexes
        .release(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let new = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let refresh = async |token| {
        subject
            .mutexes
            .refresh(&id)
            .owner(owner("a"))
            .token(token)
            .await
    };
    let Err(Error::Lost { token, .. }) = refresh(old.fencing_token).await else {
        panic!("the old hold was refreshed");
    };
    assert_eq!(token, Some(old.fencing_token));
    assert_eq!(
        refresh(new.fencing_token).await.unwrap().fencing_token,
        new.fencing_token
    );
}

pub(super) async fn a_release_frees_and_says_what_was_released(subject: &Subject) {
    let id = mutex_id("a");
    let captured = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let released = subject
        .mutexes
        .release(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert!(released.is_released());
    assert_eq!(released, Released::Released(Box::new(captured.mutex)));
    let next = subject
        .mutexes
        .capture(&id)
        .owner(owner("b"))
        .await
        .unwrap();
    assert_eq!(next.outcome, CaptureOutcome::Captured);
}

pub(super) async fn a_release_of_what_is_not_held_is_no_error(subject: &Subject) {
    let released = subject
        .mutexes
        .release(&mutex_id("a"))
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(released, Released::NotHeld);
}

pub(super) async fn a_release_of_anothers_mutex_says_busy(subject: &Subject) {
    let id = mutex_id("a");
    let held = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let Err(Error::Busy { holder, .. }) = subject.mutexes.release(&id).owner(owner("b")).await
    else {
        panic!("another's mutex was released");
    };
    assert_eq!(*holder, held.mutex);
    assert!(
        subject
            .mutexes
            .capture(&id)
            .owner(owner("b"))
            .await
            .unwrap_err()
            .is_busy()
    );
}

pub(super) async fn a_release_by_token_means_that_very_hold(subject: &Subject) {
    let id = mutex_id("a");
    let old = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject
        .mutexes
        .release(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let new = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    let release = async |token| {
        subject
            .mutexes
            .release(&id)
            .owner(owner("a"))
            .token(token)
            .await
            .unwrap()
    };
    assert_eq!(release(old.fencing_token).await, Released::NotHeld);
    assert!(release(new.fencing_token).await.is_released());
}

pub(super) async fn a_release_of_a_hold_that_is_over_says_not_held(subject: &Subject) {
    let id = mutex_id("a");
    subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject.pass(301).await;
    let released = subject
        .mutexes
        .release(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(released, Released::NotHeld);
    let everything = MutexQuery::all().include_over();
    assert_eq!(subject.mutexes.count(&everything).await.unwrap(), 0);
}
