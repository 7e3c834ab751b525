//! What is shown and selected, and what the user is about to do.

use std::time::Duration;

use super::{
    order::Order,
    picture::{Picture, Rates},
};
use crate::{
    cli::{Failure, mutex_name::written, printable::printable, spoken},
    domain::{Error, FencingToken, ForceReleased, Mutex, MutexId, Waiter},
};

#[derive(Debug)]
pub(super) struct State {
    /// Which database, for people.
    pub(super) place: String,
    pub(super) interval: Duration,
    pub(super) has_colours: bool,
    pub(super) is_paused: bool,
    /// `None` until the first look.
    pub(super) picture: Option<Picture>,
    pub(super) rates: Option<Rates>,
    /// Why the last look failed; the picture is from before.
    pub(super) lost: Option<String>,
    /// What became of the last thing that the user did.
    pub(super) message: Option<Message>,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) focus: Pane,
    pub(super) doing: Doing,
    /// The holds and the waiters that are shown, in order, by their numbers in the picture.
    pub(super) shown_holds: Vec<usize>,
    pub(super) shown_waiters: Vec<usize>,
    /// Which of those that are shown is selected.
    pub(super) selected_hold: usize,
    pub(super) selected_waiter: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Holds,
    Waiters,
}

/// What the user is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Looking,
    /// All of what is selected is shown, from this line on.
    Details(u16),
    /// What is typed goes to the filter.
    Filtering,
    /// The reason for a forced release is typed.
    Reason {
        target: Target,
        reason: String,
    },
    /// It has been typed, and is to be confirmed.
    Confirming {
        target: Target,
        reason: String,
    },
}

/// Exactly one hold, however it is called by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) id: MutexId,
    pub(super) token: FencingToken,
    /// Whose it is, for people.
    pub(super) holder: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) is_bad: bool,
}

impl State {
    pub(super) fn new(place: String, interval: Duration, has_colours: bool) -> Self {
        Self {
            place,
            interval,
            has_colours,
            is_paused: false,
            picture: None,
            rates: None,
            lost: None,
            message: None,
            order: Order::default(),
            filter: String::new(),
            focus: Pane::Holds,
            doing: Doing::Looking,
            shown_holds: Vec::new(),
            shown_waiters: Vec::new(),
            selected_hold: 0,
            selected_waiter: 0,
        }
    }

    /// The database was looked at, or could not be: then what was seen before stays.
    pub(super) fn looked(&mut self, looked: Result<Picture, Error>) {
        match looked {
            Ok(picture) => {
                self.lost = None;
                self.rates = self
                    .picture
                    .as_ref()
                    .and_then(|before| picture.rates_since(before));
                let (hold, waiter) = (self.hold().map(hold_key), self.waiter().map(waiter_key));
                self.picture = Some(picture);
                self.arrange(hold, waiter);
            }
            Err(error) => self.lost = Some(printable(&Failure::from(error).to_string())),
        }
    }

    /// A forced release had this outcome.
    pub(super) fn forced(&mut self, target: &Target, outcome: Result<ForceReleased, Error>) {
        let mutex = written(&target.id);
        let (text, is_bad) = match outcome {
            Ok(ForceReleased::Released(_)) => (
                format!("released {mutex}, held by {}", target.holder),
                false,
            ),
            Ok(ForceReleased::NotHeld) => (
                format!("that hold of {mutex} was gone already: nothing was changed"),
                false,
            ),
            Err(error) => {
                let why = Failure::from(error);
                (printable(&format!("{mutex} is not released: {why}")), true)
            }
        };
        self.message = Some(Message { text, is_bad });
    }

    pub(super) fn hold(&self) -> Option<&Mutex> {
        let number = self.shown_holds.get(self.selected_hold)?;
        self.picture.as_ref()?.holds.get(*number)
    }

    pub(super) fn waiter(&self) -> Option<&Waiter> {
        let number = self.shown_waiters.get(self.selected_waiter)?;
        self.picture.as_ref()?.waiters.get(*number)
    }

    /// Details are not scrolled past their end, which is known once they are drawn.
    pub(super) fn bound_details(&mut self, last: u16) {
        if let Doing::Details(from) = &mut self.doing {
            *from = (*from).min(last);
        }
    }

    /// Works out anew what is shown, and keeps selected what is.
    pub(super) fn rearrange(&mut self) {
        let (hold, waiter) = (self.hold().map(hold_key), self.waiter().map(waiter_key));
        self.arrange(hold, waiter);
    }

