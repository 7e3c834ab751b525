//! Whatever ends before its time, nobody else is left behind.

use futures_util::{FutureExt, future::join_all, poll};
use tokio::runtime::{Builder, Runtime};

use super::{Calls, LIMITS, Reply};

#[tokio::test]
async fn a_call_given_up_in_the_queue_is_not_made() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=4).map(|request| calls.ask(&lane, request)).collect();
    for each in &mut asking {
        assert!(poll!(each).is_pending());
    }
    assert_eq!(lane.standing(), (1, 3));
    drop(asking.remove(2));
    assert_eq!(lane.standing(), (1, 2));
    calls.answer(0);
    (&mut asking[0]).await.unwrap();
    calls.are(&[&[1], &[2, 4]]).await;
}

#[tokio::test]
async fn when_a_call_under_way_is_given_up_the_next_ones_go() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=3).map(|request| calls.ask(&lane, request)).collect();
    for each in &mut asking {
        assert!(poll!(each).is_pending());
    }
    drop(asking.remove(0));
    calls.are(&[&[1], &[2, 3]]).await;
    assert!(!calls.answer(0), "the call was not dropped with its future");
    calls.answer(1);
    assert!(
        join_all(asking)
            .await
            .into_iter()
            .all(|answer| answer.is_ok())
    );
    assert_eq!(lane.standing(), (0, 0));
}

#[tokio::test]
async fn one_that_was_sent_with_others_may_be_given_up() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=4).map(|request| calls.ask(&lane, request)).collect();
    for each in &mut asking {
        assert!(poll!(each).is_pending());
    }
    calls.answer(0);
    (&mut asking[0]).await.unwrap();
    calls.are(&[&[1], &[2, 3, 4]]).await;
    drop(asking.remove(2));
    assert!(calls.answer(1), "the others still wait for it");
    let answers = join_all(asking.drain(1..)).await;
    assert_eq!(
        answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [1002, 1004]
    );
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_dropped() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=5).map(|request| calls.ask(&lane, request)).collect();
    for each in &mut asking[..3] {
        assert!(poll!(each).is_pending());
    }
    calls.answer(0);
    (&mut asking[0]).await.unwrap();
    calls.are(&[&[1], &[2, 3]]).await;
    for each in &mut asking[3..] {
        assert!(poll!(each).is_pending());
    }
    drop(asking.drain(..3));
    // The next ones go when it is gone.
    calls.are(&[&[1], &[2, 3], &[4, 5]]).await;
    assert!(!calls.answer(1), "the call is still under way");
    calls.answer(2);
    let answers = join_all(asking).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(lane.standing(), (0, 0));
}

#[tokio::test]
async fn one_whose_turn_has_come_may_be_given_up_before_it_goes() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut first = calls.ask(&lane, 1);
    assert!(poll!(&mut first).is_pending());
    let mut second = calls.ask(&lane, 2);
    assert!(poll!(&mut second).is_pending());
    calls.answer(0);
    first.await.unwrap();
    // It is told to go, and waited for.
    assert_eq!(lane.standing(), (1, 0));
    let mut third = calls.ask(&lane, 3);
    assert!(poll!(&mut third).is_pending());
    drop(second);
    assert!(poll!(&mut third).is_pending());
    calls.are(&[&[1], &[3]]).await;
    calls.answer(1);
    assert_eq!(third.await.unwrap(), 1003);
    assert_eq!(lane.standing(), (0, 0));
}

#[tokio::test]
async fn a_panic_is_the_callers_alone() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut first = calls.ask(&lane, 1);
    assert!(poll!(&mut first).is_pending());
    let mut asking: Vec<_> = (2..=3).map(|request| calls.ask(&lane, request)).collect();
    for each in &mut asking {
        assert!(poll!(each).is_pending());
    }
    calls.reply(0, Reply::Panic);
    let panicked = std::panic::AssertUnwindSafe(first).catch_unwind().await;
    assert!(panicked.is_err());
    calls.are(&[&[1], &[2, 3]]).await;
    calls.answer(1);
    assert!(
        join_all(asking)
            .await
            .into_iter()
            .all(|answer| answer.is_ok())
    );
    assert_eq!(lane.standing(), (0, 0));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A runtime is gone in the middle, with the call that was under way there.
#[test]
fn no_one_is_left_behind_with_a_runtime() {
    let calls = Calls::default();
    let lane = std::sync::Arc::new(calls.lane(LIMITS));
    let (gone, here) = (runtime(), runtime());
    let under_way = {
        let (calls, lane) = (calls.clone(), std::sync::Arc::clone(&lane));
        gone.spawn(async move { calls.ask(&lane, 1).await.map(drop) })
    };
    gone.block_on(tokio::task::yield_now());
    assert_eq!(calls.made(), [[1]]);
    let ask = |request| {
        let mut asking = calls.ask(&lane, request);
        assert!((&mut asking).now_or_never().is_none());
        asking
    };
    let of_gone = gone.block_on(async { [ask(2), ask(3)] });
    let mut of_here = here.block_on(async { [ask(4), ask(5), ask(6)] });
    assert_eq!(lane.standing(), (2, 4));
    drop(gone);
    drop(under_way);
    here.block_on(async {
        // Those of the runtime that is gone could not travel there: they go on their own.
        let driver = async {
            calls.are(&[&[1], &[4], &[2], &[3]]).await;
            calls.answer(1);
            calls.are(&[&[1], &[4], &[2], &[3], &[5, 6]]).await;
            for call in 2..5 {
                calls.answer(call);
            }
        };
        let (gone, here, ()) = tokio::join!(join_all(of_gone), join_all(&mut of_here), driver);
        assert!(gone.into_iter().chain(here).all(|answer| answer.is_ok()));
    });
    assert_eq!(lane.standing(), (0, 0));
}

/// A runtime is gone in the middle, with the task of those who travel together.
#[test]
fn no_one_is_left_behind_by_those_who_travel_together() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let (gone, here) = (runtime(), runtime());
    let mut asking = gone.block_on(async {
        let mut asking: Vec<_> = (1..=3).map(|request| calls.ask(&lane, request)).collect();
        for each in &mut asking {
            assert!(poll!(each).is_pending());
        }
        calls.answer(0);
        (&mut asking[0]).await.unwrap();
        calls.are(&[&[1], &[2, 3]]).await;
        asking.split_off(1)
    });
    assert_eq!(lane.standing(), (1, 0));
    drop(gone);
    here.block_on(async {
        let driver = async {
            calls.are(&[&[1], &[2, 3], &[2], &[3]]).await;
            for call in 2..4 {
                calls.answer(call);
            }
        };
        let (answers, ()) = tokio::join!(join_all(asking.drain(..)), driver);
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
    });
    assert_eq!(lane.standing(), (0, 0));
}

/// Without a runtime nobody can be taken along; the call itself may not need one.
#[test]
fn without_a_runtime_each_goes_alone() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut first = calls.ask(&lane, 1);
    assert!((&mut first).now_or_never().is_none());
    let mut second = calls.ask(&lane, 2);
    assert!((&mut second).now_or_never().is_none());
    assert_eq!(calls.made(), [[1], [2]]);
    assert_eq!(lane.standing(), (0, 0));
    calls.answer(1);
    assert_eq!(second.now_or_never().unwrap().unwrap(), 1002);
}
