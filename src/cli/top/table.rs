//! Holds and waiters as rows, with as many columns as there is room for.

use chrono::{DateTime, Utc};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    order::{Key, Order},
    picture::Picture,
    state::State,
};
use crate::{
    cli::{duration, mutex_name::written, output::shortened, printable::printable, spoken},
    domain::{AutoRelease, Mutex, Waiter},
};

/// One column: its heading, how wide it is, and on which side its texts stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) heading: String,
    pub(super) width: usize,
    pub(super) is_right: bool,
    /// Whether its texts are names of mutexes.
    pub(super) is_mutex: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
    /// Said below the rows.
    pub(super) note: Option<String>,
}

/// What a hold is told by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfHold {
    Mutex,
    Holder,
    Held,
    Left,
    Access,
    Token,
    Line,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OfWaiter {
    Place,
    Mutex,
    Who,
    Waiting,
    Behind,
    Access,
}

const MUTEX: &str = "MUTEX";

/// Heading and width; `None`: what is left.
type Shape = (&'static str, Option<usize>);

impl OfHold {
    fn shape(self) -> Shape {
        match self {
            Self::Mutex => (MUTEX, None),
            Self::Holder => ("HOLDER", None),
            Self::Held => ("HELD", Some(7)),
            Self::Left => ("LEFT", Some(7)),
            Self::Access => ("ACCESS", Some(9)),
            Self::Token => ("TOKEN", Some(14)),
            Self::Line => ("LINE", Some(5)),
        }
    }

    fn key(self) -> Option<Key> {
        match self {
            Self::Mutex => Some(Key::Mutex),
            Self::Holder => Some(Key::Holder),
            Self::Held => Some(Key::Held),
            Self::Left => Some(Key::Left),
            Self::Line => Some(Key::Line),
            Self::Access | Self::Token => None,
        }
    }

    fn in_width(width: usize) -> &'static [Self] {
        use OfHold::{Access, Held, Holder, Left, Line, Mutex, Token};

        match width {
            76.. => &[Mutex, Holder, Held, Left, Access, Token, Line],
            48.. => &[Mutex, Holder, Held, Left, Line],
            _ => &[Mutex, Holder, Left, Line],
        }
    }
}

impl OfWaiter {
    fn shape(self) -> Shape {
        match self {
            Self::Place => ("#", Some(3)),
            Self::Mutex => (MUTEX, None),
            Self::Who => ("WHO WAITS", None),
            Self::Waiting => ("WAITING", Some(7)),
            Self::Behind => ("BEHIND", None),
            Self::Access => ("ACCESS", Some(9)),
        }
    }

    fn in_width(width: usize) -> &'static [Self] {
        use OfWaiter::{Access, Behind, Mutex, Place, Waiting, Who};

        match width {
            76.. => &[Place, Mutex, Who, Waiting, Behind, Access],
            48.. => &[Place, Mutex, Who, Waiting, Behind],
            _ => &[Place, Mutex, Who, Waiting],
        }
    }
}

pub(super) fn holds(state: &State, picture: &Picture, width: usize) -> Table {
    let lines = picture.lines();
    let wanted = OfHold::in_width(width);
    let heading = |column: OfHold| match column.key() {
        Some(key) if key == state.order.key => marked(column.shape().0, state.order),
        _ => column.shape().0.to_owned(),
    };
    let is_right =
        |column: OfHold| !matches!(column, OfHold::Mutex | OfHold::Holder | OfHold::Access);
    let shapes: Vec<_> = wanted
        .iter()
        .map(|column| (heading(*column), column.shape().1, is_right(*column)))
        .collect();
    let shown = state.shown_holds.iter();
    let row = |hold: &Mutex| {
        let cell = |column: &OfHold| match column {
            OfHold::Mutex => written(&hold.id),
            OfHold::Holder => spoken::owner(&hold.owner),
            OfHold::Held => since(hold.held_since, picture.now),
            OfHold::Left => left(hold, picture.now),
            OfHold::Access => match (hold.permit, hold.permits) {
                (0, _) => "exclusive".to_owned(),
                (_, None) => "shared".to_owned(),
                (permit, Some(permits)) => format!("{permit} of {permits}"),
            },
            OfHold::Token => hold.fencing_token.to_string(),
            OfHold::Line => match lines.get(&hold.id) {
                Some(waiting) => waiting.to_string(),
                None => String::new(),
            },
        };
        wanted.iter().map(cell).collect()
    };
    Table {
        columns: columns(shapes, width),
        rows: shown.map(|number| row(&picture.holds[*number])).collect(),
        note: note(
            state.shown_holds.is_empty(),
            &state.filter,
            "nothing is held",
            picture.more_holds.then_some(picture.holds.len()),
        ),
    }
}

