//! Waits that could never end.

use pgmutex::{
    Access, CaptureAllRequest, CaptureRequest, Captured, Error, MutexId, MutexOwner, Result,
};

use super::{
    Subject, queued,
    waiting::{in_the_way, wait_for},
    wish, wish_with,
};
use crate::support::{mutex_id, owner};

fn circle<T: std::fmt::Debug>(refused: Result<T>) -> String {
    match refused {
        Err(Error::WaitCircle { circle, .. }) => circle,
        other => panic!("no circle: {other:?}"),
    }
}

pub(super) async fn a_wait_that_could_never_end_is_refused(subject: &Subject) {
    let (one, two, three) = (mutex_id("1"), mutex_id("2"), mutex_id("3"));
    let ada = owner("a").with_name("Ada").unwrap();
    let of_ada = |id| CaptureRequest {
        owner: ada.clone(),
        ..wish(id, "a")
    };
    subject.backend.capture(&of_ada(&one)).await.unwrap();
    subject.capture(&two, "b").await;
    subject.capture(&three, "c").await;
    subject.queue(&of_ada(&two)).await;
    subject.queue(&wish(&three, "b")).await;

    let refused = subject.wait_for_all(&[wish(&one, "c")]).await;
    assert!(matches!(&refused, Err(Error::WaitCircle { id, .. }) if *id == one));
    assert_eq!(
        circle(refused),
        "deadlock: this would wait for tests/step/1, held by Ada, who waits for tests/step/2, \
         held by session b, who waits for tests/step/3, which the one who asks holds"
    );
    // Nobody has joined a line, and to be refused without a wait is another matter.
    assert_eq!(
        in_the_way(subject, &one, Access::Exclusive).await.owner,
        ada
    );
    subject.release(&one, "a").await;
    subject.capture(&one, "newcomer").await;
}

pub(super) async fn what_the_asker_keeps_under_other_names_counts(subject: &Subject) {
    let (one, two) = (mutex_id("1"), mutex_id("2"));
    let wait_while_holding = async |id: &MutexId, session_id: &str, held: &Captured| {
        let request = CaptureAllRequest {
            captures: vec![wish(id, session_id)],
            wait: true,
            while_holding: vec![held.fencing_token],
        };
        subject.backend.capture_all(&request).await
    };
    let first = subject.capture(&one, "guard of one").await;
    let second = subject.capture(&two, "guard of two").await;
    queued(wait_while_holding(&two, "waiter of two", &first).await);
    let refused = wait_while_holding(&one, "waiter of one", &second).await;
    assert_eq!(
        circle(refused),
        "deadlock: this would wait for tests/step/1, held by session guard of one, who waits for \
         tests/step/2, which the one who asks holds"
    );
}

pub(super) async fn one_holder_who_can_release_is_enough_for_a_permit(subject: &Subject) {
    let (one, two) = (mutex_id("1"), mutex_id("2"));
    let permit = |session_id| wish_with(&two, session_id, Access::permit_of(2));
    subject.capture(&one, "a").await;
    subject.backend.capture(&permit("b")).await.unwrap();
    subject.backend.capture(&permit("c")).await.unwrap();
    subject.queue(&wish(&one, "b")).await;
    // b waits for a, but c does not.
    subject.queue(&permit("a")).await;
    subject.leave(&two, "a").await;
    subject.queue(&wish(&one, "c")).await;
    assert_eq!(
        circle(subject.wait_for_all(&[permit("a")]).await),
        "deadlock: this would wait for tests/step/2, held by session b, who waits for \
         tests/step/1, which the one who asks holds"
    );
}

pub(super) async fn a_circle_through_those_before_one_in_line_is_refused(subject: &Subject) {
    let (one, two) = (mutex_id("1"), mutex_id("2"));
    let ada = owner("a").with_name("Ada").unwrap();
    let of_ada = |id| CaptureRequest {
        owner: ada.clone(),
        ..wish(id, "a")
    };
    subject.capture(&two, "b").await;
    // Nobody holds the first, but it is Ada's turn there, who also waits for the second.
    queued(subject.wait_for_all(&[of_ada(&one), of_ada(&two)]).await);
    assert_eq!(
        circle(subject.wait_for_all(&[wish(&one, "b")]).await),
        "deadlock: this would wait for tests/step/1, behind Ada, who waits for tests/step/2, \
         which the one who asks holds"
    );
}

pub(super) async fn who_is_given_up_is_no_part_of_a_circle(subject: &Subject) {
    let (one, two) = (mutex_id("1"), mutex_id("2"));
    subject.capture(&one, "a").await;
    subject.capture(&two, "b").await;
    subject.queue(&wish(&two, "a")).await;
    circle(subject.wait_for_all(&[wish(&one, "b")]).await);
    subject.leave(&two, "a").await;
    subject.queue(&wish(&one, "b")).await;
    let (captured, ()) = tokio::join!(
        wait_for(subject, wish(&one, "b")),
        subject.release(&one, "a")
    );
    assert_eq!(captured.owner, MutexOwner::new("b").unwrap());
}
