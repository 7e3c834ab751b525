//! What every backend must do, written once and run on each.

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use pgmutex::{
    AutoRelease, CaptureOutcome, Error, ForceReleased, MutexId, MutexOwner, MutexQuery, MutexState,
    Mutexes, Released, SessionBackend, current_owner, with_owner,
};

use crate::support::{Database, mutex_id, owner};

/// A backend under test, and a way to let its time pass.
struct Subject {
    mutexes: Mutexes,
    time: Time,
}

enum Time {
    /// The database's clock cannot be moved, so the holds are made older.
    Postgres(Database),
    Session(Arc<StdMutex<DateTime<Utc>>>),
}

impl Subject {
    async fn postgres() -> Self {
        let database = Database::fresh().await;
        Self {
            mutexes: database.mutexes().await,
            time: Time::Postgres(database),
        }
    }

    fn session() -> Self {
        let now = Arc::new(StdMutex::new(Utc::now()));
        let clock = Arc::clone(&now);
        let backend = SessionBackend::new().with_clock(move || *clock.lock().unwrap());
        Self {
            mutexes: Mutexes::builder().backend(backend),
            time: Time::Session(now),
        }
    }

    async fn pass(&self, seconds: i32) {
        match &self.time {
            Time::Postgres(database) => {
                let older = format!(
                    "update pgmutex.mutex_model set captured_since = captured_since - interval '{seconds} seconds', \
                     held_since = held_since - interval '{seconds} seconds'"
                );
                database.client().await.batch_execute(&older).await.unwrap();
            }
            Time::Session(now) => *now.lock().unwrap() += TimeDelta::seconds(seconds.into()),
        }
    }

    /// The backend's present.
    fn now(&self) -> DateTime<Utc> {
        match &self.time {
            Time::Postgres(_) => Utc::now(),
            Time::Session(now) => *now.lock().unwrap(),
        }
    }
}

macro_rules! on_every_backend {
    ($($case:ident)*) => {
        mod postgres {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Subject::postgres().await).await;
            })*
        }

        mod session {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Subject::session()).await;
            })*
        }
    };
}

