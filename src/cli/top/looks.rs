//! What terminals of several sizes show of fixed states.

use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

use super::{
    drawing::{Views, draw},
    samples::{hold, letters, picture, press, state},
    state::State,
};
use crate::domain::Error;

/// All lines of a terminal, behind an empty one, without the blanks at their ends.
fn drawn(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut views = Views::default();
    terminal
        .draw(|frame| draw(frame, state, &mut views))
        .unwrap();
    let content = terminal.backend().buffer().content();
    if width == 0 {
        return String::new();
    }
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    let lines = content.chunks(usize::from(width)).map(line);
    std::iter::once("\n".to_owned()).chain(lines).collect()
}

const WIDE: &str = r"
pgmutex db.example:5432/app, schema pgmutex              2026-11-21 12:00:00 UTC
3 held  2 waiting  every 2s
 MUTEX▾           HOLDER             HELD    LEFT ACCESS             TOKEN  LINE
>deploy/prod/api  Ada on db-3      12m30s   4m12s exclusive  1099511627777     2
 deplo…d/db%1B[2J Grace\n on db-3   1d01h   never exclusive  1099511627778
 deploy/prod/web  Linus on db-3        5s     12s exclusive  1099511627779














   # MUTEX               WHO WAITS          WAITING BEHIND             ACCESS
   1 deploy/prod/api     Barbara              1m01s Ada                exclusive
   2 deploy/prod/api     Edsger                  7s Ada                exclusive
q end  k release  / filter  Enter all of it  Tab other list  s sort  r reverse
";

const NARROW: &str = r"
pgmutex db.example:5432/app, s… 12:00:00
3 held  2 waiting  every 2s
 MUTEX▾       HOLDER          LEFT  LINE
>dep…prod/api Ada on db-3    4m12s     2
 dep…db%1B[2J Grace\n on …   never
 dep…prod/web Linus on db…     12s



q end  k release  / filter
";

const NARROW_WAITERS: &str = r"
pgmutex db.example:5432/app, s… 12:00:00
3 held  2 waiting  every 2s
   # MUTEX         WHO WAITS     WAITING
>  1 depl…prod/api Barbara         1m01s
   2 depl…prod/api Edsger             7s




q end  k release  / filter
";

const WIDE_DETAILS: &str = r"
pgmutex db.example:5432/app, schema pgmutex              2026-11-21 12:00:00 UTC
3 held  2 waiting  every 2s
mutex    deploy/prod/api
holder   Ada on db-3
session  Ada-session
access   exclusive
token    1099511627777
since    2026-11-21 11:47:30 UTC (12m30s ago)
rule     timeout 1002s
until    2026-11-21 12:04:12 UTC (4m12s left)
line     1. Barbara, exclusive, for 1m01s
line     2. Edsger, exclusive, for 7s











Esc back  k release  q end
";

const NARROW_DETAILS: &str = r"
pgmutex db.example:5432/app, s… 12:00:00
3 held  2 waiting  every 2s
mutex    deploy/prod/api
holder   Ada on db-3
session  Ada-session
access   exclusive
token    1099511627777
since    2026-11-21 11:47:30 UTC (12m30s
 ago)
Esc back  k release  q end
";

const LOST: &str = r"
pgmutex db.example:5432/app, schema pgmutex              2026-11-21 12:00:00 UTC
3 held  2 waiting  every 2s
not as of now, trying again: the database is unavailable: connection refused
 MUTEX▾           HOLDER             HELD    LEFT ACCESS             TOKEN  LINE
>deploy/prod/api  Ada on db-3      12m30s   4m12s exclusive  1099511627777     2
 deplo…d/db%1B[2J Grace\n on db-3   1d01h   never exclusive  1099511627778
 deploy/prod/web  Linus on db-3        5s     12s exclusive  1099511627779


q end  k release  / filter  Enter all of it  Tab other list  s sort  r reverse
";

const MORE: &str = r"
pgmutex db.example:5432/app, schema… 2026-11-21 12:00:00 UTC
23+ held  2 waiting  every 2s
 MUTEX▾             HOLDER                HELD    LEFT  LINE
 deploy/prod/x3     Ken on db-3             3s   1m00s
 deploy/prod/x4     Ken on db-3             4s   1m00s
 deploy/prod/x5     Ken on db-3             5s   1m00s
 deploy/prod/x6     Ken on db-3             6s   1m00s
 deploy/prod/x7     Ken on db-3             7s   1m00s
 deploy/prod/x8     Ken on db-3             8s   1m00s
>deploy/prod/x9     Ken on db-3             9s   1m00s
   # MUTEX           WHO WAITS       WAITING BEHIND
   1 deploy/prod/api Barbara           1m01s Ada
   2 deploy/prod/api Edsger               7s Ada
q end  k release  / filter  Enter all of it  Tab other list
";

const CONFIRMING: &str = r"
pgmutex db.example:5432/app, s… 12:00:00
3 held  2 waiting  every 2s
 MUTEX▾       HOLDER          LEFT  LINE
 dep…prod/api Ada on db-3    4m12s     2
>dep…db%1B[2J Grace\n on …   never
 dep…prod/web Linus on db…     12s

take deploy/prod/db%1B[2J (token 1099511
627778) from Grace\n on db-3, reason: st
uck since Monday; y/n?
";

#[test]
fn holds_and_waiters_on_80_columns() {
    assert_eq!(drawn(&state(), 80, 24), WIDE);
}

#[test]
fn one_list_at_a_time_on_40_columns_and_10_lines() {
    let mut state = state();
    assert_eq!(drawn(&state, 40, 10), NARROW);
    assert_eq!(press(&mut state, [KeyCode::Tab]), None);
    assert_eq!(drawn(&state, 40, 10), NARROW_WAITERS);
}

#[test]
fn all_of_the_selected_hold_with_its_line() {
    let mut state = state();
    assert_eq!(press(&mut state, [KeyCode::Enter]), None);
    assert_eq!(drawn(&state, 80, 24), WIDE_DETAILS);
    assert_eq!(drawn(&state, 40, 10), NARROW_DETAILS);
    // The rest can be reached.
    assert_eq!(press(&mut state, [KeyCode::Down; 40]), None);
    assert!(drawn(&state, 40, 10).contains("2. Edsger"));
}

#[test]
fn a_lost_connection_is_said_above_what_was_seen() {
    let mut state = state();
    state.looked(Err(Error::Unavailable {
        source: "connection refused".into(),
    }));
    assert_eq!(drawn(&state, 80, 10), LOST);
}

#[test]
fn that_there_is_more_than_was_read_is_said() {
    let mut picture = picture();
    picture.more_holds = true;
    for n in 0..20 {
        let id = format!("x{n}");
        picture.holds.push(hold(&id, "Ken", n, Some(60), 9));
    }
    let mut state = state();
    state.looked(Ok(picture));
    assert_eq!(press(&mut state, [KeyCode::End]), None);
    assert_eq!(drawn(&state, 60, 14), MORE);
    assert!(drawn(&state, 60, 60).contains("there are more than these 23"));
}

#[test]
fn what_is_about_to_be_taken_from_whom_and_why_is_shown() {
    let mut state = state();
    assert_eq!(press(&mut state, [KeyCode::Down]), None);
    assert_eq!(press(&mut state, letters("kstuck since Monday")), None);
    assert!(drawn(&state, 40, 10).contains("y_\n"));
    assert_eq!(press(&mut state, [KeyCode::Enter]), None);
    assert_eq!(drawn(&state, 40, 10), CONFIRMING);
}

#[test]
fn names_that_are_too_long_leave_room_for_the_question() {
    let mut picture = picture();
    let long = "x".repeat(1000);
    picture.holds[0] = hold(&long, &long[..390], 1, Some(60), 7);
    let mut state = state();
    state.looked(Ok(picture));
    assert_eq!(press(&mut state, [KeyCode::End]), None);
    assert_eq!(press(&mut state, letters("kwhy")), None);
    assert_eq!(press(&mut state, [KeyCode::Enter]), None);
    let shown = drawn(&state, 40, 10).replace('\n', "");
    for part in [
        "take deploy/prod/x…",
        "(token 7)",
        "from x",
        "reason: why",
        "y/n?",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn no_size_is_too_small_or_too_large() {
    for width in [0, 1, 2, 5, 20, 300] {
        for height in [0, 1, 2, 3, 7, 90] {
            for keys in ["", "/x", "k", "kx"] {
                let mut state = state();
                assert_eq!(press(&mut state, letters(keys)), None);
                drawn(&state, width, height);
            }
        }
    }
}
