//! Who waits for a mutex, in which order, and what ends the wait.

use std::{slice, time::Duration};

use pgmutex::{
    Access, AutoRelease, CaptureRequest, Captured, CapturedAll, Error, Mutex, MutexId,
    ReleaseRequest,
};
use tokio::time::timeout;

use super::{Subject, wish, wish_with};
use crate::support::{mutex_id, owner};

/// Far longer than anything here takes.
const HANG: Duration = Duration::from_secs(300);

/// Asks, and if need be asks again in one's turn, until it is captured.
pub(super) async fn wait_for(subject: &Subject, capture: CaptureRequest) -> Captured {
    let wait = async {
        loop {
            match subject
                .wait_for_all(slice::from_ref(&capture))
                .await
                .unwrap()
            {
                CapturedAll::Captured(mut captured) => return captured.remove(0),
                CapturedAll::Queued(ticket) => subject.backend.turn(&ticket).await.unwrap(),
            }
        }
    };
    timeout(HANG, wait).await.unwrap()
}

/// Who is in the way of a newcomer that does not wait.
pub(super) async fn in_the_way(subject: &Subject, id: &MutexId, access: Access) -> Mutex {
    match subject
        .backend
        .capture(&wish_with(id, "newcomer", access))
        .await
    {
        Err(Error::Busy { holder, .. }) => *holder,
        other => panic!("not busy: {other:?}"),
    }
}

pub(super) async fn what_is_free_is_captured_without_a_wait(subject: &Subject) {
    let id = mutex_id("a");
    let answer = subject.wait_for_all(&[wish(&id, "a")]).await.unwrap();
    let CapturedAll::Captured(captured) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(captured[0].owner, owner("a"));
    assert_eq!(
        in_the_way(subject, &id, Access::Exclusive).await,
        captured[0].mutex
    );
}

pub(super) async fn who_waits_is_told_of_the_holder_and_keeps_its_place(subject: &Subject) {
    let id = mutex_id("a");
    let held = subject.capture(&id, "a").await;
    let ticket = subject.queue(&wish(&id, "b")).await;
    assert_eq!(*ticket.holder, held.mutex);
    assert!(ticket.observed_at >= held.captured_since);
    let next = subject.queue(&wish(&id, "c")).await;
    assert!(next.number > ticket.number);
    assert_eq!(*next.holder, held.mutex);
    assert_eq!(subject.queue(&wish(&id, "b")).await.number, ticket.number);
}

pub(super) async fn first_come_first_served(subject: &Subject) {
    let id = mutex_id("a");
    let mut last = subject.capture(&id, "a").await;
    for session_id in ["b", "c", "d"] {
        subject.queue(&wish(&id, session_id)).await;
    }
    for (before, session_id) in [("a", "b"), ("b", "c"), ("c", "d")] {
        subject.release(&id, before).await;
        if session_id != "d" {
            // Not in its turn.
            let ticket = subject.queue(&wish(&id, "d")).await;
            assert_eq!(ticket.holder.owner, owner(session_id));
        }
        let captured = wait_for(subject, wish(&id, session_id)).await;
        assert!(captured.fencing_token > last.fencing_token);
        last = captured;
    }
}

pub(super) async fn a_newcomer_does_not_pass_and_is_told_whose_turn_it_is(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    let ada = owner("b").with_name("Ada").unwrap();
    let waiting = CaptureRequest {
        owner: ada.clone(),
        ..wish_with(&id, "b", Access::permit_of(2))
    };
    subject.queue(&waiting).await;
    subject.release(&id, "a").await;

    // As the hold will be, but for the token.
    let next = in_the_way(subject, &id, Access::Exclusive).await;
    assert_eq!((next.owner, next.id), (ada, id.clone()));
    assert_eq!(next.fencing_token.get(), 0);
    assert_eq!((next.permit, next.permits), (1, Some(2)));
    assert_eq!(
        (next.auto_release, next.expires_at),
        (AutoRelease::Never, None)
    );
    assert_eq!(next.captured_since, next.held_since);
    assert!(
        in_the_way(subject, &id, Access::shared())
            .await
            .fencing_token
            .get()
            == 0
    );
    assert!(subject.mutexes.request(&id).await.unwrap().is_free());

    wait_for(subject, waiting).await;
}

pub(super) async fn a_turn_comes_with_a_release(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    let ticket = subject.queue(&wish(&id, "b")).await;
    let (turn, ()) = tokio::join!(
        timeout(HANG, subject.backend.turn(&ticket)),
        subject.release(&id, "a")
    );
    turn.unwrap().unwrap();
    wait_for(subject, wish(&id, "b")).await;
}

pub(super) async fn a_turn_that_came_before_it_was_waited_for_is_not_missed(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    let ticket = subject.queue(&wish(&id, "b")).await;
    subject.release(&id, "a").await;
    timeout(HANG, subject.backend.turn(&ticket))
        .await
        .unwrap()
        .unwrap();
    wait_for(subject, wish(&id, "b")).await;
}

pub(super) async fn a_turn_comes_when_the_holders_rule_ends_its_hold(subject: &Subject) {
    let id = mutex_id("a");
    let held = subject.capture(&id, "a").await;
    subject.queue(&wish(&id, "b")).await;
    let (captured, ()) = tokio::join!(
        async { wait_for(subject, wish(&id, "b")).await },
        subject.pass(301)
    );
    assert_eq!(
        captured.evicted().unwrap().fencing_token,
        held.fencing_token
    );
}

