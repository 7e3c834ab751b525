//! Histories that no correct database can produce, and what the checker says of each.

use super::{
    checker::{Violation, violations},
    history::{Call, History, Verdict},
    stories::{
        asked, captured, exclusive, joined, left, looked, lost_capture, not_held, queued,
        refreshed, refused, released, row, shared, shared_by,
    },
};

/// The checker finds this, and nothing else.
#[track_caller]
fn shows(calls: Vec<Call>, violation: Violation) {
    assert_eq!(violations(&History::of(calls)), [violation]);
}

fn overlap(earlier: i64, later: i64) -> Violation {
    Violation::Overlap {
        mutex: "m".into(),
        tokens: [earlier, later],
    }
}

fn passed_in_line(waiting: &str, passed_by: &str) -> Violation {
    Violation::PassedInLine {
        mutex: "m".into(),
        waiting: waiting.into(),
        passed_by: passed_by.into(),
    }
}

fn hold_lost(owner: &str, token: i64) -> Violation {
    Violation::HoldLost {
        mutex: "m".into(),
        owner: owner.into(),
        token,
    }
}

fn hold_from_nowhere(owner: &str, token: i64) -> Violation {
    Violation::HoldFromNowhere {
        mutex: "m".into(),
        owner: owner.into(),
        token,
    }
}

fn half_taken(mutex: &str, owner: &str) -> Violation {
    Violation::HalfTaken {
        mutex: mutex.into(),
        owner: owner.into(),
    }
}

fn refused_for_nothing(owner: &str) -> Violation {
    Violation::RefusedForNothing {
        mutex: "m".into(),
        owner: owner.into(),
    }
}

#[test]
fn two_exclusive_holders() {
    shows(
        vec![captured(0..1, "a", "m", 1), captured(2..3, "b", "m", 2)],
        overlap(1, 2),
    );
}

#[test]
fn two_exclusive_holders_of_whom_one_releases_a_moment_too_late() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            captured(2..4, "b", "m", 2),
            released(5..6, "a", "m", 1),
        ],
        overlap(1, 2),
    );
}

#[test]
fn a_writer_beside_a_reader() {
    shows(
        vec![
            joined(0..1, "a", shared("m"), 1, 1),
            captured(2..3, "b", "m", 2),
        ],
        overlap(1, 2),
    );
}

#[test]
fn a_reader_beside_a_writer() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            joined(2..3, "b", shared("m"), 2, 1),
        ],
        overlap(1, 2),
    );
}

#[test]
fn more_holders_than_all_of_them_allow() {
    shows(
        vec![
            joined(0..1, "a", shared_by(2, "m"), 1, 1),
            joined(2..3, "b", shared_by(2, "m"), 2, 2),
            joined(4..5, "c", shared("m"), 3, 3),
        ],
        Violation::LimitExceeded {
            mutex: "m".into(),
            limit: 2,
            tokens: vec![3, 1, 2],
        },
    );
}

#[test]
fn more_holders_than_the_last_one_allows() {
    shows(
        vec![
            joined(0..1, "a", shared("m"), 1, 2),
            joined(2..3, "b", shared_by(1, "m"), 2, 1),
        ],
        Violation::LimitExceeded {
            mutex: "m".into(),
            limit: 1,
            tokens: vec![2, 1],
        },
    );
}

#[test]
fn one_permit_for_two() {
    shows(
        vec![
            joined(0..1, "a", shared("m"), 1, 1),
            joined(2..3, "b", shared("m"), 2, 1),
        ],
        Violation::PermitTwice {
            mutex: "m".into(),
            tokens: [1, 2],
        },
    );
}

#[test]
fn a_permit_beyond_the_limit() {
    shows(
        vec![joined(0..1, "a", shared_by(2, "m"), 1, 3)],
        Violation::PermitOutOfRange {
            mutex: "m".into(),
            token: 1,
            permit: 3,
        },
    );
}

#[test]
fn a_shared_hold_without_a_permit() {
    shows(
        vec![joined(0..1, "a", shared("m"), 1, 0)],
        Violation::PermitOutOfRange {
            mutex: "m".into(),
            token: 1,
            permit: 0,
        },
    );
}

