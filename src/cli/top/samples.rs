//! A fixed state for the tests of what is shown and of what keys do.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::{keys::Wish, picture::Picture, state::State};
use crate::domain::{Access, AutoRelease, FencingToken, Mutex, MutexId, MutexOwner, Reach, Waiter};

pub(super) fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(super) fn hold(id: &str, name: &str, held: i64, left: Option<u64>, token: i64) -> Mutex {
    let since = noon() - TimeDelta::seconds(held);
    let owner = MutexOwner::new(format!("{name}-session")).unwrap();
    let owner = owner.with_name(name).unwrap().with_host("db-3").unwrap();
    let rule = match left {
        Some(left) => AutoRelease::Timeout(Duration::from_secs(left + held.unsigned_abs())),
        None => AutoRelease::Never,
    };
    let id = MutexId::new("deploy", "prod", id).unwrap();
    Mutex::new(id, owner, rule, FencingToken::new(token), since)
}

pub(super) fn waiter(id: &str, name: &str, place: u64, waiting: i64) -> Waiter {
    let owner = MutexOwner::new(format!("{name}-session")).unwrap();
    Waiter {
        id: MutexId::new("deploy", "prod", id).unwrap(),
        place,
        ticket: i64::try_from(place).unwrap(),
        access: Access::Exclusive,
        reach: Reach::none(),
        owner: owner.with_name(name).unwrap(),
        behind_session: Some("Ada-session".to_owned()),
        behind_name: Some("Ada".to_owned()),
        queued_since: noon() - TimeDelta::seconds(waiting),
    }
}

pub(super) fn picture() -> Picture {
    Picture {
        now: noon(),
        holds: vec![
            hold("api", "Ada", 750, Some(252), 1_099_511_627_777),
            hold("db\u{1b}[2J", "Grace\n", 90_000, None, 1_099_511_627_778),
            hold("web", "Linus", 5, Some(12), 1_099_511_627_779),
        ],
        waiters: vec![
            waiter("api", "Barbara", 1, 61),
            waiter("api", "Edsger", 2, 7),
        ],
        ..Picture::default()
    }
}

pub(super) fn state() -> State {
    let place = "db.example:5432/app, schema pgmutex".to_owned();
    let mut state = State::new(place, Duration::from_secs(2), true);
    state.looked(Ok(picture()));
    state
}

/// Presses keys, of which the last may be a wish.
pub(super) fn press(state: &mut State, keys: impl IntoIterator<Item = KeyCode>) -> Option<Wish> {
    let mut wish = None;
    for key in keys {
        assert_eq!(wish, None, "the keys go on behind a wish");
        wish = state.event(&Event::Key(KeyEvent::new(key, KeyModifiers::NONE)));
    }
    wish
}

pub(super) fn letters(text: &str) -> impl Iterator<Item = KeyCode> {
    text.chars().map(KeyCode::Char)
}
