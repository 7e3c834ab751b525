//! Waiting for paths: who is before whom, and who is told.

use super::{ALL, WAIT, about, capture, capture_all, nothing_is_left, reach};
use crate::support::{Database, Listener, Session};

const FLAGS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

/// In line, and told by this listener.
fn wait_told(listener: &Listener, more: &str) -> String {
    format!("{WAIT}, listener => {}{more}", listener.number())
}

async fn ticket_of(s: &Session, owner: &str) -> String {
    let ticket =
        format!("select ticket::text from pgmutex.waiting where owner_session = '{owner}'");
    s.ask(&ticket).await
}

#[tokio::test]
async fn a_newcomer_is_behind_those_whom_it_would_be_in_the_way_of_or_they_in_its() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for (waited_for, wanted) in [
        ("/a/", "/a/b/"),
        ("/a/b/", "/a/"),
        ("/", "/a/b/"),
        ("/a/b/", "/"),
    ] {
        for waiter in FLAGS {
            for newcomer in FLAGS {
                let case = format!("{waited_for} {waiter:?} {wanted} {newcomer:?}");
                // The holder is in nobody's way but the waiter's.
                s.ask(&capture(waited_for, "h", "")).await;
                let wait = format!("{}{WAIT}", reach(waiter.0, waiter.1));
                let answer = s.ask(&capture(waited_for, "w", &wait)).await;
                assert_eq!(answer, format!("queued {waited_for} h"), "{case}");
                let is_above = wanted.starts_with(waited_for);
                let must_wait = match is_above {
                    true => waiter.1 || newcomer.0,
                    false => waiter.0 || newcomer.1,
                };
                let flags = reach(newcomer.0, newcomer.1);
                let look = format!(
                    "{}, lock_parents => {}, lock_children => {})",
                    about("holder_in_the_way", wanted, "n").trim_end_matches(')'),
                    newcomer.0,
                    newcomer.1
                );
                let answer = s.ask(&capture(wanted, "n", &flags)).await;
                let expected = match must_wait {
                    true => format!("busy {waited_for} w"),
                    false => format!("captured {wanted} n"),
                };
                assert_eq!(answer, expected, "{case}");
                if must_wait {
                    assert_eq!(s.outcome(&look).await, "busy", "{case}");
                    // The waiter itself is not behind itself.
                    let own = s.ask(&capture(wanted, "w", &flags)).await;
                    assert_eq!(own, format!("captured {wanted} w"), "{case}");
                }
                nothing_is_left(&s).await;
            }
        }
    }
}

#[tokio::test]
async fn those_who_share_do_not_wait_for_each_other_above_and_below() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let shared = format!("{ALL}, access => 'shared'");
    for (waited_for, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        s.ask(&capture(waited_for, "h", "")).await;
        let queued = s
            .ask(&capture(waited_for, "w", &format!("{shared}{WAIT}")))
            .await;
        assert_eq!(queued, format!("queued {waited_for} h"));
        let alone = s.ask(&capture(wanted, "alone", ALL)).await;
        assert_eq!(alone, format!("busy {waited_for} w"));
        let sharing = s.ask(&capture(wanted, "n", &shared)).await;
        assert_eq!(sharing, format!("captured {wanted} n"));
        nothing_is_left(&s).await;
    }
}

#[tokio::test]
async fn a_newcomer_at_a_sibling_is_not_held_up() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    s.ask(&capture("/a/b/", "h", ALL)).await;
    assert_eq!(
        s.ask(&capture("/a/b/", "w", &format!("{ALL}{WAIT}"))).await,
        "queued /a/b/ h"
    );
    for sibling in ["/a/c/", "/a/b0/", "/a/b./", "/z/"] {
        let answer = s.ask(&capture(sibling, "n", ALL)).await;
        assert_eq!(answer, format!("captured {sibling} n"));
    }
}