pub(super) async fn a_turn_comes_with_a_forced_release(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    subject.queue(&wish(&id, "b")).await;
    let (_, taken) = tokio::join!(wait_for(subject, wish(&id, "b")), async {
        subject.mutexes.force_release(&id, "in the way").await
    });
    taken.unwrap();
}

pub(super) async fn a_ticket_that_is_no_more_is_told_so(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    let ticket = subject.queue(&wish(&id, "b")).await;
    subject.leave(&id, "b").await;
    timeout(HANG, subject.backend.turn(&ticket))
        .await
        .unwrap()
        .unwrap();
    let again = subject.queue(&wish(&id, "b")).await;
    assert!(again.number > ticket.number);
}

pub(super) async fn who_leaves_makes_way_for_the_next(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    subject.queue(&wish(&id, "b")).await;
    subject.queue(&wish(&id, "c")).await;
    subject.release(&id, "a").await;
    let (captured, ()) = tokio::join!(wait_for(subject, wish(&id, "c")), subject.leave(&id, "b"));
    assert_eq!(captured.owner, owner("c"));
    // A hold stays, and there is nothing else to leave.
    subject.leave(&id, "c").await;
    subject.leave(&id, "nobody").await;
    assert_eq!(
        in_the_way(subject, &id, Access::Exclusive).await,
        captured.mutex
    );
}

pub(super) async fn a_release_without_a_token_gives_up_the_place_in_line(subject: &Subject) {
    let id = mutex_id("a");
    let held = subject.capture(&id, "a").await;
    subject.queue(&wish(&id, "b")).await;
    let release_b = async |token| {
        let request = ReleaseRequest {
            id: mutex_id("a"),
            owner: owner("b"),
            token,
        };
        assert!(
            subject
                .backend
                .release(&request)
                .await
                .unwrap_err()
                .is_busy()
        );
    };
    release_b(Some(held.fencing_token)).await;
    subject.queue(&wish(&id, "c")).await;
    subject.release(&id, "a").await;
    assert_eq!(
        in_the_way(subject, &id, Access::Exclusive).await.owner,
        owner("b")
    );
    subject.capture(&id, "b").await;

    subject.queue(&wish(&id, "d")).await;
    let request = ReleaseRequest {
        id: id.clone(),
        owner: owner("c"),
        token: None,
    };
    assert!(
        subject
            .backend
            .release(&request)
            .await
            .unwrap_err()
            .is_busy()
    );
    subject.release(&id, "b").await;
    assert_eq!(
        in_the_way(subject, &id, Access::Exclusive).await.owner,
        owner("d")
    );
}

pub(super) async fn those_who_would_share_wait_behind_one_who_wants_it_alone(subject: &Subject) {
    let id = mutex_id("a");
    let shared = subject
        .backend
        .capture(&wish_with(&id, "a", Access::shared()))
        .await
        .unwrap();
    subject.queue(&wish(&id, "b")).await;
    assert_eq!(
        in_the_way(subject, &id, Access::shared()).await,
        shared.mutex
    );
    let sharer = wish_with(&id, "c", Access::shared());
    subject.queue(&sharer).await;
    let (captured, ()) = tokio::join!(wait_for(subject, sharer.clone()), subject.leave(&id, "b"));
    assert_eq!(captured.permit, 2);
}

pub(super) async fn those_who_share_are_let_in_one_after_the_other(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    let sharers = ["b", "c", "d"].map(|session_id| wish_with(&id, session_id, Access::shared()));
    for sharer in &sharers {
        subject.queue(sharer).await;
    }
    let (b, c, d, ()) = tokio::join!(
        wait_for(subject, sharers[0].clone()),
        wait_for(subject, sharers[1].clone()),
        wait_for(subject, sharers[2].clone()),
        subject.release(&id, "a")
    );
    assert_eq!([b.permit, c.permit, d.permit], [1, 2, 3]);
}

pub(super) async fn those_in_line_are_let_in_when_the_holder_begins_to_share(subject: &Subject) {
    let id = mutex_id("a");
    subject.capture(&id, "a").await;
    let sharer = wish_with(&id, "b", Access::shared());
    subject.queue(&sharer).await;
    let shared = wish_with(&id, "a", Access::shared());
    let (captured, own) = tokio::join!(
        wait_for(subject, sharer.clone()),
        subject.backend.capture(&shared)
    );
    assert_eq!((own.unwrap().permit, captured.permit), (1, 2));
}

pub(super) async fn a_permit_is_waited_for(subject: &Subject) {
    let id = mutex_id("a");
    let permit = |session_id| wish_with(&id, session_id, Access::permit_of(2));
    for session_id in ["a", "b"] {
        subject.backend.capture(&permit(session_id)).await.unwrap();
    }
    subject.queue(&permit("c")).await;
    subject.queue(&permit("d")).await;
    let (captured, ()) = tokio::join!(wait_for(subject, permit("c")), subject.release(&id, "b"));
    assert_eq!(captured.permit, 2);
    let ticket = subject.queue(&permit("d")).await;
    assert_eq!(ticket.holder.owner, owner("a"));
}

pub(super) async fn nobody_waits_to_have_alone_what_it_shares(subject: &Subject) {
    let id = mutex_id("a");
    for session_id in ["a", "b"] {
        subject
            .backend
            .capture(&wish_with(&id, session_id, Access::shared()))
            .await
            .unwrap();
    }
    let refused = subject.wait_for_all(&[wish(&id, "a")]).await;
    assert!(matches!(refused, Err(Error::Busy { holder, .. }) if holder.owner == owner("b")));
}
