use chrono::TimeDelta;
use pgmutex::{
    AutoRelease, Error, MutexId, MutexOwner, Released, SemaphoreInfo, SemaphoreService,
    SemaphoreStatus,
};

use super::{secs, service};
use crate::{conformance::Subject, support::owner};

pub(super) async fn a_free_semaphore_is_acquired(subject: &Subject) {
    let service = service(&subject.mutexes);
    let info = service.acquire("s", "ada", secs(60)).await.unwrap();
    assert_eq!(info.status, SemaphoreStatus::Acquired);
    assert!(info.is_acquired());
    assert_eq!((info.name.as_str(), info.owner.as_str()), ("s", "ada"));
    assert_eq!(info.timeout, Some(secs(60)));
    assert_eq!(info.create_date_utc, info.update_date_utc);
    let end = info.update_date_utc + TimeDelta::seconds(60);
    assert_eq!(info.expires_at_utc, Some(end));
    assert_eq!(info.evicted, None);
    let id = MutexId::new("semaphore", "", "s").unwrap();
    let state = subject.mutexes.request(&id).await.unwrap();
    let hold = state.mutex().unwrap();
    assert_eq!(hold.fencing_token, info.fencing_token);
    assert_eq!((hold.owner.name(), hold.owner.login()), ("ada", "ada"));
    assert!(hold.owner.session_id().starts_with("ada#"));
}

pub(super) async fn whoever_is_refused_is_told_of_the_holder(subject: &Subject) {
    let service = service(&subject.mutexes);
    let adas = service.acquire("s", "ada", secs(60)).await.unwrap();
    let info = service.acquire("s", "bob", secs(10)).await.unwrap();
    assert!(!info.is_acquired());
    let mut expected = adas;
    expected.status = SemaphoreStatus::OwnedBySomeoneElse;
    assert_eq!(info, expected);
}

pub(super) async fn the_same_owner_is_refused_too(subject: &Subject) {
    let service = service(&subject.mutexes);
    let first = service.acquire("s", "ada", secs(60)).await.unwrap();
    subject.pass(5).await;
    let again = service.acquire("s", "ada", secs(60)).await.unwrap();
    assert_eq!(again.status, SemaphoreStatus::OwnedBySomeoneElse);
    assert_eq!(again.owner, "ada");
    assert_eq!(again.fencing_token, first.fencing_token);
    // Nor was it touched by that.
    assert_eq!(again.update_date_utc, again.create_date_utc);
}

pub(super) async fn a_holder_that_outlived_its_timeout_makes_way(subject: &Subject) {
    let service = service(&subject.mutexes);
    let adas = service.acquire("s", "ada", secs(60)).await.unwrap();
    subject.pass(61).await;
    let bobs = service.acquire("s", "bob", secs(60)).await.unwrap();
    assert_eq!(bobs.status, SemaphoreStatus::ForcedReleased);
    assert!(bobs.is_acquired());
    assert_eq!(bobs.owner, "bob");
    assert!(bobs.fencing_token > adas.fencing_token);
    let evicted = bobs.evicted.unwrap();
    assert_eq!(evicted.name, "ada");
    assert_eq!(evicted.fencing_token, adas.fencing_token);
    let holder = service.get("s").await.unwrap().unwrap();
    assert_eq!(holder.owner, "bob");
    let again = service.acquire("s", "cid", secs(60)).await.unwrap();
    assert_eq!(again.status, SemaphoreStatus::OwnedBySomeoneElse);
}

pub(super) async fn the_holders_timeout_counts_not_the_askers(subject: &Subject) {
    let service = service(&subject.mutexes);
    service.acquire("s", "ada", secs(10_000)).await.unwrap();
    subject.pass(5_000).await;
    let refused = service.acquire("s", "bob", secs(1)).await.unwrap();
    assert_eq!(refused.status, SemaphoreStatus::OwnedBySomeoneElse);
    subject.pass(5_001).await;
    let acquired = service.acquire("s", "bob", secs(100_000)).await.unwrap();
    assert_eq!(acquired.status, SemaphoreStatus::ForcedReleased);
}

pub(super) async fn a_touch_starts_the_time_again(subject: &Subject) {
    let service = service(&subject.mutexes);
    let acquired = service.acquire("s", "ada", secs(6_000)).await.unwrap();
    subject.pass(5_000).await;
    let touched = service.touch("s", "ada").await.unwrap();
    assert_eq!(touched.status, SemaphoreStatus::Acquired);
    assert_eq!(touched.fencing_token, acquired.fencing_token);
    assert!(touched.update_date_utc - touched.create_date_utc >= TimeDelta::seconds(5_000));
    let end = touched.update_date_utc + TimeDelta::seconds(6_000);
    assert_eq!(touched.expires_at_utc, Some(end));
    subject.pass(5_000).await;
    let refused = service.acquire("s", "bob", secs(60)).await.unwrap();
    assert!(!refused.is_acquired());
}

