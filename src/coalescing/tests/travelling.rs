//! Who travels with whom, and who is told what.

use std::time::Duration;

use futures_util::{future::join_all, poll};
use tokio::runtime::{Builder, Handle};

use super::{Asking, Calls, LIMITS, Limits, Reply, answer, refused};
use crate::domain::Error;

/// Looks at each once, which makes the first ones go and the others queue.
async fn look(asking: &mut [Asking<'_>]) {
    for each in asking {
        assert!(poll!(each).is_pending());
    }
}

#[tokio::test]
async fn who_comes_alone_goes_at_once_and_alone() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    for call in 0..3 {
        let mut asking = calls.ask(&lane, 7);
        assert!(poll!(&mut asking).is_pending());
        assert_eq!(calls.made().len(), call + 1);
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        assert_eq!(lane.standing(), (1, 0));
        calls.answer(call);
        assert_eq!(asking.await.unwrap(), answer(call, 7));
        assert_eq!(lane.standing(), (0, 0));
    }
    assert_eq!(calls.made(), [[7], [7], [7]]);
}

#[tokio::test]
async fn those_who_come_meanwhile_go_together_in_their_order() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=4).map(|request| calls.ask(&lane, request)).collect();
    look(&mut asking).await;
    assert_eq!(calls.made(), [[1]]);
    calls.answer(0);
    assert_eq!((&mut asking[0]).await.unwrap(), 1);
    calls.are(&[&[1], &[2, 3, 4]]).await;
    // One who comes now has nobody to go with, and goes by its own call when they are back.
    let mut late = calls.ask(&lane, 5);
    assert!(poll!(&mut late).is_pending());
    calls.answer(1);
    let answers = join_all(asking.drain(1..)).await;
    assert_eq!(
        answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [1002, 1003, 1004]
    );
    assert!(poll!(&mut late).is_pending());
    calls.are(&[&[1], &[2, 3, 4], &[5]]).await;
    calls.answer(2);
    assert_eq!(late.await.unwrap(), 2005);
    assert_eq!(lane.standing(), (0, 0));
}

#[tokio::test]
async fn the_next_ones_leave_as_soon_as_a_call_is_back() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=3).map(|request| calls.ask(&lane, request)).collect();
    look(&mut asking).await;
    calls.answer(0);
    (&mut asking[0]).await.unwrap();
    calls.are(&[&[1], &[2, 3]]).await;
    let mut next: Vec<_> = (4..=5).map(|request| calls.ask(&lane, request)).collect();
    look(&mut next).await;
    calls.answer(1);
    // Nobody has looked at 2 and 3 yet.
    calls.are(&[&[1], &[2, 3], &[4, 5]]).await;
}

#[tokio::test]
async fn no_more_travel_together_than_may() {
    for most in [1, 3, 21, 62, 63, 64] {
        let calls = Calls::default();
        let lane = calls.lane(Limits { most, ..LIMITS });
        let mut asking: Vec<_> = (0..64).map(|request| calls.ask(&lane, request)).collect();
        look(&mut asking).await;
        let together = 63_usize.div_ceil(most);
        let driver = async {
            for call in 0..=together {
                calls.come_to(call + 1).await;
                calls.answer(call);
            }
        };
        let (answers, ()) = tokio::join!(join_all(asking), driver);
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
        let made = calls.made();
        assert_eq!(made.len(), 1 + together, "{most}");
        assert!(
            made.concat().into_iter().eq(0..64),
            "first come, first served"
        );
        assert!(made.iter().all(|requests| requests.len() <= most));
    }
}

#[tokio::test]
async fn as_many_calls_are_under_way_as_may_be() {
    let calls = Calls::default();
    let lane = calls.lane(Limits {
        flights: 2,
        ..LIMITS
    });
    let mut asking: Vec<_> = (1..=5).map(|request| calls.ask(&lane, request)).collect();
    look(&mut asking).await;
    assert_eq!(calls.made(), [[1], [2]]);
    calls.answer(1);
    assert_eq!((&mut asking[1]).await.unwrap(), 1002);
    calls.are(&[&[1], &[2], &[3, 4, 5]]).await;
    assert_eq!(lane.standing(), (2, 0));
}

