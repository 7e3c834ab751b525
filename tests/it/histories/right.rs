//! Histories that a correct database can produce, however suspicious they look.

use super::{
    checker::violations,
    history::{Call, History, Verdict},
    stories::{
        asked, captured, ended, exclusive, joined, left, looked, lost_capture, lost_release,
        not_held, queued, refreshed, refused, released, row, shared, shared_by,
    },
};

#[track_caller]
fn is_right(calls: Vec<Call>) {
    assert_eq!(violations(&History::of(calls)), []);
}

#[test]
fn a_capture_that_begins_when_a_release_is_answered() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        released(2..3, "a", "m", 1),
        captured(3..4, "b", "m", 2),
    ]);
}

#[test]
fn a_capture_that_ends_when_a_release_begins() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        captured(1..2, "b", "m", 2),
        released(2..3, "a", "m", 1),
    ]);
}

#[test]
fn captures_at_the_same_time_in_either_order_of_tokens() {
    is_right(vec![
        joined(0..5, "a", shared("m"), 2, 2),
        joined(1..4, "b", shared("m"), 1, 1),
    ]);
}

#[test]
fn readers_up_to_the_limit_and_a_writer_after_them() {
    is_right(vec![
        joined(0..1, "a", shared_by(2, "m"), 1, 1),
        joined(2..3, "b", shared("m"), 2, 2),
        refused(4..5, "c", shared("m"), "a", 1),
        refused(6..7, "d", exclusive("m"), "a", 1),
        released(8..9, "a", "m", 1),
        joined(10..11, "c", shared("m"), 3, 1),
        released(12..13, "b", "m", 2),
        released(14..15, "c", "m", 3),
        captured(16..17, "d", "m", 4),
    ]);
}

#[test]
fn a_permit_larger_than_the_limit_of_one_who_came_later() {
    is_right(vec![
        joined(0..1, "a", shared("m"), 1, 1),
        joined(2..3, "b", shared("m"), 2, 2),
        joined(4..5, "c", shared("m"), 3, 3),
        released(6..7, "a", "m", 1),
        released(8..9, "b", "m", 2),
        joined(10..11, "d", shared_by(2, "m"), 4, 1),
    ]);
}

#[test]
fn waiters_served_in_their_order() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        queued(2..3, "b", exclusive("m"), ("a", 1), 1),
        queued(4..5, "c", exclusive("m"), ("a", 1), 2),
        released(6..7, "a", "m", 1),
        queued(8..9, "c", exclusive("m"), ("b", 0), 2),
        captured(10..11, "b", "m", 2),
        released(12..13, "b", "m", 2),
        captured(14..15, "c", "m", 3),
    ]);
}

#[test]
fn waiters_who_queued_at_the_same_time_in_either_order() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        queued(2..5, "b", exclusive("m"), ("a", 1), 2),
        queued(3..4, "c", exclusive("m"), ("a", 1), 1),
        released(6..7, "a", "m", 1),
        captured(8..9, "c", "m", 2),
    ]);
}

#[test]
fn a_newcomer_while_the_waiter_may_already_have_been_served() {
    is_right(vec![
        joined(0..1, "a", shared("m"), 1, 1),
        queued(2..3, "b", exclusive("m"), ("a", 1), 1),
        released(4..5, "a", "m", 1),
        captured(6..20, "b", "m", 2),
        released(21..30, "b", "m", 2),
        captured(7..22, "c", "m", 3),
    ]);
}

#[test]
fn a_newcomer_after_the_waiter_left() {
    is_right(vec![
        joined(0..1, "a", shared("m"), 1, 1),
        queued(2..3, "b", exclusive("m"), ("a", 1), 1),
        left(4..5, "b", "m"),
        joined(6..7, "c", shared("m"), 2, 2),
    ]);
}

#[test]
fn a_newcomer_after_the_waiters_session_ended() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        queued(2..3, "b", exclusive("m"), ("a", 1), 1),
        ended(4, "b"),
        released(5..6, "a", "m", 1),
        captured(7..8, "c", "m", 2),
    ]);
}

#[test]
fn a_newcomer_after_the_waiter_has_not_asked_for_long() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        queued(2..3, "b", exclusive("m"), ("a", 1), 1),
        released(16_000..16_001, "a", "m", 1),
        captured(16_002..16_003, "c", "m", 2),
        released(16_004..16_005, "c", "m", 2),
        captured(16_006..16_007, "b", "m", 3),
    ]);
}

