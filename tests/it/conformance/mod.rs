//! What every backend must do, written once and run on each.

mod capturing;
mod keeping;
mod looking;
mod rules;

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use pgmutex::{Error, MutexId, MutexQuery, Mutexes, SessionBackend};

use crate::support::{Database, owner};

/// A backend under test, and a way to let its time pass.
struct Subject {
    mutexes: Mutexes,
    time: Time,
}

enum Time {
    /// The database's clock cannot be moved, so the holds are made older.
    Postgres(Database),
    Session(Arc<StdMutex<DateTime<Utc>>>),
}

impl Subject {
    async fn postgres() -> Self {
        let database = Database::fresh().await;
        Self {
            mutexes: database.mutexes().await,
            time: Time::Postgres(database),
        }
    }

    fn session() -> Self {
        let now = Arc::new(StdMutex::new(Utc::now()));
        let clock = Arc::clone(&now);
        let backend = SessionBackend::new().with_clock(move || *clock.lock().unwrap());
        Self {
            mutexes: Mutexes::builder().backend(backend),
            time: Time::Session(now),
        }
    }

    async fn pass(&self, seconds: i32) {
        match &self.time {
            Time::Postgres(database) => {
                let older = format!(
                    "update pgmutex.mutex_model set captured_since = captured_since - interval '{seconds} seconds', \
                     held_since = held_since - interval '{seconds} seconds'"
                );
                database.client().await.batch_execute(&older).await.unwrap();
            }
            Time::Session(now) => *now.lock().unwrap() += TimeDelta::seconds(seconds.into()),
        }
    }

    /// The backend's present.
    fn now(&self) -> DateTime<Utc> {
        match &self.time {
            Time::Postgres(_) => Utc::now(),
            Time::Session(now) => *now.lock().unwrap(),
        }
    }
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
    capturing::a_free_mutex_is_captured
    capturing::a_held_mutex_is_refused_to_others_with_its_holder
    capturing::capturing_again_refreshes_and_keeps_the_token
    capturing::status_data_is_replaced_only_by_a_text_that_is_not_empty
    capturing::a_hold_whose_timeout_has_passed_makes_way
    capturing::ones_own_hold_that_is_over_is_captured_anew
    capturing::tokens_grow_with_every_capture
    capturing::calls_without_an_owner_use_the_current_one
    capturing::what_a_capture_returns_is_what_a_request_sees
    rules::a_refresh_keeps_the_rule_unless_another_is_asked_for
    rules::never_is_never_over
    rules::a_deadline_ends_a_hold_however_often_it_is_refreshed
    rules::a_deadline_that_has_passed_is_refused
    rules::a_rule_that_cannot_be_meant_is_refused
    keeping::a_refresh_starts_the_time_again
    keeping::a_refresh_of_what_is_not_held_says_lost
    keeping::a_refresh_of_anothers_mutex_says_busy
    keeping::a_refresh_by_token_means_that_very_hold
    keeping::a_release_frees_and_says_what_was_released
    keeping::a_release_of_what_is_not_held_is_no_error
    keeping::a_release_of_anothers_mutex_says_busy
    keeping::a_release_by_token_means_that_very_hold
    keeping::a_release_of_a_hold_that_is_over_says_not_held
    looking::request_tells_free_mine_and_others
    looking::request_removes_what_is_over
    looking::force_release_takes_a_mutex_away
    looking::sweep_removes_what_is_over_and_nothing_else
    looking::list_orders_filters_and_pages
    looking::list_leaves_out_what_is_over_unless_asked
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_group_can_be_routed_to_a_backend_of_its_own() {
    let database = Database::fresh().await;
    let mutexes = Mutexes::builder()
        .route("request", SessionBackend::per_request())
        .connect(database.url())
        .await
        .unwrap();
    let (kept, passing) = (
        MutexId::new("orders", "edit", "1").unwrap(),
        MutexId::new("request", "edit", "1").unwrap(),
    );
    mutexes.capture(&kept).await.unwrap();
    assert!(matches!(
        mutexes.capture(&passing).await,
        Err(Error::OutsideScope)
    ));
    SessionBackend::scope(async {
        mutexes.capture(&passing).owner(owner("a")).await.unwrap();
        let refused = mutexes.capture(&passing).owner(owner("b")).await;
        assert!(refused.unwrap_err().is_busy());
        let page = mutexes.list(&MutexQuery::all().group("request")).await;
        assert_eq!(page.unwrap().mutexes.len(), 1);
    })
    .await;
    SessionBackend::scope(async {
        assert!(mutexes.request(&passing).await.unwrap().is_free());
    })
    .await;
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
}