#[tokio::test]
async fn one_without_an_answer_asks_on_its_own() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=4).map(|request| calls.ask(&lane, request)).collect();
    look(&mut asking).await;
    calls.answer(0);
    (&mut asking[0]).await.unwrap();
    calls.are(&[&[1], &[2, 3, 4]]).await;
    let answers = vec![Some(Ok(20)), None, Some(Err(refused()))];
    calls.reply(1, Reply::Answers(Ok(answers)));
    assert_eq!((&mut asking[1]).await.unwrap(), 20);
    let refusal = (&mut asking[3]).await;
    assert!(matches!(refusal, Err(Error::Refused { .. })));
    // It is not waited for: the lane is free.
    assert!(poll!(&mut asking[2]).is_pending());
    calls.are(&[&[1], &[2, 3, 4], &[3]]).await;
    assert_eq!(lane.standing(), (0, 0));
    calls.answer(2);
    assert_eq!((&mut asking[2]).await.unwrap(), 2003);
}

/// Lets two travel together and come back with this, and then each on its own with that, if it goes;
/// what they are told, and the calls made after the one for both.
async fn after(
    reply: Reply,
    alone: impl Fn() -> Result<u32, Error>,
) -> (Vec<Result<u32, Error>>, Vec<Vec<u32>>) {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let mut asking: Vec<_> = (1..=3).map(|request| calls.ask(&lane, request)).collect();
    look(&mut asking).await;
    calls.answer(0);
    (&mut asking[0]).await.unwrap();
    calls.are(&[&[1], &[2, 3]]).await;
    calls.reply(1, reply);
    let on_their_own = async {
        for call in 2..4 {
            calls.come_to(call + 1).await;
            calls.reply(call, Reply::Answers(Ok(vec![Some(alone())])));
        }
        std::future::pending::<()>().await;
    };
    let answers = tokio::select! {
        answers = join_all(asking.drain(1..)) => answers,
        () = on_their_own => unreachable!(),
    };
    assert_eq!(lane.standing(), (0, 0));
    (answers, calls.made().split_off(2))
}

fn cut() -> Box<dyn std::error::Error + Send + Sync> {
    "the connection was cut".into()
}

/// What comes back when perhaps something was done.
fn without_an_outcome() -> [Reply; 4] {
    let senseless = Error::Protocol {
        operation: "many",
        reason: "on purpose".to_owned(),
    };
    let unknown = Error::OutcomeUnknown {
        operation: "many",
        source: cut(),
    };
    [
        Reply::Answers(Err(unknown)),
        Reply::Answers(Err(senseless)),
        Reply::Answers(Ok(vec![Some(Ok(20))])),
        Reply::Panic,
    ]
}

