//! What only mutexes kept in the process are like.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use pgmutex::{
    AutoRelease, CaptureAllRequest, CaptureRequest, Error, MutexBackend, Mutexes, ReleaseRequest,
    SessionBackend,
};

use super::{Subject, queued, wish};
use crate::support::{mutex_id, owner};

fn release(session_id: &str) -> ReleaseRequest {
    ReleaseRequest {
        id: mutex_id("a"),
        owner: owner(session_id),
        token: None,
    }
}

#[tokio::test]
async fn no_hold_can_be_attached_to_a_database_session() {
    let subject = Subject::session();
    let id = mutex_id("a");
    let rule = AutoRelease::Connection {
        session: 7,
        timeout: None,
    };
    let refused = subject
        .mutexes
        .capture(&id)
        .auto_release(rule.clone())
        .await;
    assert!(
        matches!(refused, Err(Error::NoSession { .. })),
        "{refused:?}"
    );
    let request = CaptureRequest {
        auto_release: Some(rule),
        ..wish(&id, "a")
    };
    for wait in [false, true] {
        let request = CaptureAllRequest {
            captures: vec![wish(&mutex_id("b"), "a"), request.clone()],
            wait,
            while_holding: Vec::new(),
        };
        let refused = subject.backend.capture_all(&request).await;
        assert!(
            matches!(refused, Err(Error::NoSession { .. })),
            "{refused:?}"
        );
    }
    let refused = subject
        .backend
        .capture_each(&[wish(&id, "b"), request])
        .await;
    assert!(
        matches!(refused, Err(Error::NoSession { .. })),
        "{refused:?}"
    );
    let refused = subject.backend.attach().await;
    assert!(matches!(refused, Err(Error::NoSession { .. })));
    assert!(subject.mutexes.request(&id).await.unwrap().is_free());
}

#[tokio::test]
async fn whoever_makes_way_wakes_the_next_at_once() {
    let subject = Subject::session();
    let (id, backend) = (mutex_id("a"), &subject.backend);
    backend.capture(&wish(&id, "a")).await.unwrap();
    let first = subject.queue(&wish(&id, "b")).await;
    let second = subject.queue(&wish(&id, "c")).await;
    let mut context = Context::from_waker(Waker::noop());
    let mut turn_of_first = pin!(backend.turn(&first));
    let mut turn_of_second = pin!(backend.turn(&second));
    assert!(turn_of_first.as_mut().poll(&mut context).is_pending());
    assert!(turn_of_second.as_mut().poll(&mut context).is_pending());

    backend.release(&release("a")).await.unwrap();
    assert!(matches!(
        turn_of_first.as_mut().poll(&mut context),
        Poll::Ready(Ok(()))
    ));
    assert!(turn_of_second.as_mut().poll(&mut context).is_pending());
    backend.leave_line(&id, &owner("b")).await.unwrap();
    assert!(matches!(
        turn_of_second.as_mut().poll(&mut context),
        Poll::Ready(Ok(()))
    ));

    // And one who comes to wait only now finds that the turn has come.
    let mut late = pin!(backend.turn(&second));
    assert!(late.as_mut().poll(&mut context).is_ready());
}

#[tokio::test]
async fn mutexes_of_a_request_are_reached_from_anywhere_once_they_are_anchored() {
    let backend = SessionBackend::per_request();
    assert!(backend.anchored().is_none(), "there is no request here");
    assert!(
        SessionBackend::new().anchored().is_none(),
        "it is at anchor"
    );
    let id = mutex_id("a");
    SessionBackend::scope(async {
        backend.capture(&wish(&id, "a")).await.unwrap();
        let anchored = backend.anchored().unwrap();
        assert!(anchored.anchored().is_none());
        let elsewhere = tokio::spawn(async move {
            let wanted = wish(&mutex_id("a"), "b");
            assert!(anchored.capture(&wanted).await.unwrap_err().is_busy());
            let request = CaptureAllRequest {
                captures: vec![wanted],
                wait: true,
                while_holding: Vec::new(),
            };
            queued(anchored.capture_all(&request).await);
            anchored.release(&release("a")).await.unwrap();
            anchored.capture_all(&request).await.unwrap();
        });
        elsewhere.await.unwrap();
        let mutexes = Mutexes::builder().backend(backend.clone());
        let state = mutexes.request_by(&id, &owner("b")).await.unwrap();
        assert_eq!(state.mutex().unwrap().owner, owner("b"));
    })
    .await;
    assert!(matches!(backend.now().await, Err(Error::OutsideScope)));
}
