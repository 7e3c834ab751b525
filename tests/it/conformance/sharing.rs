//! Who may hold a mutex together with whom.

use pgmutex::{
    Access, CaptureOutcome, Captured, Error, FencingToken, ForceReleased, Mutex, MutexQuery,
    MutexState, Released, Result,
};

use super::{Subject, secs};
use crate::support::{mutex_id, owner};

async fn capture(subject: &Subject, session_id: &str, access: Access) -> Result<Captured> {
    let (id, owner) = (mutex_id("a"), owner(session_id));
    subject
        .mutexes
        .capture(&id)
        .owner(owner)
        .access(access)
        .await
}

async fn share(subject: &Subject, session_id: &str) -> Captured {
    capture(subject, session_id, Access::shared())
        .await
        .unwrap()
}

async fn take_permit(subject: &Subject, session_id: &str, permits: u32) -> Result<Captured> {
    capture(subject, session_id, Access::permit_of(permits)).await
}

async fn release(subject: &Subject, session_id: &str) -> Result<Released> {
    subject
        .mutexes
        .release(&mutex_id("a"))
        .owner(owner(session_id))
        .await
}

fn holder(refused: Result<Captured>) -> Mutex {
    match refused {
        Err(Error::Busy { holder, .. }) => *holder,
        other => panic!("not busy: {other:?}"),
    }
}

pub(super) async fn any_number_may_share_and_each_has_a_permit(subject: &Subject) {
    let mut tokens = Vec::new();
    for number in 1..=5 {
        let captured = share(subject, &format!("reader {number}")).await;
        assert_eq!(captured.outcome, CaptureOutcome::Captured);
        assert_eq!((captured.permit, captured.permits), (number, None));
        tokens.push(captured.fencing_token);
    }
    assert!(tokens.is_sorted_by(|one, next| one < next));
}

pub(super) async fn one_who_wants_it_alone_is_refused_while_others_share(subject: &Subject) {
    let first = share(subject, "a").await;
    share(subject, "b").await;
    let refused = capture(subject, "c", Access::Exclusive).await;
    assert_eq!(holder(refused), first.mutex);
    release(subject, "a").await.unwrap();
    let refused = capture(subject, "c", Access::Exclusive).await;
    assert_eq!(holder(refused).owner, owner("b"));
    release(subject, "b").await.unwrap();
    let captured = capture(subject, "c", Access::Exclusive).await.unwrap();
    assert_eq!((captured.permit, captured.permits), (0, None));
}

pub(super) async fn nobody_shares_what_one_has_alone(subject: &Subject) {
    let held = capture(subject, "a", Access::Exclusive).await.unwrap();
    for access in [Access::shared(), Access::permit_of(9)] {
        assert_eq!(holder(capture(subject, "b", access).await), held.mutex);
    }
}

pub(super) async fn permits_are_limited_and_the_smallest_free_number_is_given(subject: &Subject) {
    for number in 1..=3 {
        let captured = take_permit(subject, &number.to_string(), 3).await.unwrap();
        assert_eq!((captured.permit, captured.permits), (number, Some(3)));
    }
    let refused = take_permit(subject, "4", 3).await;
    assert_eq!(holder(refused).owner, owner("1"));
    release(subject, "2").await.unwrap();
    assert_eq!(take_permit(subject, "4", 3).await.unwrap().permit, 2);
    release(subject, "1").await.unwrap();
    release(subject, "3").await.unwrap();
    assert_eq!(take_permit(subject, "5", 3).await.unwrap().permit, 1);
}

pub(super) async fn the_strictest_limit_counts(subject: &Subject) {
    share(subject, "a").await;
    share(subject, "b").await;
    // The asker's own.
    assert!(take_permit(subject, "c", 2).await.unwrap_err().is_busy());
    take_permit(subject, "c", 3).await.unwrap();
    // A holder's.
    for access in [Access::shared(), Access::permit_of(9)] {
        assert!(capture(subject, "d", access).await.unwrap_err().is_busy());
    }
    release(subject, "c").await.unwrap();
    take_permit(subject, "d", 9).await.unwrap();
    share(subject, "e").await;
}

