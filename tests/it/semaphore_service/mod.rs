//! The semaphore service, on every backend where nobody waits, and on PostgreSQL where one does.

mod isolated_work;
mod races;
mod verbs;

use std::time::Duration;

use pgmutex::{Mutexes, SemaphoreService};

use crate::conformance::Subject;

fn service(mutexes: &Mutexes) -> SemaphoreService {
    SemaphoreService::new(mutexes.clone())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

macro_rules! on_every_backend {
    ($($case:ident)*) => {
        mod postgres {
            $(#[tokio::test]
            async fn $case() {
                super::verbs::$case(&super::Subject::postgres().await).await;
            })*
        }

        mod session {
            $(#[tokio::test]
            async fn $case() {
                super::verbs::$case(&super::Subject::session()).await;
            })*
        }
    };
}

on_every_backend! {
    a_free_semaphore_is_acquired
    whoever_is_refused_is_told_of_the_holder
    the_same_owner_is_refused_too
    a_holder_that_outlived_its_timeout_makes_way
    the_holders_timeout_counts_not_the_askers
    a_touch_starts_the_time_again
    a_touch_by_another_is_refused_and_one_of_nothing_is_told
    a_release_frees_it
    a_release_by_another_is_refused_and_one_of_nothing_is_no_error
    another_process_can_touch_and_release
    an_evicted_owner_cannot_touch_the_next_ones
    get_tells_who_has_it
    force_release_takes_it_from_whoever_has_it
    semaphores_of_two_groups_are_apart
    what_cannot_be_a_name_is_refused
    holds_of_other_programs_are_shown
    a_lock_and_a_semaphore_exclude_each_other
}
