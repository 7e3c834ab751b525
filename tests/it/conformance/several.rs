//! Several mutexes in one call.

use chrono::TimeDelta;
use pgmutex::{
    Access, AutoRelease, CaptureAllRequest, CaptureOutcome, CaptureRequest, Captured, CapturedAll,
    Error, FencingToken, HoldToKeep, MutexId, MutexQuery, NotKept, ReleaseRequest, Released,
    ReleasedEach, Result,
};

use super::{Subject, queued, wish, wish_with};
use crate::support::{mutex_id, owner};

async fn capture_all(subject: &Subject, captures: &[CaptureRequest]) -> Result<CapturedAll> {
    let request = CaptureAllRequest {
        captures: captures.to_vec(),
        wait: false,
        while_holding: Vec::new(),
    };
    subject.backend.capture_all(&request).await
}

fn captured(answer: Result<CapturedAll>) -> Vec<Captured> {
    match answer {
        Ok(CapturedAll::Captured(captured)) => captured,
        other => panic!("not captured: {other:?}"),
    }
}

async fn who_holds(subject: &Subject) -> Vec<String> {
    let page = subject.mutexes.list(&MutexQuery::all()).await.unwrap();
    let describe = |hold: &pgmutex::Mutex| format!("{}: {}", hold.id.id(), hold.owner.session_id());
    page.mutexes.iter().map(describe).collect()
}

fn ids() -> [MutexId; 3] {
    ["1", "2", "3"].map(mutex_id)
}

pub(super) async fn all_are_captured_in_the_order_of_the_request(subject: &Subject) {
    let [one, two, three] = ids();
    subject.capture(&two, "a").await;
    let requests = [
        wish(&three, "a"),
        wish(&two, "a"),
        wish_with(&one, "a", Access::permit_of(2)),
    ];
    let captured = captured(capture_all(subject, &requests).await);
    let ids: Vec<&MutexId> = captured.iter().map(|captured| &captured.id).collect();
    assert_eq!(ids, [&three, &two, &one]);
    let outcomes: Vec<&CaptureOutcome> =
        captured.iter().map(|captured| &captured.outcome).collect();
    let (anew, again) = (CaptureOutcome::Captured, CaptureOutcome::Refreshed);
    assert_eq!(outcomes, [&anew, &again, &anew]);
    assert_eq!((captured[2].permit, captured[2].permits), (1, Some(2)));
}

