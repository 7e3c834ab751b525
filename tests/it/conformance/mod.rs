//! What every backend must do, written once and run on each.

mod alike;
mod capturing;
mod circles;
mod keeping;
mod looking;
mod process;
mod rules;
mod several;
mod sharing;
mod waiting;

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use pgmutex::{
    Access, CaptureAllRequest, CaptureRequest, Captured, CapturedAll, Coalescing, Error,
    MutexBackend, MutexId, MutexQuery, Mutexes, Result, Role, SessionBackend, Ticket,
    current_owner,
};

use crate::support::{Database, owner};

/// A backend under test, and a way to let its time pass.
pub(crate) struct Subject {
    pub(crate) mutexes: Mutexes,
    /// The same, without what only [`Mutexes`] adds.
    backend: Arc<dyn MutexBackend>,
    time: Time,
}

enum Time {
    /// The database's clock cannot be moved, so the holds are made older.
    Postgres(Database),
    Session(Arc<StdMutex<DateTime<Utc>>>),
}

impl Subject {
    pub(crate) async fn postgres() -> Self {
        let database = Database::with_patient_lines().await;
        Self {
            mutexes: database.mutexes().await,
            backend: Arc::new(Coalescing::new(database.backend())),
            time: Time::Postgres(database),
        }
    }

    /// The same where each call travels alone, however many there are at once.
    pub(crate) async fn each_alone() -> Self {
        let database = Database::with_patient_lines().await;
        let builder = Mutexes::builder().coalescing(false);
        Self {
            mutexes: builder.connect(database.url()).await.unwrap(),
            backend: Arc::new(database.backend()),
            time: Time::Postgres(database),
        }
    }

    /// The same for one who has the role admin, and may do nothing else in the database.
    pub(crate) async fn admin() -> Self {
        let database = Database::with_patient_lines().await;
        let (role, url) = database.role("").await;
        let owner = database.mutexes().await;
        owner.grant_role(&role, Role::Admin).await.unwrap();
        Self {
            mutexes: Mutexes::connect(&url).await.unwrap(),
            backend: Arc::new(Database::backend_at(&url)),
            time: Time::Postgres(database),
        }
    }

    pub(crate) fn session() -> Self {
        let now = Arc::new(StdMutex::new(Utc::now()));
        let clock = Arc::clone(&now);
        let backend = SessionBackend::new().with_clock(move || *clock.lock().unwrap());
        Self {
            mutexes: Mutexes::builder().backend(backend.clone()),
            backend: Arc::new(backend),
            time: Time::Session(now),
        }
    }

    pub(crate) async fn pass(&self, seconds: i32) {
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

    /// Asks for all of several, and for a place in line if one of them is busy.
    async fn wait_for_all(&self, captures: &[CaptureRequest]) -> Result<CapturedAll> {
        let request = CaptureAllRequest {
            captures: captures.to_vec(),
            wait: true,
            while_holding: Vec::new(),
        };
        self.backend.capture_all(&request).await
    }

    /// Asks, and expects a place in line.
    async fn queue(&self, capture: &CaptureRequest) -> Ticket {
        queued(self.wait_for_all(std::slice::from_ref(capture)).await)
    }

    /// Captures what is free.
    async fn capture(&self, id: &MutexId, session_id: &str) -> Captured {
        self.backend.capture(&wish(id, session_id)).await.unwrap()
    }

    /// Releases what is held.
    async fn release(&self, id: &MutexId, session_id: &str) {
        let released = self.mutexes.release(id).owner(owner(session_id)).await;
        assert!(released.unwrap().is_released());
    }

    async fn leave(&self, id: &MutexId, session_id: &str) {
        let left = self.backend.leave_line(id, &owner(session_id)).await;
        left.unwrap();
    }

    /// The backend's present.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        match &self.time {
            Time::Postgres(_) => Utc::now(),
            Time::Session(now) => *now.lock().unwrap(),
        }
    }
}

/// What this owner asks for to have a mutex alone.
fn wish(id: &MutexId, session_id: &str) -> CaptureRequest {
    wish_with(id, session_id, Access::Exclusive)
}

fn wish_with(id: &MutexId, session_id: &str, access: Access) -> CaptureRequest {
    CaptureRequest {
        id: id.clone(),
        owner: owner(session_id),
        access,
        reach: pgmutex::Reach::none(),
        auto_release: None,
        status_data: None,
    }
}