#[tokio::test]
async fn if_they_are_refused_together_each_asks_on_its_own() {
    let refused_together = || Reply::Answers(Err(refused()));
    let (answers, asked) = after(refused_together(), || Ok(7)).await;
    assert_eq!(asked, [[2], [3]]);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == 7));
    // Nothing was changed, so what each is told then is true.
    let (answers, _) = after(refused_together(), || Err(refused())).await;
    for answer in answers {
        assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn if_the_outcome_is_unknown_each_asks_on_its_own() {
    for reply in without_an_outcome() {
        let (answers, asked) = after(reply, || Ok(7)).await;
        assert_eq!(asked, [[2], [3]]);
        assert!(answers.into_iter().all(|answer| answer.unwrap() == 7));
    }
}

/// The first call may still be under way, and be carried out when the second one has been refused.
#[tokio::test]
async fn an_unknown_outcome_is_not_settled_by_a_refusal() {
    for reply in without_an_outcome() {
        let (answers, asked) = after(reply, || Err(refused())).await;
        assert_eq!(asked, [[2], [3]]);
        for answer in answers {
            let error = answer.unwrap_err();
            assert!(error.is_outcome_unknown(), "{error}");
            let said = error.to_string();
            assert!(said.starts_with("the outcome of test is unknown"), "{said}");
        }
    }
}

#[tokio::test]
async fn that_the_backend_is_away_is_the_answer_to_each() {
    let away = Error::Unavailable { source: cut() };
    let (answers, asked) = after(Reply::Answers(Err(away)), || Ok(7)).await;
    assert_eq!(asked, Vec::<Vec<u32>>::new());
    for answer in answers {
        assert!(matches!(answer, Err(Error::Unavailable { .. })));
    }
}

/// While nothing comes back those who come stay in the queue, and then go together.
#[tokio::test]
async fn patience_does_not_send_more_than_may_be_under_way() {
    let calls = Calls::default();
    let lane = calls.lane(Limits {
        patience: Duration::from_millis(5),
        at_most: 3,
        ..LIMITS
    });
    let mut stuck = Vec::new();
    for call in 0..3_u32 {
        let mut asking = calls.ask(&lane, call);
        let is_on_its_way = async {
            while calls.made().len() <= call as usize {
                assert!(poll!(&mut asking).is_pending());
                tokio::task::yield_now().await;
            }
        };
        is_on_its_way.await;
        stuck.push(asking);
    }
    let mut late = join_all((3..6).map(|request| calls.ask(&lane, request)));
    // Each of them loses patience several times.
    let long_since = tokio::time::timeout(Duration::from_millis(100), &mut late);
    assert!(long_since.await.is_err());
    assert_eq!(calls.made(), [[0], [1], [2]]);
    calls.answer(1);
    stuck.remove(1).await.unwrap();
    let driver = async {
        calls.are(&[&[0], &[1], &[2], &[3, 4, 5]]).await;
        calls.answer(3);
    };
    let (answers, ()) = tokio::join!(late, driver);
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
}

/// Nobody ever drives those under way again.
#[tokio::test]
async fn nobody_stays_in_the_queue_for_ever() {
    let calls = Calls::default();
    let lane = calls.lane(Limits {
        patience: Duration::from_millis(1),
        at_most: 1,
        ..LIMITS
    });
    let mut stuck = calls.ask(&lane, 1);
    assert!(poll!(&mut stuck).is_pending());
    let driver = async {
        calls.are(&[&[1], &[2]]).await;
        calls.answer(1);
    };
    let (answer, ()) = tokio::join!(calls.ask(&lane, 2), driver);
    answer.unwrap();
    assert_eq!(lane.standing(), (1, 0));
}

#[tokio::test]
async fn a_call_that_does_not_come_back_is_not_waited_for_without_end() {
    let calls = Calls::default();
    let lane = calls.lane(Limits {
        patience: Duration::from_millis(5),
        ..LIMITS
    });
    let mut stuck = calls.ask(&lane, 1);
    assert!(poll!(&mut stuck).is_pending());
    // Nobody looks at the first one any more: its application does something else.
    let asking = join_all((2..=4).map(|request| calls.ask(&lane, request)));
    let driver = async {
        calls.are(&[&[1], &[2, 3, 4]]).await;
        calls.answer(1);
    };
    let (answers, ()) = tokio::join!(asking, driver);
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    // It counts no longer, neither now nor when it comes back.
    assert_eq!(lane.standing(), (0, 0));
    let mut next = calls.ask(&lane, 5);
    assert!(poll!(&mut next).is_pending());
    calls.are(&[&[1], &[2, 3, 4], &[5]]).await;
    calls.answer(0);
    assert_eq!(stuck.await.unwrap(), 1);
    assert_eq!(lane.standing(), (1, 0));
    calls.answer(2);
    next.await.unwrap();
    assert_eq!(lane.standing(), (0, 0));
}

/// A blocked runtime must not hold up what another one waits for, and none waits for another.
#[tokio::test]
async fn each_runtime_is_by_itself() {
    let calls = Calls::default();
    let lane = calls.lane(LIMITS);
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let other = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    for request in 1..=6 {
        let mut asking = calls.ask(&lane, request);
        if request % 2 == 0 {
            assert!(poll!(&mut asking).is_pending());
            here.push(asking);
        } else {
            let entered = other.enter();
            let is_pending = futures_util::FutureExt::now_or_never(&mut asking).is_none();
            drop(entered);
            assert!(is_pending);
            there.push(asking);
        }
    }
    assert_eq!(calls.made(), [[1], [2]]);
    assert_eq!(lane.standing(), (2, 4));
    calls.answer(1);
    (&mut here[0]).await.unwrap();
    calls.are(&[&[1], &[2], &[4, 6]]).await;
    calls.answer(2);
    let answers = join_all(here.drain(1..)).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    calls.answer(0);
    (&mut there[0]).await.unwrap();
    calls.are(&[&[1], &[2], &[4, 6], &[3, 5]]).await;
    calls.answer(3);
    let answers = join_all(there.drain(1..)).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(lane.standing(), (0, 0));
    other.shutdown_background();
}