#[test]
fn a_newcomer_while_a_lost_call_may_have_served_the_waiter() {
    is_right(vec![
        joined(0..1, "a", shared_by(1, "m"), 1, 1),
        queued(2..3, "b", shared("m"), ("a", 1), 1),
        released(4..5, "a", "m", 1),
        lost_capture(6, "b", &[shared("m")], true),
        joined(8..9, "c", shared("m"), 3, 2),
        queued(10..11, "d", exclusive("m"), ("b", 2), 2),
    ]);
}

#[test]
fn a_reader_refused_because_a_writer_waits() {
    is_right(vec![
        joined(0..1, "a", shared("m"), 1, 1),
        queued(2..3, "b", exclusive("m"), ("a", 1), 1),
        refused(4..5, "c", shared("m"), "a", 1),
    ]);
}

#[test]
fn a_capture_refused_by_a_hold_whose_capture_has_no_answer() {
    is_right(vec![
        lost_capture(0, "a", &[exclusive("m")], false),
        refused(2..3, "b", exclusive("m"), "a", 1),
    ]);
}

#[test]
fn a_lost_capture_that_never_took_effect() {
    is_right(vec![
        lost_capture(0, "a", &[exclusive("m")], false),
        captured(2..3, "b", "m", 1),
    ]);
}

#[test]
fn a_lost_capture_that_took_effect_late() {
    is_right(vec![
        lost_capture(0, "a", &[exclusive("m")], false),
        captured(2..3, "b", "m", 1),
        released(4..5, "b", "m", 1),
        refused(6..7, "c", exclusive("m"), "a", 2),
    ]);
}

#[test]
fn a_lost_capture_that_is_repeated() {
    is_right(vec![
        lost_capture(0, "a", &[exclusive("m")], false),
        refreshed(2..3, "a", "m", 1),
        released(4..5, "a", "m", 1),
    ]);
}

#[test]
fn a_token_that_a_lost_capture_drew_before_a_larger_one_was_given() {
    is_right(vec![
        lost_capture(0, "a", &[shared("m")], false),
        joined(2..3, "b", shared("m"), 2, 2),
        asked(
            4..5,
            "a",
            &[shared("m")],
            false,
            vec![row("m", Verdict::Refreshed, "a", 1, 1)],
        ),
    ]);
}

#[test]
fn a_lost_release_that_took_effect() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        lost_release(2, "a", "m", 1),
        captured(4..5, "b", "m", 2),
        not_held(6..7, "a", "m", 1),
    ]);
}

#[test]
fn a_lost_release_that_did_not_take_effect() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        lost_release(2, "a", "m", 1),
        refused(4..5, "b", exclusive("m"), "a", 1),
        released(6..7, "a", "m", 1),
    ]);
}

#[test]
fn a_hold_that_ended_with_its_session() {
    is_right(vec![
        captured(0..1, "a", "m", 1),
        refused(2..3, "b", exclusive("m"), "a", 1),
        ended(4, "a"),
        refused(5..6, "b", exclusive("m"), "a", 1),
        captured(7..8, "b", "m", 2),
    ]);
}

#[test]
fn all_of_two_after_some_of_them_were_in_the_way() {
    let both = [exclusive("k"), exclusive("m")];
    let place = Verdict::Queued { ticket: 1 };
    let in_the_way = vec![row("m", place, "a", 1, 0)];
    is_right(vec![
        captured(0..1, "a", "m", 1),
        asked(2..3, "b", &both, true, in_the_way),
        refused(4..5, "c", exclusive("k"), "b", 0),
        released(6..7, "a", "m", 1),
        asked(
            8..9,
            "b",
            &both,
            true,
            vec![
                row("k", Verdict::Captured, "b", 2, 0),
                row("m", Verdict::Captured, "b", 3, 0),
            ],
        ),
        looked(10..11, &[("k", "b", 2), ("m", "b", 3)]),
        released(12..13, "b", "k", 2),
        looked(14..15, &[("m", "b", 3)]),
    ]);
}

#[test]
fn half_of_what_a_lost_call_took_after_the_other_half_was_given_back() {
    let both = [exclusive("k"), exclusive("m")];
    is_right(vec![
        lost_capture(0, "a", &both, false),
        lost_release(1, "a", "m", 2),
        looked(2..3, &[("k", "a", 1)]),
    ]);
}
