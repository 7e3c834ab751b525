//! In which order holds are shown.

use std::cmp::{Ordering, Reverse};

use chrono::{DateTime, Utc};

use super::picture::Picture;
use crate::domain::Mutex;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Key {
    /// As the database lists them.
    #[default]
    Mutex,
    Holder,
    /// The oldest first.
    Held,
    /// Those that end soonest first.
    Left,
    /// The longest line first.
    Line,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) key: Key,
    pub(super) is_reversed: bool,
}

impl Key {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Mutex => Self::Holder,
            Self::Holder => Self::Held,
            Self::Held => Self::Left,
            Self::Left => Self::Line,
            Self::Line => Self::Mutex,
        }
    }
}

impl Order {
    /// Puts holds of a picture, given by their numbers, in order. Those that are alike stay in the order of
    /// their mutexes.
    pub(super) fn sort(self, picture: &Picture, shown: &mut [usize]) {
        let lines = picture.lines();
        let hold = |number: &usize| &picture.holds[*number];
        let waiting = |hold: &Mutex| lines.get(&hold.id).copied().unwrap_or_default();
        let end = |hold: &Mutex| hold.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
        let compare = |a: &usize, b: &usize| -> Ordering {
            let (a, b) = (hold(a), hold(b));
            match self.key {
                Key::Mutex => (&a.id, a.permit).cmp(&(&b.id, b.permit)),
                Key::Holder => name(a).cmp(name(b)),
                Key::Held => a.held_since.cmp(&b.held_since),
                Key::Left => end(a).cmp(&end(b)),
                Key::Line => Reverse(waiting(a)).cmp(&Reverse(waiting(b))),
            }
        };
        shown.sort_by(|a, b| match self.is_reversed {
            true => compare(b, a),
            false => compare(a, b),
        });
    }
}

fn name(hold: &Mutex) -> &str {
    match hold.owner.name() {
        "" => hold.owner.session_id(),
        name => name,
    }
}