pub(super) async fn a_limit_of_none_is_refused(subject: &Subject) {
    for permits in [0, u32::MAX] {
        let refused = take_permit(subject, "a", permits).await;
        let Err(Error::InvalidInput { field, .. }) = refused else {
            panic!("{permits}: {refused:?}");
        };
        assert_eq!(field, "permits");
    }
    assert_eq!(subject.mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}

pub(super) async fn sharing_again_refreshes_and_keeps_permit_and_limit(subject: &Subject) {
    share(subject, "a").await;
    let first = take_permit(subject, "b", 2).await.unwrap();
    subject.pass(10).await;
    // The limit that is said this time does not matter: it is no new hold.
    let second = take_permit(subject, "b", 1).await.unwrap();
    assert_eq!(second.outcome, CaptureOutcome::Refreshed);
    assert_eq!((second.permit, second.permits), (2, Some(2)));
    assert_eq!(second.fencing_token, first.fencing_token);
    assert!(second.captured_since > second.held_since);
}

pub(super) async fn from_alone_to_shared_keeps_the_token_and_lets_others_in(subject: &Subject) {
    let alone = capture(subject, "a", Access::Exclusive).await.unwrap();
    subject.pass(10).await;
    let shared = take_permit(subject, "a", 2).await.unwrap();
    assert_eq!(shared.outcome, CaptureOutcome::Refreshed);
    assert_eq!(shared.fencing_token, alone.fencing_token);
    assert_eq!((shared.permit, shared.permits), (1, Some(2)));
    assert!(shared.captured_since > shared.held_since);
    assert_eq!(share(subject, "b").await.permit, 2);
    let state = subject
        .mutexes
        .request_by(&mutex_id("a"), &owner("a"))
        .await;
    assert_eq!(state.unwrap(), MutexState::CapturedByMe(shared.mutex));
}

pub(super) async fn from_shared_to_alone_needs_to_be_alone_and_is_a_capture(subject: &Subject) {
    let shared = take_permit(subject, "a", 5).await.unwrap();
    let other = share(subject, "b").await;
    let refused = capture(subject, "a", Access::Exclusive).await;
    assert_eq!(holder(refused), other.mutex);
    let kept = take_permit(subject, "a", 5).await.unwrap();
    assert_eq!(kept.fencing_token, shared.fencing_token);

    release(subject, "b").await.unwrap();
    let alone = capture(subject, "a", Access::Exclusive).await.unwrap();
    assert_eq!(alone.outcome, CaptureOutcome::Captured);
    assert!(alone.fencing_token > other.fencing_token);
    assert_eq!((alone.permit, alone.permits), (0, None));
    // It was held without a break: that is how a guard tells this from a capture after a loss.
    assert_eq!(alone.held_since, shared.held_since);
    let page = subject.mutexes.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(page.mutexes, [alone.mutex]);
}

pub(super) async fn a_permit_that_is_over_makes_way_and_the_others_stay(subject: &Subject) {
    let access = Access::permit_of(3);
    let id = mutex_id("a");
    let mut tokens: Vec<FencingToken> = Vec::new();
    for (session_id, seconds) in [("1", 3600), ("2", 60), ("3", 3600)] {
        let capture = subject.mutexes.capture(&id).owner(owner(session_id));
        let captured = capture.access(access).timeout(secs(seconds)).await.unwrap();
        tokens.push(captured.fencing_token);
    }
    assert!(capture(subject, "4", access).await.unwrap_err().is_busy());
    subject.pass(61).await;
    let captured = capture(subject, "4", access).await.unwrap();
    let evicted = captured.evicted().unwrap();
    assert_eq!(
        (evicted.session_id.as_str(), evicted.fencing_token),
        ("2", tokens[1])
    );
    assert_eq!(captured.permit, 2);
    assert_eq!(
        subject
            .mutexes
            .count(&MutexQuery::all().include_over())
            .await
            .unwrap(),
        3
    );
    let lost = subject.mutexes.refresh(&id).owner(owner("2")).await;
    assert!(lost.unwrap_err().is_busy());
}

pub(super) async fn each_refreshes_and_releases_its_own_hold(subject: &Subject) {
    let id = mutex_id("a");
    let (a, b) = (share(subject, "a").await, share(subject, "b").await);
    subject.pass(200).await;
    let refreshed = subject
        .mutexes
        .refresh(&id)
        .owner(owner("b"))
        .token(b.fencing_token)
        .await;
    assert_eq!(refreshed.unwrap().fencing_token, b.fencing_token);
    // Another's token is not one's own.
    let release_b = || subject.mutexes.release(&id).owner(owner("b"));
    let refused = release_b().token(a.fencing_token).await;
    assert!(matches!(refused, Err(Error::Busy { holder, .. }) if holder.owner == owner("a")));
    subject.pass(101).await;
    assert_eq!(release(subject, "a").await.unwrap(), Released::NotHeld);
    let released = release_b().token(b.fencing_token).await.unwrap();
    assert!(matches!(released, Released::Released(hold) if hold.owner == owner("b")));
    assert_eq!(release(subject, "b").await.unwrap(), Released::NotHeld);
}

pub(super) async fn request_tells_of_ones_own_hold_first(subject: &Subject) {
    let (a, b) = (share(subject, "a").await, share(subject, "b").await);
    let state = async |session_id| {
        let id = mutex_id("a");
        subject
            .mutexes
            .request_by(&id, &owner(session_id))
            .await
            .unwrap()
    };
    assert_eq!(state("b").await, MutexState::CapturedByMe(b.mutex));
    assert_eq!(state("c").await, MutexState::CapturedByOther(a.mutex));
}

pub(super) async fn list_shows_all_holders_in_the_order_of_their_permits(subject: &Subject) {
    let mut holds = Vec::new();
    for session_id in ["c", "b", "a"] {
        holds.push(share(subject, session_id).await.mutex);
    }
    let everything = subject.mutexes.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(everything.mutexes, holds);
    let query = MutexQuery::all().page_size(2);
    let first = subject.mutexes.list(&query).await.unwrap();
    assert_eq!(first.mutexes, holds[..2]);
    let second = subject
        .mutexes
        .list(&query.after(first.next.unwrap()))
        .await
        .unwrap();
    assert_eq!(second.mutexes, holds[2..]);
}

pub(super) async fn force_release_takes_it_from_all_or_from_the_one_that_is_meant(
    subject: &Subject,
) {
    let mut holds = Vec::new();
    for session_id in ["a", "b", "c"] {
        holds.push(share(subject, session_id).await.mutex);
    }
    let id = mutex_id("a");
    let force = || subject.mutexes.force_release(&id, "in the way");
    let released = force().token(holds[1].fencing_token).await.unwrap();
    assert_eq!(
        released,
        ForceReleased::Released(Box::new(holds[1].clone()))
    );
    let left = subject.mutexes.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(left.mutexes, [holds[0].clone(), holds[2].clone()]);
    let released = force().await.unwrap();
    assert_eq!(
        released,
        ForceReleased::Released(Box::new(holds[0].clone()))
    );
    assert_eq!(subject.mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}

pub(super) async fn sweep_removes_the_permits_that_are_over(subject: &Subject) {
    let id = mutex_id("a");
    for (session_id, seconds) in [("a", 60), ("b", 3600), ("c", 60)] {
        let capture = subject.mutexes.capture(&id).owner(owner(session_id));
        capture
            .access(Access::shared())
            .timeout(secs(seconds))
            .await
            .unwrap();
    }
    subject.pass(61).await;
    assert_eq!(subject.mutexes.sweep().await.unwrap(), 2);
    let left = subject
        .mutexes
        .list(&MutexQuery::all().include_over())
        .await
        .unwrap();
    assert_eq!(left.mutexes.len(), 1);
    assert_eq!(
        (left.mutexes[0].owner.session_id(), left.mutexes[0].permit),
        ("b", 2)
    );
}