    /// What was selected stays so, wherever it is now; if it is gone, what is in its place is.
    fn arrange(&mut self, hold: Option<(MutexId, u32)>, waiter: Option<(MutexId, i64)>) {
        let Some(picture) = &self.picture else { return };
        let wanted = self.filter.to_lowercase();
        let fits = |texts: &[String]| {
            wanted.is_empty()
                || texts
                    .iter()
                    .any(|text| text.to_lowercase().contains(&wanted))
        };
        let holds = picture.holds.iter().enumerate();
        self.shown_holds = holds
            .filter(|(_, hold)| fits(&texts(&hold.id, &hold.owner)))
            .map(|(number, _)| number)
            .collect();
        self.order.sort(picture, &mut self.shown_holds);
        let waiters = picture.waiters.iter().enumerate();
        self.shown_waiters = waiters
            .filter(|(_, waiter)| fits(&texts(&waiter.id, &waiter.owner)))
            .map(|(number, _)| number)
            .collect();
        let found = hold.and_then(|key| {
            let is_it = |number: &usize| hold_key(&picture.holds[*number]) == key;
            self.shown_holds.iter().position(is_it)
        });
        let last = self.shown_holds.len().saturating_sub(1);
        self.selected_hold = found.unwrap_or(self.selected_hold).min(last);
        let found = waiter.and_then(|key| {
            let is_it = |number: &usize| waiter_key(&picture.waiters[*number]) == key;
            self.shown_waiters.iter().position(is_it)
        });
        let last = self.shown_waiters.len().saturating_sub(1);
        self.selected_waiter = found.unwrap_or(self.selected_waiter).min(last);
    }
}

fn hold_key(hold: &Mutex) -> (MutexId, u32) {
    (hold.id.clone(), hold.permit)
}

fn waiter_key(waiter: &Waiter) -> (MutexId, i64) {
    (waiter.id.clone(), waiter.ticket)
}

/// What a filter looks at.
fn texts(id: &MutexId, owner: &crate::domain::MutexOwner) -> [String; 3] {
    [
        written(id),
        spoken::owner(owner),
        printable(owner.session_id()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::samples::{hold, noon, picture, state, waiter};
    use super::*;

    fn shown(state: &State) -> Vec<&str> {
        let holds = &state.picture.as_ref().unwrap().holds;
        let shown = state.shown_holds.iter();
        shown.map(|number| holds[*number].owner.name()).collect()
    }

    #[test]
    fn what_is_selected_stays_so_wherever_it_goes() {
        let mut state = state();
        state.selected_hold = 2;
        assert_eq!(state.hold().unwrap().owner.name(), "Linus");
        let mut later = picture();
        later.holds.remove(0);
        state.looked(Ok(later));
        assert_eq!(state.hold().unwrap().owner.name(), "Linus");
        // Gone: what is in its place, or the last one.
        let mut later = picture();
        later.holds.truncate(1);
        state.looked(Ok(later));
        assert_eq!(state.hold().unwrap().owner.name(), "Ada");
        state.looked(Ok(Picture::default()));
        assert!(state.hold().is_none());
    }

    #[test]
    fn rates_are_those_of_the_databases_time() {
        let mut state = state();
        assert_eq!(state.rates, None);
        let mut later = picture();
        later.now = noon() + chrono::TimeDelta::seconds(2);
        later.holds.remove(0);
        later.holds.push(hold("web", "Ken", 1, None, 7));
        later.holds.push(hold("www", "Dennis", 1, None, 8));
        let cut = Picture {
            now: later.now + chrono::TimeDelta::seconds(2),
            more_holds: true,
            ..later.clone()
        };
        state.looked(Ok(later));
        let expected = Rates {
            began: 1.0,
            ended: 0.5,
        };
        assert_eq!(state.rates, Some(expected));
        // What is not shown may have been there all the time.
        state.looked(Ok(cut));
        assert_eq!(state.rates, None);
    }

    #[test]
    fn a_lost_connection_leaves_what_was_seen() {
        let mut state = state();
        let lost = Error::Unavailable {
            source: "cut\u{1b}off".into(),
        };
        state.looked(Err(lost));
        assert!(state.lost.as_ref().unwrap().contains("cut\\u{1b}off"));
        assert_eq!(shown(&state).len(), 3);
        state.looked(Ok(picture()));
        assert_eq!(state.lost, None);
    }

    #[test]
    fn a_filter_finds_names_as_they_are_shown() {
        let mut state = state();
        for (filter, found) in [
            ("ADA", vec!["Ada"]),
            ("web", vec!["Linus"]),
            ("%1B", vec!["Grace\n"]),
            ("grace-sess", vec![]),
            ("Grace\\n-sess", vec!["Grace\n"]),
            ("db-3", vec!["Ada", "Grace\n", "Linus"]),
        ] {
            state.filter = filter.to_owned();
            state.rearrange();
            assert_eq!(shown(&state), found, "{filter}");
        }
        state.filter = "edsger".to_owned();
        state.rearrange();
        assert_eq!(state.waiter().unwrap().owner.name(), "Edsger");
    }

    #[test]
    fn each_order_is_what_its_name_says() {
        use super::super::order::Key;

        let mut state = state();
        let mut picture = picture();
        picture.waiters.push(waiter("web", "Ken", 1, 1));
        state.looked(Ok(picture));
        for (key, order) in [
            (Key::Mutex, ["Ada", "Grace\n", "Linus"]),
            (Key::Holder, ["Ada", "Grace\n", "Linus"]),
            (Key::Held, ["Grace\n", "Ada", "Linus"]),
            (Key::Left, ["Linus", "Ada", "Grace\n"]),
            (Key::Line, ["Ada", "Linus", "Grace\n"]),
        ] {
            state.order.key = key;
            state.order.is_reversed = false;
            state.rearrange();
            assert_eq!(shown(&state), order, "{key:?}");
            state.order.is_reversed = true;
            state.rearrange();
            let reversed: Vec<&str> = order.into_iter().rev().collect();
            assert_eq!(shown(&state), reversed, "{key:?}");
        }
    }
}