#[tokio::test]
async fn those_above_and_below_are_told_when_something_makes_room() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut listener = database.listener().await;
    for (held, wanted) in [
        ("/a/", "/a/b/"),
        ("/a/b/", "/a/"),
        ("/a/b/", "/"),
        ("/", "/a/b/"),
    ] {
        for change in [
            about("release", held, "h"),
            about("force_release", held, "reason"),
            format!(
                "release_each('[{{\"mutex_group\": \"lab\", \"mutex_mode\": \"tree\", \"mutex_id\": \"{held}\", \"owner_session\": \"h\"}}]')"
            ),
            "release_owner('h')".to_owned(),
        ] {
            s.ask(&capture(held, "h", ALL)).await;
            let wait = wait_told(&listener, ALL);
            assert_eq!(
                s.ask(&capture(wanted, "w", &wait)).await,
                format!("queued {held} h")
            );
            assert_eq!(listener.told().await, [""; 0]);
            assert_eq!(s.outcome(&change).await, "released");
            assert_eq!(
                listener.told().await,
                [ticket_of(&s, "w").await],
                "{change}"
            );
            assert_eq!(
                s.ask(&capture(wanted, "w", &wait)).await,
                format!("captured {wanted} w")
            );
            nothing_is_left(&s).await;
        }
    }
}

#[tokio::test]
async fn those_above_and_below_are_told_when_somebody_leaves_the_line() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut listener = database.listener().await;
    for (left, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        s.ask(&capture(left, "h", "")).await;
        s.ask(&capture(left, "first", &format!("{ALL}{WAIT}")))
            .await;
        let wait = wait_told(&listener, ALL);
        assert_eq!(
            s.ask(&capture(wanted, "w", &wait)).await,
            format!("queued {left} first")
        );
        let leave = format!(
            "select pgmutex.{}::text",
            about("leave_line", left, "first")
        );
        assert_eq!(s.ask(&leave).await, "true");
        assert_eq!(listener.told().await, [ticket_of(&s, "w").await], "{left}");
        nothing_is_left(&s).await;
    }
}

#[tokio::test]
async fn those_who_may_come_in_beside_the_one_who_was_served_are_told() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut listener = database.listener().await;
    s.ask(&capture("/a/", "h", "")).await;
    // It locks nothing but the path itself, but the next one would lock it out.
    s.ask(&capture("/a/", "first", WAIT)).await;
    let wait = wait_told(&listener, ALL);
    assert_eq!(
        s.ask(&capture("/a/b/", "w", &wait)).await,
        "queued /a/ first"
    );
    s.outcome(&about("release", "/a/", "h")).await;
    assert_eq!(listener.told().await, [""; 0]);
    assert_eq!(
        s.ask(&capture("/a/", "first", WAIT)).await,
        "captured /a/ first"
    );
    assert_eq!(listener.told().await, [ticket_of(&s, "w").await]);
}

#[tokio::test]
async fn those_whom_an_eviction_lets_in_are_told() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut listener = database.listener().await;
    // What was over was also in the way of somebody elsewhere: below the path above, beside the one captured.
    for (over, captured, wanted) in [
        ("/a/", "/a/c/", "/a/b/"),
        ("/a/b/", "/a/b/", "/a/b/c/"),
        ("/a/b/c/", "/a/b/", "/a/b/c/d/"),
    ] {
        s.ask(&capture(over, "old", ALL)).await;
        let wait = wait_told(&listener, ", lock_children => true");
        let queued = s.ask(&capture(wanted, "w", &wait)).await;
        assert_eq!(queued, format!("queued {over} old"));
        s.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
            .await;
        let answer = s.ask(&capture(captured, "n", "")).await;
        assert_eq!(answer, format!("evicted {captured} n"));
        assert_eq!(listener.told().await, [ticket_of(&s, "w").await], "{over}");
        nothing_is_left(&s).await;
    }
}

#[tokio::test]
async fn those_above_and_below_are_told_when_a_sweep_or_a_request_removes_something() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let mut listener = database.listener().await;
    for (over, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        for change in [
            "sweep()::text".to_owned(),
            format!("{}::text", about("request", over, "n")),
        ] {
            s.ask(&capture(over, "old", ALL)).await;
            s.ask(&capture(wanted, "w", &wait_told(&listener, ALL)))
                .await;
            s.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
                .await;
            s.ask(&format!("select pgmutex.{change}")).await;
            assert_eq!(
                listener.told().await,
                [ticket_of(&s, "w").await],
                "{change}"
            );
            nothing_is_left(&s).await;
        }
    }
}