on_every_backend! {
    a_free_mutex_is_captured
    a_held_mutex_is_refused_to_others_with_its_holder
    capturing_again_refreshes_and_keeps_the_token
    status_data_is_replaced_only_by_a_text_that_is_not_empty
    a_refresh_keeps_the_rule_unless_another_is_asked_for
    a_hold_whose_timeout_has_passed_makes_way
    ones_own_hold_that_is_over_is_captured_anew
    a_refresh_starts_the_time_again
    a_refresh_of_what_is_not_held_says_lost
    a_refresh_of_anothers_mutex_says_busy
    a_refresh_by_token_means_that_very_hold
    a_release_frees_and_says_what_was_released
    a_release_of_what_is_not_held_is_no_error
    a_release_of_anothers_mutex_says_busy
    a_release_by_token_means_that_very_hold
    a_release_of_a_hold_that_is_over_says_not_held
    request_tells_free_mine_and_others
    request_removes_what_is_over
    never_is_never_over
    a_deadline_ends_a_hold_however_often_it_is_refreshed
    a_deadline_that_has_passed_is_refused
    a_rule_that_cannot_be_meant_is_refused
    force_release_takes_a_mutex_away
    sweep_removes_what_is_over_and_nothing_else
    tokens_grow_with_every_capture
    list_orders_filters_and_pages
    list_leaves_out_what_is_over_unless_asked
    calls_without_an_owner_use_the_current_one
    what_a_capture_returns_is_what_a_request_sees
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn a_free_mutex_is_captured(subject: &Subject) {
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

async fn a_held_mutex_is_refused_to_others_with_its_holder(subject: &Subject) {
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

async fn capturing_again_refreshes_and_keeps_the_token(subject: &Subject) {
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

async fn status_data_is_replaced_only_by_a_text_that_is_not_empty(subject: &Subject) {
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

async fn a_refresh_keeps_the_rule_unless_another_is_asked_for(subject: &Subject) {
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

async fn a_hold_whose_timeout_has_passed_makes_way(subject: &Subject) {
    let id = mutex_id("a");
    let first = subject
        .mutexes
        .capture(&id)
        .owner(owner("a").with_name("Ada").unwrap())
        .timeout(secs(60))
        .await
        .unwrap();
    subject.pass(50).await;
    assert!(
        subject
            .mutexes
            .capture(&id)
            .owner(owner("b"))
            .await
            .unwrap_err()
            .is_busy()
    );
    subject.pass(11).await;
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

async fn ones_own_hold_that_is_over_is_captured_anew(subject: &Subject) {
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

async fn a_refresh_starts_the_time_again(subject: &Subject) {
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

async fn a_refresh_of_what_is_not_held_says_lost(subject: &Subject) {
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

async fn a_refresh_of_anothers_mutex_says_busy(subject: &Subject) {
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

async fn a_refresh_by_token_means_that_very_hold(subject: &Subject) {
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

async fn a_release_frees_and_says_what_was_released(subject: &Subject) {
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

async fn a_release_of_what_is_not_held_is_no_error(subject: &Subject) {
    let released = subject
        .mutexes
        .release(&mutex_id("a"))
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(released, Released::NotHeld);
}

async fn a_release_of_anothers_mutex_says_busy(subject: &Subject) {
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

async fn a_release_by_token_means_that_very_hold(subject: &Subject) {
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

async fn a_release_of_a_hold_that_is_over_says_not_held(subject: &Subject) {
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

async fn request_tells_free_mine_and_others(subject: &Subject) {
    let id = mutex_id("a");
    let state = async |session| {
        subject
            .mutexes
            .request_by(&id, &owner(session))
            .await
            .unwrap()
    };
    assert_eq!(state("a").await, MutexState::Free);
    let held = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(
        state("a").await,
        MutexState::CapturedByMe(held.mutex.clone())
    );
    assert_eq!(state("b").await, MutexState::CapturedByOther(held.mutex));
}

async fn request_removes_what_is_over(subject: &Subject) {
    let id = mutex_id("a");
    subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    subject.pass(301).await;
    let state = subject.mutexes.request_by(&id, &owner("b")).await.unwrap();
    assert!(state.is_free() && state.mutex().is_none());
    let everything = MutexQuery::all().include_over();
    assert_eq!(subject.mutexes.count(&everything).await.unwrap(), 0);
}

async fn never_is_never_over(subject: &Subject) {
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

async fn a_deadline_ends_a_hold_however_often_it_is_refreshed(subject: &Subject) {
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

async fn a_deadline_that_has_passed_is_refused(subject: &Subject) {
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

async fn a_rule_that_cannot_be_meant_is_refused(subject: &Subject) {
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

async fn force_release_takes_a_mutex_away(subject: &Subject) {
    let id = mutex_id("a");
    let force = || subject.mutexes.force_release(&id, "in the way");
    assert_eq!(force().await.unwrap(), ForceReleased::NotHeld);
    let first = subject
        .mutexes
        .capture(&id)
        .owner(owner("a"))
        .await
        .unwrap();
    assert_eq!(
        force().await.unwrap(),
        ForceReleased::Released(Box::new(first.mutex.clone()))
    );
    assert!(matches!(
        subject.mutexes.refresh(&id).owner(owner("a")).await,
        Err(Error::Lost { .. })
    ));
    let second = subject
        .mutexes
        .capture(&id)
        .owner(owner("b"))
        .await
        .unwrap();
    // Whoever looked at the first hold does not take the second one away.
    assert_eq!(
        force().token(first.fencing_token).await.unwrap(),
        ForceReleased::NotHeld
    );
    assert!(matches!(
        force().token(second.fencing_token).await.unwrap(),
        ForceReleased::Released(_)
    ));
}

async fn sweep_removes_what_is_over_and_nothing_else(subject: &Subject) {
    let capture = |id: &str| subject.mutexes.capture(&mutex_id(id)).owner(owner("a"));
    capture("short").timeout(secs(60)).await.unwrap();
    capture("long").timeout(secs(3600)).await.unwrap();
    capture("never")
        .auto_release(AutoRelease::Never)
        .await
        .unwrap();
    subject.pass(61).await;
    assert_eq!(subject.mutexes.sweep().await.unwrap(), 1);
    assert_eq!(subject.mutexes.sweep().await.unwrap(), 0);
    let left = subject
        .mutexes
        .list(&MutexQuery::all().include_over())
        .await
        .unwrap();
    let ids: Vec<&str> = left.mutexes.iter().map(|mutex| mutex.id.id()).collect();
    assert_eq!(ids, ["long", "never"]);
}

async fn tokens_grow_with_every_capture(subject: &Subject) {
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

async fn list_orders_filters_and_pages(subject: &Subject) {
    let me = owner("a")
        .with_user_id("7")
        .unwrap()
        .with_login("ada")
        .unwrap();
    for (group, id) in [
        ("g", "b"),
        ("g", "a%"),
        ("g", "aa"),
        ("h", "a"),
        ("G", "z"),
        ("g", "é"),
    ] {
        let id = MutexId::new(group, "m", id).unwrap();
        subject
            .mutexes
            .capture(&id)
            .owner(me.clone())
            .await
            .unwrap();
    }
    let other = MutexId::new("g", "n", "a").unwrap();
    subject
        .mutexes
        .capture(&other)
        .owner(owner("b"))
        .await
        .unwrap();

    let names = async |query: MutexQuery| -> Vec<String> {
        let page = subject.mutexes.list(&query).await.unwrap();
        page.mutexes
            .iter()
            .map(|mutex| mutex.id.to_string())
            .collect()
    };
    let everything = [
        "G/m/z", "g/m/a%", "g/m/aa", "g/m/b", "g/m/é", "g/n/a", "h/m/a",
    ];
    assert_eq!(names(MutexQuery::all()).await, everything);
    assert_eq!(names(MutexQuery::all().group("h")).await, ["h/m/a"]);
    assert_eq!(names(MutexQuery::all().mode("n")).await, ["g/n/a"]);
    assert_eq!(names(MutexQuery::all().mutex_id("b")).await, ["g/m/b"]);
    assert_eq!(
        names(MutexQuery::all().mutex_id_prefix("a%")).await,
        ["g/m/a%"]
    );
    assert_eq!(names(MutexQuery::all().session_id("b")).await, ["g/n/a"]);
    assert_eq!(
        names(MutexQuery::all().user_id("7").group("h")).await,
        ["h/m/a"]
    );
    assert_eq!(names(MutexQuery::all().login("eve")).await, [""; 0]);
    assert_eq!(
        names(MutexQuery::all().auto_release_rule("timeout")).await,
        everything
    );
    assert_eq!(names(MutexQuery::all().start(5)).await, everything[5..]);
    assert_eq!(
        names(MutexQuery::all().start(2).page_size(2)).await,
        everything[2..4]
    );
    assert_eq!(
        subject
            .mutexes
            .count(&MutexQuery::all().page_size(1))
            .await
            .unwrap(),
        7
    );
    assert_eq!(
        subject
            .mutexes
            .count(&MutexQuery::all().group("g"))
            .await
            .unwrap(),
        5
    );

    let mut seen = Vec::new();
    let mut query = MutexQuery::all().page_size(3);
    loop {
        let page = subject.mutexes.list(&query).await.unwrap();
        seen.extend(page.mutexes.iter().map(|mutex| mutex.id.to_string()));
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    assert_eq!(seen, everything);
}

async fn list_leaves_out_what_is_over_unless_asked(subject: &Subject) {
    subject
        .mutexes
        .capture(&mutex_id("a"))
        .owner(owner("a"))
        .await
        .unwrap();
    subject.pass(301).await;
    assert_eq!(subject.mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
    let everything = MutexQuery::all().include_over();
    assert_eq!(
        subject
            .mutexes
            .list(&everything)
            .await
            .unwrap()
            .mutexes
            .len(),
        1
    );
}

async fn calls_without_an_owner_use_the_current_one(subject: &Subject) {
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

async fn what_a_capture_returns_is_what_a_request_sees(subject: &Subject) {
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

#[tokio::test]
async fn a_group_can_be_routed_to_a_backend_of_its_own() {
    let database = Database::fresh().await;
    let mutexes = Mutexes::builder()
        .route("request", SessionBackend::per_request())
        .connect(database.url())
        .await
        .unwrap();
    let (kept, passing) = (
        MutexId::new("orders", "edit", "1").unwrap(),
        MutexId::new("request", "edit", "1").unwrap(),
    );
    mutexes.capture(&kept).await.unwrap();
    assert!(matches!(
        mutexes.capture(&passing).await,
        Err(Error::OutsideScope)
    ));
    SessionBackend::scope(async {
        mutexes.capture(&passing).owner(owner("a")).await.unwrap();
        let refused = mutexes.capture(&passing).owner(owner("b")).await;
        assert!(refused.unwrap_err().is_busy());
        let page = mutexes.list(&MutexQuery::all().group("request")).await;
        assert_eq!(page.unwrap().mutexes.len(), 1);
    })
    .await;
    SessionBackend::scope(async {
        assert!(mutexes.request(&passing).await.unwrap().is_free());
    })
    .await;
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
}