pub(super) async fn if_one_is_busy_none_is_captured(subject: &Subject) {
    let [one, two, three] = ids();
    let held = subject.capture(&two, "b").await;
    let refused = capture_all(subject, &ids().map(|id| wish(&id, "a"))).await;
    let Err(Error::Busy { id, holder, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((id, *holder), (two, held.mutex));
    assert_eq!(who_holds(subject).await, ["2: b"]);
    // And nobody waits.
    subject.capture(&one, "c").await;
    subject.capture(&three, "c").await;
}

pub(super) async fn none_is_captured_of_none(subject: &Subject) {
    assert!(captured(capture_all(subject, &[]).await).is_empty());
    assert!(captured(subject.wait_for_all(&[]).await).is_empty());
    assert!(subject.backend.capture_each(&[]).await.unwrap().is_empty());
    assert!(subject.backend.release_each(&[]).await.unwrap().is_empty());
    assert!(subject.backend.keep(&[]).await.unwrap().is_empty());
}

pub(super) async fn what_does_not_belong_together_is_refused(subject: &Subject) {
    let [one, two, _] = ids();
    for (requests, why) in [
        ([wish(&one, "a"), wish(&one, "a")], "a mutex is named twice"),
        (
            [wish(&one, "a"), wish(&two, "b")],
            "all requests must be for one owner_session",
        ),
    ] {
        let refused = capture_all(subject, &requests).await;
        assert!(
            matches!(&refused, Err(Error::Refused { reason }) if reason == why),
            "{refused:?}"
        );
    }
    assert_eq!(who_holds(subject).await, [""; 0]);
}

pub(super) async fn who_waits_for_several_has_a_place_in_every_line(subject: &Subject) {
    let [one, two, _] = ids();
    let held = subject.capture(&two, "b").await;
    let both = [wish(&one, "a"), wish(&two, "a")];
    let ticket = queued(subject.wait_for_all(&both).await);
    assert_eq!(*ticket.holder, held.mutex);
    assert_eq!(who_holds(subject).await, ["2: b"]);
    // The free one is not for newcomers.
    let refused = subject.backend.capture(&wish(&one, "c")).await;
    assert!(
        matches!(refused, Err(Error::Busy { holder, .. }) if holder.owner == owner("a") && holder.fencing_token.get() == 0)
    );
    assert_eq!(
        queued(subject.wait_for_all(&both).await).number,
        ticket.number
    );

    subject.release(&two, "b").await;
    subject.backend.turn(&ticket).await.unwrap();
    captured(subject.wait_for_all(&both).await);
    assert_eq!(who_holds(subject).await, ["1: a", "2: a"]);
    // No place is left behind.
    subject.release(&one, "a").await;
    subject.release(&two, "a").await;
    subject.capture(&one, "c").await;
    subject.capture(&two, "c").await;
}

pub(super) async fn two_who_want_the_same_ones_are_served_one_after_the_other(subject: &Subject) {
    let [one, two, three] = ids();
    subject.capture(&one, "c").await;
    subject.capture(&two, "d").await;
    let first = [wish(&one, "a"), wish(&two, "a")];
    let second = [wish(&two, "b"), wish(&three, "b"), wish(&one, "b")];
    queued(subject.wait_for_all(&first).await);
    queued(subject.wait_for_all(&second).await);
    subject.release(&two, "d").await;
    queued(subject.wait_for_all(&second).await);
    subject.release(&one, "c").await;
    queued(subject.wait_for_all(&second).await);
    captured(subject.wait_for_all(&first).await);
    queued(subject.wait_for_all(&second).await);
    subject.release(&one, "a").await;
    subject.release(&two, "a").await;
    captured(subject.wait_for_all(&second).await);
}

pub(super) async fn who_has_some_of_them_waits_for_the_others(subject: &Subject) {
    let [one, two, _] = ids();
    subject.capture(&one, "a").await;
    subject.capture(&two, "b").await;
    let both = [wish(&one, "a"), wish(&two, "a")];
    queued(subject.wait_for_all(&both).await);
    subject.release(&two, "b").await;
    let captured = captured(subject.wait_for_all(&both).await);
    assert_eq!(captured[0].outcome, CaptureOutcome::Refreshed);
    // It has no place in the line of what it had.
    subject.release(&one, "a").await;
    subject.capture(&one, "c").await;
}

pub(super) async fn who_waited_for_one_has_one_ticket_for_all(subject: &Subject) {
    let [one, two, _] = ids();
    subject.capture(&one, "c").await;
    subject.capture(&two, "c").await;
    let alone = subject.queue(&wish(&one, "a")).await;
    let between = subject.queue(&wish(&two, "b")).await;
    let later = subject.queue(&wish(&two, "a")).await;
    assert!(alone.number < between.number && between.number < later.number);
    let ticket = queued(
        subject
            .wait_for_all(&[wish(&one, "a"), wish(&two, "a")])
            .await,
    );
    assert_eq!(ticket.number, later.number);
    assert_eq!(subject.queue(&wish(&one, "a")).await.number, later.number);
}

pub(super) async fn nobody_has_joined_a_line_if_one_wait_could_never_end(subject: &Subject) {
    let [one, two, three] = ids();
    subject.capture(&one, "a").await;
    subject.capture(&two, "b").await;
    subject.queue(&wish(&two, "a")).await;
    let refused = subject
        .wait_for_all(&[wish(&three, "b"), wish(&one, "b")])
        .await;
    assert!(
        matches!(&refused, Err(Error::WaitCircle { .. })),
        "{refused:?}"
    );
    subject.capture(&three, "c").await;
    subject.release(&one, "a").await;
    subject.capture(&one, "c").await;
}

pub(super) async fn each_of_many_captures_is_for_itself(subject: &Subject) {
    let [one, two, three] = ids();
    let held = subject.capture(&two, "b").await;
    let requests = [
        wish(&three, "a"),
        wish(&two, "a"),
        wish(&one, "a"),
        wish(&three, "a"),
        wish(&three, "c"),
    ];
    let answers = subject.backend.capture_each(&requests).await.unwrap();
    let described: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            Ok(captured) => format!("{} {:?}", captured.id.id(), captured.outcome),
            Err(Error::Busy { id, holder, .. }) => format!("{} {}", id.id(), holder.owner),
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(
        described,
        [
            "3 Captured",
            "2 session b",
            "1 Captured",
            "3 Refreshed",
            "3 session a"
        ]
    );
    assert!(matches!(&answers[1], Err(Error::Busy { holder, .. }) if **holder == held.mutex));
    assert_eq!(who_holds(subject).await, ["1: a", "2: b", "3: a"]);
}

pub(super) async fn what_cannot_be_meant_is_the_answer_to_all(subject: &Subject) {
    let [one, two, _] = ids();
    let passed = subject.now() - TimeDelta::days(1);
    let senseless = CaptureRequest {
        auto_release: Some(AutoRelease::Deadline(passed)),
        ..wish(&two, "a")
    };
    let requests = [wish(&one, "a"), senseless];
    let refused = subject.backend.capture_each(&requests).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    let refused = capture_all(subject, &requests).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(who_holds(subject).await, [""; 0]);
}

pub(super) async fn each_of_many_releases_is_for_itself(subject: &Subject) {
    let [one, two, three] = ids();
    let held = subject.capture(&one, "a").await;
    subject.capture(&two, "b").await;
    subject.capture(&three, "a").await;
    let release = |id: &MutexId, token| ReleaseRequest {
        id: id.clone(),
        owner: owner("a"),
        token,
    };
    let requests = [
        release(&two, None),
        release(&one, Some(FencingToken::new(1))),
        release(&one, Some(held.fencing_token)),
        release(&one, None),
        release(&three, None),
    ];
    let answers = subject.backend.release_each(&requests).await.unwrap();
    let described: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            ReleasedEach::Done(Released::Released(hold)) => hold.id.id(),
            ReleasedEach::Done(Released::NotHeld) => "not held",
            ReleasedEach::Busy(hold) => hold.owner.session_id(),
        })
        .collect();
    assert_eq!(described, ["b", "not held", "1", "not held", "3"]);
    assert_eq!(who_holds(subject).await, ["2: b"]);
}