#[tokio::test]
async fn a_look_says_whose_turn_it_is_and_when_to_look_again() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    let listener = database.listener().await;
    for (held, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        let never = format!("{ALL}, auto_release_rule => 'never'");
        s.ask(&capture(held, "h", &never)).await;
        s.ask(&capture(wanted, "w", &wait_told(&listener, ALL)))
            .await;
        let ticket = ticket_of(&s, "w").await;
        assert_eq!(listener.look().await, format!("{ticket} f"));
        s.run("update pgmutex.mutex_model set auto_release_rule = 'timeout', auto_release_config = '300'")
            .await;
        let look = listener.look().await;
        assert!(look.starts_with(&format!("{ticket} f 00:0")), "{look}");
        s.run("update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'")
            .await;
        assert_eq!(listener.look().await, format!("{ticket} t"));
        s.run("delete from pgmutex.mutex_model").await;
        assert_eq!(listener.look().await, format!("{ticket} t"));
        nothing_is_left(&s).await;
    }
    // Behind one who waits.
    s.ask(&capture("/a/", "h", "")).await;
    s.ask(&capture("/a/", "first", &format!("{ALL}{WAIT}")))
        .await;
    s.ask(&capture("/a/b/", "w", &wait_told(&listener, ALL)))
        .await;
    let ticket = ticket_of(&s, "w").await;
    assert_eq!(listener.look().await, format!("{ticket} f"));
}

#[tokio::test]
async fn those_who_died_waiting_above_and_below_are_passed_over() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    for (waited_for, wanted) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        let listener = database.listener().await;
        s.ask(&capture(waited_for, "h", "")).await;
        s.ask(&capture(waited_for, "w", &wait_told(&listener, ALL)))
            .await;
        assert_eq!(
            s.ask(&capture(wanted, "n", ALL)).await,
            format!("busy {waited_for} w")
        );
        listener.ends(&s).await;
        assert_eq!(
            s.ask(&capture(wanted, "n", ALL)).await,
            format!("captured {wanted} n")
        );
        nothing_is_left(&s).await;
    }
}

#[tokio::test]
async fn nobody_waits_for_one_who_removes_the_dead_from_a_line_above() {
    let database = Database::fresh().await;
    let (a, b) = (database.session().await, database.session().await);
    a.ask(&capture("/a/", "h", "")).await;
    a.ask(&capture("/a/", "dead", WAIT)).await;
    a.run("update pgmutex.mutex_waiter set seen_at = seen_at - interval '1 hour'")
        .await;
    for (path, owner) in [("/a/b/", "b"), ("/a/c/", "c")] {
        a.ask(&capture(path, owner, "")).await;
    }
    a.run("begin").await;
    assert_eq!(a.outcome(&about("release", "/a/b/", "b")).await, "released");
    assert_eq!(b.outcome(&about("release", "/a/c/", "c")).await, "released");
    a.run("commit").await;
    assert_eq!(
        a.ask("select count(*)::text from pgmutex.mutex_waiter")
            .await,
        "0"
    );
}

#[tokio::test]
async fn who_waits_for_several_paths_has_a_place_at_each() {
    let database = Database::with_patient_lines().await;
    let s = database.session().await;
    s.ask(&capture("/a/b/", "h", ALL)).await;
    let several = capture_all(&["/a/", "/z/"], "w", WAIT);
    assert_eq!(s.ask(&several).await, "queued /a/b/ h");
    // Neither passes it.
    assert_eq!(s.ask(&capture("/z/y/", "n", ALL)).await, "busy /z/ w");
    assert_eq!(s.ask(&capture("/a/c/", "n", ALL)).await, "busy /a/ w");
    s.outcome(&about("release", "/a/b/", "h")).await;
    assert_eq!(s.ask(&capture("/z/y/", "n", ALL)).await, "busy /z/ w");
    assert_eq!(s.ask(&several).await, "captured /a/ w, captured /z/ w");
}
