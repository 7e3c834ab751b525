//! The rules that end holds.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pgmutex::{AutoRelease, Error, MutexQuery};

use super::{Subject, secs};
use crate::support::{mutex_id, owner};

pub(super) async fn a_refresh_keeps_the_rule_unless_another_is_asked_for(subject: &Subject) {
    let id = mutex_id("a");
    let capture = || subject.mutexes.capture(&id).owner(owner("a"));
    capture().timeout(secs(60)).await.unwrap();
    let kept = capture().await.unwrap();
    assert_eq!(kept.auto_release, AutoRelease::Timeout(secs(60)));
    let changed = capture().timeout(secs(3600)).await.unwrap();
    assert_eq!(changed.auto_release, AutoRelease::Timeout(secs(3600)));
    assert_eq!(
        changed.expires_at,
        Some(changed.captured_since + TimeDelta::seconds(3600))
    );
}

pub(super) async fn never_is_never_over(subject: &Subject) {
    let id = mutex_id("a");
    let captured = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .auto_release(AutoRelease::Never)
        .await
        .unwrap();
    assert_eq!(captured.expires_at, None);
    subject.pass(2_000_000_000).await;
    assert!(
        subject
            .mutexes
            .capture(&id)
            .owner(owner("b"))
            .await
            .unwrap_err()
            .is_busy()
    );
    assert_eq!(subject.mutexes.sweep().await.unwrap(), 0);
}

pub(super) async fn a_deadline_ends_a_hold_however_often_it_is_refreshed(subject: &Subject) {
    let id = mutex_id("a");
    let deadline = subject.now() + TimeDelta::days(365);
    let captured = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .deadline(deadline)
        .await
        .unwrap();
    let end = captured.expires_at.unwrap();
    assert!((end - deadline).abs() < TimeDelta::milliseconds(1));
    let refreshed = subject
        .mutexes
        .refresh(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(refreshed.expires_at, Some(end));
}

pub(super) async fn a_deadline_that_has_passed_is_refused(subject: &Subject) {
    let id = mutex_id("a");
    let refused = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .deadline(subject.now() - TimeDelta::days(1))
        .await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert!(
        subject
            .mutexes
            .request_by(&id, &owner("a"))
            .await
            .unwrap()
            .is_free()
    );
}

pub(super) async fn a_rule_that_cannot_be_meant_is_refused(subject: &Subject) {
    let id = mutex_id("a");
    let custom = |code: &str| AutoRelease::Custom {
        code: code.to_owned(),
        config: String::new(),
    };
    for rule in [
        AutoRelease::Timeout(secs(0)),
        AutoRelease::Timeout(Duration::from_millis(1500)),
        AutoRelease::Timeout(secs(3_153_600_001)),
        AutoRelease::Timeout(Duration::MAX),
        AutoRelease::Deadline(DateTime::<Utc>::MAX_UTC),
        AutoRelease::restore("timeout", "soon"),
        custom("timeout"),
        custom("connection"),
    ] {
        let refused = subject
            .mutexes
            .capture(&id)
            .owner(owner("a"))
            .auto_release(rule.clone())
            .await;
        assert!(
            matches!(refused, Err(Error::InvalidRule { .. })),
            "{rule:?}: {refused:?}"
        );
    }
    assert_eq!(subject.mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}