pub(super) async fn all_that_an_owner_has_is_released(subject: &Subject) {
    let [one, two, three] = ids();
    subject.capture(&one, "a").await;
    subject
        .backend
        .capture(&wish_with(&two, "a", Access::shared()))
        .await
        .unwrap();
    subject
        .backend
        .capture(&wish_with(&two, "b", Access::shared()))
        .await
        .unwrap();
    subject.capture(&three, "b").await;
    subject.queue(&wish(&three, "a")).await;

    let answers = subject.backend.release_owner(&owner("a")).await.unwrap();
    let mut released: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            ReleasedEach::Done(Released::Released(hold)) if hold.owner == owner("a") => {
                hold.id.id()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    released.sort_unstable();
    assert_eq!(released, ["1", "2"]);
    assert_eq!(who_holds(subject).await, ["2: b", "3: b"]);
    // Its place in line as well.
    subject.release(&three, "b").await;
    subject.capture(&three, "c").await;
    assert!(
        subject
            .backend
            .release_owner(&owner("a"))
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn many_holds_are_kept_and_those_that_are_lost_are_named(subject: &Subject) {
    let [one, two, three] = ids();
    let kept = subject.capture(&one, "a").await;
    let shared = subject
        .backend
        .capture(&wish_with(&two, "a", Access::shared()))
        .await
        .unwrap();
    let lost = subject.capture(&three, "a").await;
    subject.release(&three, "a").await;
    subject.pass(200).await;
    let hold = |captured: &Captured| HoldToKeep {
        id: captured.id.clone(),
        token: captured.fencing_token,
    };
    let elsewhere = HoldToKeep {
        id: one.clone(),
        token: shared.fencing_token,
    };
    let holds = [hold(&kept), hold(&shared), hold(&lost), elsewhere];
    let answer = subject.backend.keep(&holds[..3]).await.unwrap();
    let named = NotKept {
        token: lost.fencing_token,
        is_lost: true,
    };
    assert_eq!(answer, [named]);
    let answer = subject.backend.keep(&holds[3..]).await.unwrap();
    assert!(answer.iter().all(|not_kept| not_kept.is_lost) && answer.len() == 1);

    // The time of the others has begun again; what they are stays.
    subject.pass(200).await;
    let holds_now = subject
        .mutexes
        .list(&MutexQuery::all())
        .await
        .unwrap()
        .mutexes;
    assert_eq!(holds_now.len(), 2);
    assert_eq!(holds_now[0].fencing_token, kept.fencing_token);
    assert!(holds_now[0].captured_since > holds_now[0].held_since);
    subject.pass(101).await;
    let answer = subject.backend.keep(&holds[..2]).await.unwrap();
    assert_eq!(answer.len(), 2);
    assert!(answer.iter().all(|not_kept| not_kept.is_lost));
}