#[test]
fn an_exclusive_hold_with_a_permit() {
    shows(
        vec![joined(0..1, "a", exclusive("m"), 1, 1)],
        Violation::PermitOutOfRange {
            mutex: "m".into(),
            token: 1,
            permit: 1,
        },
    );
}

#[test]
fn a_token_that_runs_backwards() {
    shows(
        vec![
            captured(0..1, "a", "m", 9),
            released(2..3, "a", "m", 9),
            captured(4..5, "b", "m", 8),
        ],
        Violation::TokenBackwards {
            mutex: "m".into(),
            earlier: 9,
            later: 8,
        },
    );
}

#[test]
fn tokens_of_readers_that_run_backwards() {
    shows(
        vec![
            joined(0..1, "a", shared("m"), 9, 1),
            joined(2..3, "b", shared("m"), 8, 2),
        ],
        Violation::TokenBackwards {
            mutex: "m".into(),
            earlier: 9,
            later: 8,
        },
    );
}

#[test]
fn a_token_given_to_two_owners() {
    shows(
        vec![
            captured(0..1, "a", "m", 7),
            released(2..3, "a", "m", 7),
            captured(4..5, "b", "m", 7),
        ],
        Violation::TokenReused {
            mutex: "m".into(),
            token: 7,
        },
    );
}

#[test]
fn a_token_given_twice_to_one_owner() {
    shows(
        vec![
            captured(0..1, "a", "m", 7),
            released(2..3, "a", "m", 7),
            captured(4..5, "a", "m", 7),
        ],
        Violation::TokenReused {
            mutex: "m".into(),
            token: 7,
        },
    );
}

#[test]
fn a_newcomer_passes_a_waiter() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            queued(2..3, "b", exclusive("m"), ("a", 1), 1),
            released(4..5, "a", "m", 1),
            captured(6..7, "c", "m", 2),
        ],
        passed_in_line("b", "c"),
    );
}

#[test]
fn a_waiter_passes_the_one_before_it() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            queued(2..3, "b", exclusive("m"), ("a", 1), 1),
            queued(4..5, "c", exclusive("m"), ("a", 1), 2),
            released(6..7, "a", "m", 1),
            captured(8..9, "c", "m", 2),
            released(10..11, "c", "m", 2),
            captured(12..13, "b", "m", 3),
        ],
        passed_in_line("b", "c"),
    );
}

#[test]
fn a_reader_passes_a_waiting_writer() {
    shows(
        vec![
            joined(0..1, "a", shared("m"), 1, 1),
            queued(2..3, "b", exclusive("m"), ("a", 1), 1),
            joined(4..5, "c", shared("m"), 2, 2),
        ],
        passed_in_line("b", "c"),
    );
}

#[test]
fn one_who_left_the_line_and_came_again_keeps_the_old_place() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            queued(2..3, "b", exclusive("m"), ("a", 1), 1),
            left(4..5, "b", "m"),
            queued(6..7, "c", exclusive("m"), ("a", 1), 2),
            queued(8..9, "b", exclusive("m"), ("a", 1), 3),
            released(10..11, "a", "m", 1),
            captured(12..13, "b", "m", 2),
        ],
        passed_in_line("c", "b"),
    );
}

#[test]
fn a_waiter_is_sent_to_the_end_of_the_line() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            queued(2..3, "b", exclusive("m"), ("a", 1), 1),
            queued(4..5, "b", exclusive("m"), ("a", 1), 2),
        ],
        Violation::PlaceLost {
            mutex: "m".into(),
            owner: "b".into(),
            tickets: [1, 2],
        },
    );
}

#[test]
fn a_waiter_for_two_is_passed_in_the_second_line() {
    let both = [exclusive("k"), exclusive("m")];
    let place = Verdict::Queued { ticket: 1 };
    shows(
        vec![
            captured(0..1, "a", "k", 1),
            asked(2..3, "b", &both, true, vec![row("k", place, "a", 1, 0)]),
            captured(4..5, "c", "m", 2),
        ],
        passed_in_line("b", "c"),
    );
}