pub(super) fn waiters(state: &State, picture: &Picture, width: usize) -> Table {
    let wanted = OfWaiter::in_width(width);
    let is_right = |column: OfWaiter| matches!(column, OfWaiter::Place | OfWaiter::Waiting);
    let shapes = wanted.iter().map(|column| {
        let (heading, width) = column.shape();
        (heading.to_owned(), width, is_right(*column))
    });
    let shapes: Vec<_> = shapes.collect();
    let shown = state.shown_waiters.iter();
    let row = |waiter: &Waiter| {
        let cell = |column: &OfWaiter| match column {
            OfWaiter::Place => waiter.place.to_string(),
            OfWaiter::Mutex => written(&waiter.id),
            OfWaiter::Who => spoken::owner(&waiter.owner),
            OfWaiter::Waiting => since(waiter.queued_since, picture.now),
            OfWaiter::Behind => behind(waiter),
            OfWaiter::Access => access(waiter).to_owned(),
        };
        wanted.iter().map(cell).collect()
    };
    Table {
        columns: columns(shapes, width),
        rows: shown.map(|number| row(&picture.waiters[*number])).collect(),
        note: note(
            state.shown_waiters.is_empty(),
            &state.filter,
            "nobody waits",
            picture.more_waiters.then_some(picture.waiters.len()),
        ),
    }
}

pub(super) fn access(waiter: &Waiter) -> &'static str {
    match waiter.access.is_shared() {
        true => "shared",
        false => "exclusive",
    }
}

/// Who is directly before one who waits.
pub(super) fn behind(waiter: &Waiter) -> String {
    let named = waiter.behind_name.as_ref().filter(|name| !name.is_empty());
    let named = named.or(waiter.behind_session.as_ref());
    printable(named.map_or("", String::as_str))
}

/// Never less than nothing: what began while it was being read is new.
pub(super) fn since(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    duration::spoken((now - time).max(chrono::TimeDelta::zero()))
}

fn left(hold: &Mutex, now: DateTime<Utc>) -> String {
    match (hold.expires_at, &hold.auto_release) {
        (Some(end), _) if end >= DateTime::<Utc>::MAX_UTC => "never".to_owned(),
        (Some(end), _) if end < now => "over".to_owned(),
        (Some(end), _) => duration::spoken(end - now),
        (None, AutoRelease::Never) => "never".to_owned(),
        // It is over with something else than time: the details say with what.
        (None, _) => "-".to_owned(),
    }
}

fn marked(heading: &str, order: Order) -> String {
    match order.is_reversed {
        true => format!("{heading}▴"),
        false => format!("{heading}▾"),
    }
}

fn note(is_empty: bool, filter: &str, nothing: &str, read: Option<usize>) -> Option<String> {
    match (is_empty, read) {
        (_, Some(read)) => Some(format!(
            "there are more than these {read}: see --limit, --group"
        )),
        (true, None) if filter.is_empty() => Some(nothing.to_owned()),
        (true, None) => Some("nothing fits the filter".to_owned()),
        (false, None) => None,
    }
}

/// A name of at most so many columns: its beginning and, since names of one kind differ there, more of
/// its end.
pub(super) fn abridged(name: &str, width: usize) -> String {
    if name.width() <= width {
        return name.to_owned();
    }
    let end = width * 2 / 3;
    let mut used = 0;
    let tail = name.char_indices().rev().take_while(|(_, c)| {
        used += c.width().unwrap_or(0);
        used <= end
    });
    let from = tail.last().map_or(name.len(), |(from, _)| from);
    let tail = &name[from..];
    // It ends with an ellipsis, as what is left of it does not fit.
    let head = shortened(name, width.saturating_sub(tail.width()));
    format!("{head}{tail}")
}

/// Between two columns.
pub(super) const GAP: usize = 1;

/// Those without a width share what the others leave.
fn columns(shapes: Vec<(String, Option<usize>, bool)>, width: usize) -> Vec<Column> {
    let fixed: usize = shapes.iter().filter_map(|(_, width, _)| *width).sum();
    let gaps = GAP * shapes.len().saturating_sub(1);
    let rest = width.saturating_sub(fixed + gaps);
    let sharing = shapes
        .iter()
        .filter(|(_, width, _)| width.is_none())
        .count();
    let mut more = rest.checked_rem(sharing).unwrap_or(0);
    let column = |(heading, width, is_right): (String, Option<usize>, bool)| {
        let width = width.unwrap_or_else(|| {
            // What cannot be divided goes to the first ones.
            let one = usize::from(more > 0);
            more -= one;
            rest.checked_div(sharing).unwrap_or(0) + one
        });
        let is_mutex = heading.starts_with(MUTEX);
        Column {
            heading,
            width,
            is_right,
            is_mutex,
        }
    };
    shapes.into_iter().map(column).collect()
}
