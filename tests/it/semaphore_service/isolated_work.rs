//! Work under a semaphore, on every backend.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use pgmutex::{Error, Mutexes, SemaphoreService, SemaphoreStatus, SessionBackend};
use tokio::sync::Notify;

use super::{secs, service};
use crate::{conformance::Subject, guards::must};

/// What one was notified of.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>, Arc<Notify>);

impl Heard {
    fn hear(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
        self.1.notify_one();
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, beginning: &str) {
        while !self.all().iter().any(|text| text.starts_with(beginning)) {
            must(self.1.notified()).await;
        }
    }
}

async fn is_free_again(service: &SemaphoreService) {
    let work = service.isolate_work("s", "the next one", secs(60), |_| async {});
    must(async { work.await }).await.unwrap();
}

pub(super) async fn work_is_done_under_the_semaphore_which_is_released_afterwards(
    subject: &Subject,
) {
    let service = service(&subject.mutexes);
    let heard = Heard::default();
    let seen = service
        .isolate_work("s", "ada", secs(60), async |info| {
            assert_eq!(info.status, SemaphoreStatus::Acquired);
            assert_eq!(info.timeout, Some(secs(60)));
            (info, service.get("s").await.unwrap().unwrap())
        })
        .notify(|text| heard.hear(text))
        .await
        .unwrap();
    assert_eq!(seen.0.fencing_token, seen.1.fencing_token);
    assert_eq!(seen.1.owner, "ada");
    assert_eq!(service.get("s").await.unwrap(), None);
    assert_eq!(
        heard.all(),
        [
            "acquired semaphore s",
            "the work is done, releasing semaphore s"
        ]
    );
}

pub(super) async fn work_that_fails_is_given_back_as_it_is(subject: &Subject) {
    let service = service(&subject.mutexes);
    let failed: Result<(), &str> = service
        .isolate_work("s", "ada", secs(60), async |_| Err("no paper"))
        .await
        .unwrap();
    assert_eq!(failed, Err("no paper"));
    assert_eq!(service.get("s").await.unwrap(), None);
}

pub(super) async fn work_that_panics_releases(subject: &Subject) {
    let service = service(&subject.mutexes);
    let work = service.isolate_work("s", "ada", secs(60), async |_| panic!("as it should"));
    let ended = tokio::spawn(async move { work.await }).await;
    assert!(ended.unwrap_err().is_panic());
    is_free_again(&service).await;
}

pub(super) async fn work_that_is_cancelled_releases(subject: &Subject) {
    let service = service(&subject.mutexes);
    let heard = Heard::default();
    let work = service
        .isolate_work("s", "ada", secs(60), async |_| pending::<()>().await)
        .notify({
            let heard = heard.clone();
            move |text| heard.hear(text)
        });
    let work = tokio::spawn(work.into_future());
    heard.until("acquired").await;
    work.abort();
    is_free_again(&service).await;
}

pub(super) async fn whoever_waits_is_woken_up_and_was_told_for_whom_it_waits(subject: &Subject) {
    let service = service(&subject.mutexes);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    let heard = Heard::default();
    let work = service
        .isolate_work("s", "bob", secs(60), async |info| info.owner)
        .sleep_between_attempts(secs(3600))
        .notify({
            let heard = heard.clone();
            move |text| heard.hear(text)
        });
    let work = tokio::spawn(work.into_future());
    heard.until("waiting").await;
    let [told] = &heard.all()[..] else {
        panic!("{:?}", heard.all());
    };
    assert!(
        told.starts_with("waiting for semaphore s, held by ada since 2"),
        "{told}"
    );
    service.release("s", "ada").await.unwrap();
    assert_eq!(must(work).await.unwrap().unwrap(), "bob");
    assert_eq!(heard.all()[1], "acquired semaphore s");
}

pub(super) async fn whoever_waits_for_long_hears_of_it_now_and_then(subject: &Subject) {
    let service = service(&subject.mutexes);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    let heard = Heard::default();
    let work = service
        .isolate_work("s", "bob", secs(60), |_| async {})
        .sleep_between_attempts(Duration::from_millis(10))
        .notify({
            let heard = heard.clone();
            move |text| heard.hear(text)
        });
    let work = tokio::spawn(work.into_future());
    heard
        .until("still waiting for semaphore s, held by ada since 2")
        .await;
    service.force_release("s", "test").await.unwrap();
    must(work).await.unwrap().unwrap();
}

pub(super) async fn waiting_can_be_bounded(subject: &Subject) {
    let service = service(&subject.mutexes);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        let work = service.isolate_work("s", "bob", secs(60), |_| async {});
        let refused = must(work.wait(wait).into_future()).await;
        assert!(
            matches!(refused, Err(Error::Timeout { .. })),
            "{wait:?}: {refused:?}"
        );
    }
    service.release("s", "ada").await.unwrap();
    // Those who gave up may still be leaving the line, and to ask takes a moment, too.
    let has_it = async {
        loop {
            let work = service.isolate_work("s", "bob", secs(60), |_| async {});
            match work.wait(Duration::ZERO).await {
                Err(Error::Timeout { .. }) => {}
                done => return done,
            }
        }
    };
    must(has_it).await.unwrap();
}

pub(super) async fn work_is_cancelled_when_the_semaphore_is_lost(subject: &Subject) {
    let service = service(&subject.mutexes);
    let heard = Heard::default();
    let work = service
        .isolate_work("s", "ada", secs(1), async |_| {
            service.force_release("s", "test").await.unwrap();
            pending::<()>().await;
        })
        .notify(|text| heard.hear(text));
    let lost = must(work.into_future()).await;
    assert!(matches!(lost, Err(Error::Lost { .. })), "{lost:?}");
    assert_eq!(
        heard.all().last().unwrap(),
        "semaphore s is lost, the work is cancelled"
    );
}

pub(super) async fn works_of_one_owner_exclude_each_other(subject: &Subject) {
    let service = service(&subject.mutexes);
    let at_once = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let at_once = Arc::clone(&at_once);
            let work = service.isolate_work("s", "ada", secs(60), async move |_| {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                at_once.fetch_sub(1, Ordering::SeqCst);
            });
            tokio::spawn(work.into_future())
        })
        .collect();
    for task in tasks {
        must(task).await.unwrap().unwrap();
    }
}

pub(super) async fn no_sleep_at_all_is_refused(subject: &Subject) {
    let service = service(&subject.mutexes);
    let work = service.isolate_work("s", "ada", secs(60), |_| async {});
    let refused = work.sleep_between_attempts(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::InvalidInput { .. })));
}

#[tokio::test]
async fn parts_of_one_request_wait_for_each_other() {
    let service = service(&Mutexes::builder().backend(SessionBackend::per_request()));
    let outside = service.isolate_work("s", "ada", secs(60), |_| async {});
    assert!(matches!(outside.await, Err(Error::OutsideScope)));
    SessionBackend::scope(async {
        service.acquire("s", "ada", secs(60)).await.unwrap();
        let heard = Heard::default();
        let work = service
            .isolate_work("s", "bob", secs(60), async |info| info.owner)
            .sleep_between_attempts(Duration::from_millis(10))
            .notify(|text| heard.hear(text));
        let releasing = async {
            heard.until("still waiting").await;
            service.release("s", "ada").await.unwrap();
        };
        let (owner, ()) = must(async { tokio::join!(work.into_future(), releasing) }).await;
        assert_eq!(owner.unwrap(), "bob");
    })
    .await;
}