#[test]
fn half_of_two_is_granted() {
    let both = [exclusive("k"), exclusive("m")];
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            asked(
                2..3,
                "b",
                &both,
                false,
                vec![
                    row("k", Verdict::Captured, "b", 2, 0),
                    row("m", Verdict::Busy, "a", 1, 0),
                ],
            ),
        ],
        half_taken("m", "b"),
    );
}

#[test]
fn half_of_two_stays_with_one_who_was_refused() {
    let both = [exclusive("k"), exclusive("m")];
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            asked(
                2..3,
                "b",
                &both,
                false,
                vec![row("m", Verdict::Busy, "a", 1, 0)],
            ),
            looked(4..5, &[("m", "a", 1), ("k", "b", 2)]),
        ],
        half_taken("k", "b"),
    );
}

#[test]
fn half_of_two_refuses_another() {
    let both = [exclusive("k"), exclusive("m")];
    let calls = vec![
        captured(0..1, "a", "m", 1),
        asked(
            2..3,
            "b",
            &both,
            false,
            vec![row("m", Verdict::Busy, "a", 1, 0)],
        ),
        refused(4..5, "c", exclusive("k"), "b", 2),
    ];
    assert!(violations(&History::of(calls)).contains(&half_taken("k", "b")));
}

#[test]
fn half_of_two_is_what_a_lost_call_took() {
    let both = [exclusive("k"), exclusive("m")];
    shows(
        vec![
            lost_capture(0, "a", &both, false),
            looked(2..3, &[("k", "a", 1)]),
        ],
        half_taken("m", "a"),
    );
}

#[test]
fn a_look_shows_two_holders() {
    shows(
        vec![
            lost_capture(0, "a", &[exclusive("m")], false),
            lost_capture(0, "b", &[exclusive("m")], false),
            looked(2..3, &[("m", "a", 1), ("m", "b", 2)]),
        ],
        overlap(2, 1),
    );
}

#[test]
fn a_hold_is_gone_when_its_owner_releases_it() {
    shows(
        vec![captured(0..1, "a", "m", 1), not_held(2..3, "a", "m", 1)],
        hold_lost("a", 1),
    );
}

#[test]
fn a_hold_is_gone_when_somebody_looks() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            looked(2..3, &[]),
            released(4..5, "a", "m", 1),
        ],
        hold_lost("a", 1),
    );
}

#[test]
fn a_hold_is_there_after_its_release() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            released(2..3, "a", "m", 1),
            looked(4..5, &[("m", "a", 1)]),
        ],
        hold_from_nowhere("a", 1),
    );
}

#[test]
fn a_first_capture_finds_a_hold_of_its_own() {
    shows(
        vec![refreshed(0..1, "a", "m", 1)],
        hold_from_nowhere("a", 1),
    );
}

#[test]
fn a_released_hold_is_refreshed() {
    shows(
        vec![
            captured(0..1, "a", "m", 1),
            released(2..3, "a", "m", 1),
            refreshed(4..5, "a", "m", 1),
        ],
        hold_from_nowhere("a", 1),
    );
}

#[test]
fn a_free_mutex_is_refused() {
    let calls = vec![
        captured(0..1, "a", "m", 1),
        released(2..3, "a", "m", 1),
        refused(4..5, "b", exclusive("m"), "a", 1),
    ];
    assert_eq!(
        violations(&History::of(calls)),
        [hold_from_nowhere("a", 1), refused_for_nothing("b")]
    );
}

#[test]
fn a_reader_is_refused_beside_readers() {
    shows(
        vec![
            joined(0..1, "a", shared_by(2, "m"), 1, 1),
            refused(2..3, "b", shared("m"), "a", 1),
        ],
        refused_for_nothing("b"),
    );
}

#[test]
fn a_line_is_said_to_be_where_nobody_waits() {
    let calls = vec![refused(0..1, "a", exclusive("m"), "b", 0)];
    assert_eq!(
        violations(&History::of(calls)),
        [hold_from_nowhere("b", 0), refused_for_nothing("a")]
    );
}
