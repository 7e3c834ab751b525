//! The semaphore service.

mod in_line;
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
    ($($group:ident::$case:ident)*) => {
        mod postgres {
            $(#[tokio::test]
            async fn $case() {
                super::$group::$case(&super::Subject::postgres().await).await;
            })*
        }

        mod session {
            $(#[tokio::test]
            async fn $case() {
                super::$group::$case(&super::Subject::session()).await;
            })*
        }
    };
}

on_every_backend! {
    verbs::a_free_semaphore_is_acquired
    verbs::whoever_is_refused_is_told_of_the_holder
    verbs::the_same_owner_is_refused_too
    verbs::a_holder_that_outlived_its_timeout_makes_way
    verbs::the_holders_timeout_counts_not_the_askers
    verbs::a_touch_starts_the_time_again
    verbs::a_touch_by_another_is_refused_and_one_of_nothing_is_told
    verbs::a_release_frees_it
    verbs::a_release_by_another_is_refused_and_one_of_nothing_is_no_error
    verbs::another_process_can_touch_and_release
    verbs::an_evicted_owner_cannot_touch_the_next_ones
    verbs::get_tells_who_has_it
    verbs::force_release_takes_it_from_whoever_has_it
    verbs::semaphores_of_two_groups_are_apart
    verbs::what_cannot_be_a_name_is_refused
    verbs::holds_of_other_programs_are_shown
    verbs::a_lock_and_a_semaphore_exclude_each_other
    isolated_work::work_is_done_under_the_semaphore_which_is_released_afterwards
    isolated_work::work_that_fails_is_given_back_as_it_is
    isolated_work::work_that_panics_releases
    isolated_work::work_that_is_cancelled_releases
    isolated_work::whoever_waits_is_woken_up_and_was_told_for_whom_it_waits
    isolated_work::whoever_waits_for_long_hears_of_it_now_and_then
    isolated_work::waiting_can_be_bounded
    isolated_work::work_is_cancelled_when_the_semaphore_is_lost
    isolated_work::works_of_one_owner_exclude_each_other
    isolated_work::no_sleep_at_all_is_refused
}