fn queued(answer: Result<CapturedAll>) -> Ticket {
    match answer {
        Ok(CapturedAll::Queued(ticket)) => ticket,
        other => panic!("not queued: {other:?}"),
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

        mod each_alone {
            $(#[tokio::test]
            async fn $case() {
                super::$group::$case(&super::Subject::each_alone().await).await;
            })*
        }

        mod admin {
            $(#[tokio::test]
            async fn $case() {
                super::$group::$case(&super::Subject::admin().await).await;
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
    sharing::any_number_may_share_and_each_has_a_permit
    sharing::one_who_wants_it_alone_is_refused_while_others_share
    sharing::nobody_shares_what_one_has_alone
    sharing::permits_are_limited_and_the_smallest_free_number_is_given
    sharing::the_strictest_limit_counts
    sharing::a_limit_of_none_is_refused
    sharing::sharing_again_refreshes_and_keeps_permit_and_limit
    sharing::from_alone_to_shared_keeps_the_token_and_lets_others_in
    sharing::from_shared_to_alone_needs_to_be_alone_and_is_a_capture
    sharing::a_permit_that_is_over_makes_way_and_the_others_stay
    sharing::each_refreshes_and_releases_its_own_hold
    sharing::request_tells_of_ones_own_hold_first
    sharing::list_shows_all_holders_in_the_order_of_their_permits
    sharing::force_release_takes_it_from_all_or_from_the_one_that_is_meant
    sharing::sweep_removes_the_permits_that_are_over
    waiting::what_is_free_is_captured_without_a_wait
    waiting::who_waits_is_told_of_the_holder_and_keeps_its_place
    waiting::first_come_first_served
    waiting::a_newcomer_does_not_pass_and_is_told_whose_turn_it_is
    waiting::a_turn_comes_with_a_release
    waiting::a_turn_that_came_before_it_was_waited_for_is_not_missed
    waiting::a_turn_comes_when_the_holders_rule_ends_its_hold
    waiting::a_turn_comes_with_a_forced_release
    waiting::a_ticket_that_is_no_more_is_told_so
    waiting::who_leaves_makes_way_for_the_next
    waiting::a_release_without_a_token_gives_up_the_place_in_line
    waiting::those_who_would_share_wait_behind_one_who_wants_it_alone
    waiting::those_who_share_are_let_in_one_after_the_other
    waiting::those_in_line_are_let_in_when_the_holder_begins_to_share
    waiting::a_permit_is_waited_for
    waiting::nobody_waits_to_have_alone_what_it_shares
    circles::a_wait_that_could_never_end_is_refused
    circles::what_the_asker_keeps_under_other_names_counts
    circles::one_holder_who_can_release_is_enough_for_a_permit
    circles::a_circle_through_those_before_one_in_line_is_refused
    circles::who_is_given_up_is_no_part_of_a_circle
    several::all_are_captured_in_the_order_of_the_request
    several::if_one_is_busy_none_is_captured
    several::none_is_captured_of_none
    several::what_does_not_belong_together_is_refused
    several::who_waits_for_several_has_a_place_in_every_line
    several::two_who_want_the_same_ones_are_served_one_after_the_other
    several::who_has_some_of_them_waits_for_the_others
    several::who_waited_for_one_has_one_ticket_for_all
    several::nobody_has_joined_a_line_if_one_wait_could_never_end
    several::each_of_many_captures_is_for_itself
    several::what_cannot_be_meant_is_the_answer_to_all
    several::each_of_many_releases_is_for_itself
    several::all_that_an_owner_has_is_released
    several::many_holds_are_kept_and_those_that_are_lost_are_named
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
        mutexes.capture(&passing).owner(owner("a")).await.unwrap();
        mutexes.release_owner(&owner("a")).await.unwrap();
        assert!(mutexes.request(&passing).await.unwrap().is_free());
    })
    .await;
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 1);
    // What concerns all backends is not kept from the others by one that has nothing here.
    assert_eq!(mutexes.sweep().await.unwrap(), 0);
    let released = mutexes.release_owner(&current_owner()).await.unwrap();
    assert_eq!(released.len(), 1);
    assert_eq!(mutexes.count(&MutexQuery::all()).await.unwrap(), 0);
}