pub(super) async fn a_touch_by_another_is_refused_and_one_of_nothing_is_told(subject: &Subject) {
    let service = service(&subject.mutexes);
    assert!(matches!(
        service.touch("s", "ada").await,
        Err(Error::Lost { .. })
    ));
    let adas = service.acquire("s", "ada", secs(60)).await.unwrap();
    let Err(Error::Busy { holder, .. }) = service.touch("s", "bob").await else {
        panic!("bob touched what is ada's");
    };
    assert_eq!(holder.owner.name(), "ada");
    let holder = service.get("s").await.unwrap().unwrap();
    assert_eq!(holder.update_date_utc, adas.update_date_utc);
    subject.pass(61).await;
    assert!(matches!(
        service.touch("s", "ada").await,
        Err(Error::Lost { .. })
    ));
}

pub(super) async fn a_release_frees_it(subject: &Subject) {
    let service = service(&subject.mutexes);
    let acquired = service.acquire("s", "ada", secs(60)).await.unwrap();
    let Released::Released(hold) = service.release("s", "ada").await.unwrap() else {
        panic!("it was held");
    };
    assert_eq!(hold.fencing_token, acquired.fencing_token);
    let next = service.acquire("s", "bob", secs(60)).await.unwrap();
    assert_eq!(next.status, SemaphoreStatus::Acquired);
}

pub(super) async fn a_release_by_another_is_refused_and_one_of_nothing_is_no_error(
    subject: &Subject,
) {
    let service = service(&subject.mutexes);
    assert_eq!(
        service.release("s", "ada").await.unwrap(),
        Released::NotHeld
    );
    service.acquire("s", "ada", secs(60)).await.unwrap();
    assert!(service.release("s", "bob").await.unwrap_err().is_busy());
    assert_eq!(service.get("s").await.unwrap().unwrap().owner, "ada");
    subject.pass(61).await;
    assert_eq!(
        service.release("s", "ada").await.unwrap(),
        Released::NotHeld
    );
}

pub(super) async fn another_process_can_touch_and_release(subject: &Subject) {
    let (here, there) = (service(&subject.mutexes), service(&subject.mutexes));
    here.acquire("s", "ada", secs(60)).await.unwrap();
    there.touch("s", "ada").await.unwrap();
    assert!(there.release("s", "ada").await.unwrap().is_released());
    assert_eq!(here.get("s").await.unwrap(), None);
}

pub(super) async fn an_evicted_owner_cannot_touch_the_next_ones(subject: &Subject) {
    let service = service(&subject.mutexes);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    subject.pass(61).await;
    let bobs = service.acquire("s", "bob", secs(60)).await.unwrap();
    assert!(service.touch("s", "ada").await.unwrap_err().is_busy());
    assert!(service.release("s", "ada").await.unwrap_err().is_busy());
    let holder = service.get("s").await.unwrap().unwrap();
    assert_eq!(holder.fencing_token, bobs.fencing_token);
    assert_eq!(holder.update_date_utc, bobs.update_date_utc);
}

pub(super) async fn get_tells_who_has_it(subject: &Subject) {
    let service = service(&subject.mutexes);
    assert_eq!(service.get("s").await.unwrap(), None);
    let acquired = service.acquire("s", "ada", secs(60)).await.unwrap();
    let mut expected = acquired;
    expected.status = SemaphoreStatus::OwnedBySomeoneElse;
    assert_eq!(service.get("s").await.unwrap(), Some(expected));
    subject.pass(61).await;
    assert_eq!(service.get("s").await.unwrap(), None);
}

pub(super) async fn force_release_takes_it_from_whoever_has_it(subject: &Subject) {
    let service = service(&subject.mutexes);
    assert_eq!(service.force_release("s", "test").await.unwrap(), None);
    let acquired = service.acquire("s", "ada", secs(60)).await.unwrap();
    let taken = service.force_release("s", "test").await.unwrap().unwrap();
    assert_eq!(taken.fencing_token, acquired.fencing_token);
    assert_eq!(taken.owner, "ada");
    assert!(!taken.is_acquired());
    assert!(matches!(
        service.touch("s", "ada").await,
        Err(Error::Lost { .. })
    ));
    let next = service.acquire("s", "bob", secs(60)).await.unwrap();
    assert_eq!(next.status, SemaphoreStatus::Acquired);
}

