//! A lane in steps: its calls come back when a test says so.

mod ending_early;
mod travelling;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, task::yield_now, time::timeout};

use super::lane::{Lane, Limits};
use crate::domain::{Error, Result};

/// Nobody loses patience, unless a test is about that.
const LIMITS: Limits = Limits {
    flights: 1,
    most: 100,
    patience: Duration::from_secs(3600),
    at_most: 8,
};

/// What takes longer never comes. Not a measure of anything.
const HUNG: Duration = Duration::from_secs(60);

type Asking<'a> = Pin<Box<dyn Future<Output = Result<u32>> + Send + 'a>>;

/// What a call comes back with.
enum Reply {
    Answers(Result<Vec<Option<Result<u32>>>>),
    Panic,
}

/// Calls that were made, in their order.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

struct Call {
    requests: Vec<u32>,
    reply: Option<oneshot::Sender<Reply>>,
}

impl Calls {
    fn make(&self, requests: Vec<u32>) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(Call {
            requests,
            reply: Some(sender),
        });
        receiver
    }

    fn lane(&self, limits: Limits) -> Lane<u32, u32> {
        let calls = self.clone();
        Lane::new("test", limits, move |requests| {
            let reply = calls.make(requests);
            Box::pin(async move {
                match reply.await.unwrap() {
                    Reply::Answers(answers) => answers,
                    Reply::Panic => panic!("on purpose"),
                }
            })
        })
    }

    /// A call for this request.
    fn ask<'a>(&self, lane: &'a Lane<u32, u32>, request: u32) -> Asking<'a> {
        let calls = self.clone();
        Box::pin(async move {
            let alone = || async {
                match calls.make(vec![request]).await.unwrap() {
                    Reply::Answers(answers) => answers?.remove(0).unwrap(),
                    Reply::Panic => panic!("on purpose"),
                }
            };
            lane.call(|| request, alone, Ok).await
        })
    }

    fn made(&self) -> Vec<Vec<u32>> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().map(|call| call.requests.clone()).collect()
    }

    /// Returns when as many calls have been made.
    async fn come_to(&self, count: usize) {
        let come = async {
            while self.made().len() < count {
                yield_now().await;
            }
        };
        timeout(HUNG, come).await.expect("a call is never made");
    }

    /// Returns when as many calls have been made, which must be these.
    async fn are(&self, expected: &[&[u32]]) {
        self.come_to(expected.len()).await;
        assert_eq!(self.made(), expected);
    }

    /// Lets a call come back; whether anybody waits for that.
    fn reply(&self, call: usize, reply: Reply) -> bool {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = calls[call].reply.take().unwrap();
        drop(calls);
        sender.send(reply).is_ok()
    }

    /// Lets it come back with an answer to each: its request plus a thousand for each call before it.
    fn answer(&self, call: usize) -> bool {
        let requests = self.made()[call].clone();
        let answers = requests
            .into_iter()
            .map(|request| Some(Ok(answer(call, request))));
        self.reply(call, Reply::Answers(Ok(answers.collect())))
    }
}

fn answer(call: usize, request: u32) -> u32 {
    request + 1000 * u32::try_from(call).unwrap()
}

fn refused() -> Error {
    Error::Refused {
        reason: "on purpose".to_owned(),
    }
}
