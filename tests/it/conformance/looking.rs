//! Looking at holds, and looking after those of others.

use pgmutex::{AutoRelease, Error, ForceReleased, MutexId, MutexQuery, MutexState};

use super::{Subject, secs};
use crate::support::{mutex_id, owner};

pub(super) async fn request_tells_free_mine_and_others(subject: &Subject) {
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

pub(super) async fn request_removes_what_is_over(subject: &Subject) {
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

pub(super) async fn force_release_takes_a_mutex_away(subject: &Subject) {
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

pub(super) async fn sweep_removes_what_is_over_and_nothing_else(subject: &Subject) {
    let capture = |id: &str| subject.mutexes.capture(mutex_id(id)).owner(owner("a"));
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

pub(super) async fn list_orders_filters_and_pages(subject: &Subject) {
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

pub(super) async fn list_leaves_out_what_is_over_unless_asked(subject: &Subject) {
    subject
        .mutexes
        .capture(mutex_id("a"))
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