pub(super) async fn semaphores_of_two_groups_are_apart(subject: &Subject) {
    let first = service(&subject.mutexes);
    let second = service(&subject.mutexes).group("elsewhere");
    first.acquire("s", "ada", secs(60)).await.unwrap();
    let other = second.acquire("s", "bob", secs(60)).await.unwrap();
    assert!(other.is_acquired());
    assert_eq!(
        second.id("s").unwrap(),
        MutexId::new("elsewhere", "", "s").unwrap()
    );
}

pub(super) async fn what_cannot_be_a_name_is_refused(subject: &Subject) {
    let service = service(&subject.mutexes);
    let long = "x".repeat(1601);
    for name in ["", "a\0b", long.as_str()] {
        for refused in [
            service.acquire(name, "ada", secs(60)).await.err(),
            service.touch(name, "ada").await.err(),
            service.release(name, "ada").await.err(),
            service.get(name).await.err(),
            service.force_release(name, "test").await.err(),
            service
                .isolate_work(name, "ada", secs(60), |_| async {})
                .await
                .err(),
        ] {
            let reason = format!("{name:?}: {refused:?}");
            assert!(matches!(refused, Some(Error::InvalidId { .. })), "{reason}");
        }
    }
    let long = "x".repeat(401);
    for owner in ["", "a\0b", long.as_str()] {
        for refused in [
            service.acquire("s", owner, secs(60)).await.err(),
            service.touch("s", owner).await.err(),
            service.release("s", owner).await.err(),
            service
                .isolate_work("s", owner, secs(60), |_| async {})
                .await
                .err(),
        ] {
            let reason = format!("{owner:?}: {refused:?}");
            assert!(
                matches!(refused, Some(Error::InvalidOwner { .. })),
                "{reason}"
            );
        }
    }
    for timeout in [secs(0), std::time::Duration::from_millis(1500)] {
        let refused = service.acquire("s", "ada", timeout).await;
        assert!(matches!(refused, Err(Error::InvalidRule { .. })));
    }
    let longest = "x".repeat(400);
    let info = service.acquire("s", &longest, secs(60)).await.unwrap();
    assert_eq!(info.owner, longest);
    service.touch("s", &longest).await.unwrap();
    assert!(service.release("s", &longest).await.unwrap().is_released());
}

pub(super) async fn holds_of_other_programs_are_shown(subject: &Subject) {
    let service = service(&subject.mutexes);
    let capture = subject.mutexes.capture(service.id("s").unwrap());
    let capture = capture
        .owner(owner("psql"))
        .auto_release(AutoRelease::Never);
    capture.await.unwrap();
    let info = service.acquire("s", "ada", secs(60)).await.unwrap();
    assert_eq!(info.status, SemaphoreStatus::OwnedBySomeoneElse);
    assert_eq!(info.owner, "psql");
    assert_eq!((info.timeout, info.expires_at_utc), (None, None));
    assert!(service.touch("s", "ada").await.unwrap_err().is_busy());
    assert!(service.release("s", "psql").await.unwrap().is_released());
}

pub(super) async fn a_lock_and_a_semaphore_exclude_each_other(subject: &Subject) {
    let service = service(&subject.mutexes);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    let ada = MutexOwner::new("ada").unwrap().with_name("ada").unwrap();
    let capture = subject.mutexes.capture(service.id("s").unwrap());
    assert!(capture.owner(ada).await.unwrap_err().is_busy());
}

#[test]
fn statuses_and_infos_have_words() {
    use SemaphoreStatus::{Acquired, ForcedReleased, OwnedBySomeoneElse, ReleasedInTheMeanTime};
    for (status, word, is_acquired) in [
        (Acquired, "acquired", true),
        (ReleasedInTheMeanTime, "released_in_the_mean_time", false),
        (OwnedBySomeoneElse, "owned_by_someone_else", false),
        (ForcedReleased, "forced_released", true),
    ] {
        assert_eq!(serde_json::to_value(status).unwrap(), word);
        let read: SemaphoreStatus = serde_json::from_value(word.into()).unwrap();
        assert_eq!(read, status);
        assert_eq!(status.is_acquired(), is_acquired);
    }
}

#[tokio::test]
async fn an_info_can_be_written_and_read() {
    let subject = Subject::session();
    let service: SemaphoreService = service(&subject.mutexes);
    service.acquire("s", "ada", secs(60)).await.unwrap();
    subject.pass(61).await;
    let info = service.acquire("s", "bob", secs(60)).await.unwrap();
    let written = serde_json::to_value(&info).unwrap();
    assert_eq!(written["status"], "forced_released");
    assert_eq!(written["evicted"]["name"], "ada");
    let read: SemaphoreInfo = serde_json::from_value(written).unwrap();
    assert_eq!(read, info);
}
