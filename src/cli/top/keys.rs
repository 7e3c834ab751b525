//! What each key does.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{Doing, Message, Pane, State, Target};
use crate::cli::{printable::is_hidden, spoken};

/// What is to be done beside what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    End,
    LookNow,
    Force { target: Target, reason: String },
}

/// How far a page goes; the terminal may show less.
const PAGE: isize = 10;

/// Longest text that can be typed.
const LONGEST: usize = 400;

impl State {
    /// Something happened on the terminal. After anything else than a key it is only drawn again.
    pub(super) fn event(&mut self, event: &Event) -> Option<Wish> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key),
            _ => None,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Some(Wish::End);
        }
        let code = match key.code {
            // Not a letter to be typed.
            KeyCode::Char(_) if is_control || key.modifiers.contains(KeyModifiers::ALT) => {
                return None;
            }
            code => code,
        };
        match std::mem::replace(&mut self.doing, Doing::Looking) {
            Doing::Looking => return self.looking(code),
            Doing::Details(line) => return self.in_details(code, line),
            Doing::Filtering => self.filtering(code),
            Doing::Reason { target, reason } => self.reason(code, target, reason),
            Doing::Confirming { target, reason } => match code {
                KeyCode::Char('y' | 'Y') => return Some(Wish::Force { target, reason }),
                KeyCode::Char('n' | 'N') | KeyCode::Esc => self.say("nothing was changed"),
                // Anything else may be a slip.
                _ => self.doing = Doing::Confirming { target, reason },
            },
        }
        None
    }

    fn looking(&mut self, code: KeyCode) -> Option<Wish> {
        self.message = None;
        match code {
            KeyCode::Char('q') => return Some(Wish::End),
            KeyCode::Esc if self.filter.is_empty() => return Some(Wish::End),
            KeyCode::Esc => {
                self.filter.clear();
                self.rearrange();
            }
            KeyCode::Char('/') => self.doing = Doing::Filtering,
            KeyCode::Char('s') => {
                self.order.key = self.order.key.next();
                self.rearrange();
            }
            KeyCode::Char('r') => {
                self.order.is_reversed = !self.order.is_reversed;
                self.rearrange();
            }
            KeyCode::Char('p') => {
                self.is_paused = !self.is_paused;
                return (!self.is_paused).then_some(Wish::LookNow);
            }
            KeyCode::Char('k' | 'F') => self.ask_for_reason(),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Pane::Holds => Pane::Waiters,
                    Pane::Waiters => Pane::Holds,
                };
            }
            KeyCode::Enter if self.is_something_selected() => self.doing = Doing::Details(0),
            KeyCode::Up => self.select(-1),
            KeyCode::Down => self.select(1),
            KeyCode::PageUp => self.select(-PAGE),
            KeyCode::PageDown => self.select(PAGE),
            KeyCode::Home => self.select(isize::MIN),
            KeyCode::End => self.select(isize::MAX),
            KeyCode::Char(' ') => return Some(Wish::LookNow),
            _ => {}
        }
        None
    }

    fn in_details(&mut self, code: KeyCode, line: u16) -> Option<Wish> {
        self.message = None;
        match code {
            KeyCode::Char('q') => return Some(Wish::End),
            KeyCode::Esc | KeyCode::Enter => {}
            KeyCode::Char('k' | 'F') => self.ask_for_reason(),
            KeyCode::Up => self.doing = Doing::Details(line.saturating_sub(1)),
            KeyCode::Down => self.doing = Doing::Details(line.saturating_add(1)),
            _ => self.doing = Doing::Details(line),
        }
        None
    }

    fn filtering(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => self.filter.clear(),
            code => {
                typed(&mut self.filter, code);
                self.doing = Doing::Filtering;
            }
        }
        self.rearrange();
    }

    fn reason(&mut self, code: KeyCode, target: Target, mut reason: String) {
        match code {
            KeyCode::Esc => self.say("nothing was changed"),
            KeyCode::Enter if !reason.trim().is_empty() => {
                self.doing = Doing::Confirming { target, reason };
            }
            code => {
                typed(&mut reason, code);
                self.doing = Doing::Reason { target, reason };
            }
        }
    }

    /// Of the hold that is selected.
    fn ask_for_reason(&mut self) {
        if self.focus == Pane::Waiters {
            return self.say("a waiter holds nothing: select a hold, with Tab");
        }
        let target = self.hold().map(|hold| Target {
            id: hold.id.clone(),
            token: hold.fencing_token,
            holder: spoken::owner(&hold.owner),
        });
        if let Some(target) = target {
            let reason = String::new();
            self.doing = Doing::Reason { target, reason };
        }
    }

    fn is_something_selected(&self) -> bool {
        match self.focus {
            Pane::Holds => self.hold().is_some(),
            Pane::Waiters => self.waiter().is_some(),
        }
    }

    fn select(&mut self, by: isize) {
        let (selected, count) = match self.focus {
            Pane::Holds => (&mut self.selected_hold, self.shown_holds.len()),
            Pane::Waiters => (&mut self.selected_waiter, self.shown_waiters.len()),
        };
        let last = count.saturating_sub(1);
        *selected = selected.saturating_add_signed(by).min(last);
    }

    fn say(&mut self, text: &str) {
        self.message = Some(Message {
            text: text.to_owned(),
            is_bad: false,
        });
    }
}

fn typed(text: &mut String, code: KeyCode) {
    match code {
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Char(c) if text.len() < LONGEST && !is_hidden(c) => text.push(c),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use KeyCode::{Backspace, Down, End, Enter, Esc, Home, Tab, Up};

    use super::*;
    use crate::cli::top::samples::{letters, press, state};

    #[test]
    fn it_ends_by_q_by_escape_and_by_control_c_whatever_is_being_done() {
        assert_eq!(press(&mut state(), letters("q")), Some(Wish::End));
        assert_eq!(press(&mut state(), [Esc]), Some(Wish::End));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for before in ["", "/", "k"] {
            let mut state = state();
            assert_eq!(press(&mut state, letters(before)), None);
            assert_eq!(state.event(&Event::Key(control_c)), Some(Wish::End));
        }
    }

    #[test]
    fn a_release_is_forced_with_a_reason_and_once_confirmed() {
        let mut state = state();
        assert_eq!(press(&mut state, [Down, Down]), None);
        let target = Target {
            id: state.hold().unwrap().id.clone(),
            token: state.hold().unwrap().fencing_token,
            holder: "Linus on db-3".to_owned(),
        };
        // Without a reason it goes no further.
        assert_eq!(press(&mut state, letters("k ")), None);
        assert_eq!(press(&mut state, [Enter, Enter]), None);
        assert_eq!(press(&mut state, letters("stuckk")), None);
        assert_eq!(press(&mut state, [Backspace, Enter]), None);
        // Another key than y is no answer.
        assert_eq!(press(&mut state, [Enter, Up, KeyCode::Char('q')]), None);
        let reason = " stuck".to_owned();
        let wish = Wish::Force { target, reason };
        assert_eq!(press(&mut state, letters("y")), Some(wish));
        assert_eq!(state.doing, Doing::Looking);
    }

    #[test]
    fn no_means_no() {
        for no in [Esc, KeyCode::Char('n')] {
            let mut state = state();
            assert_eq!(press(&mut state, letters("Fwhy")), None);
            assert_eq!(press(&mut state, [Enter, no]), None);
            assert_eq!(state.doing, Doing::Looking);
            assert_eq!(state.message.as_ref().unwrap().text, "nothing was changed");
            // Nor is the answer taken for the next question's.
            assert_eq!(press(&mut state, letters("y")), None);
        }
    }

    #[test]
    fn a_waiter_has_nothing_to_release() {
        let mut state = state();
        assert_eq!(press(&mut state, [Tab, KeyCode::Char('k')]), None);
        assert_eq!(state.doing, Doing::Looking);
        assert!(state.message.is_some());
    }

    #[test]
    fn a_filter_is_typed_kept_and_taken_away() {
        let mut state = state();
        assert_eq!(press(&mut state, letters("/webq")), None);
        assert_eq!(state.shown_holds.len(), 0);
        assert_eq!(press(&mut state, [Backspace, Enter]), None);
        assert_eq!((state.filter.as_str(), state.shown_holds.len()), ("web", 1));
        assert_eq!(press(&mut state, [Esc]), None);
        assert_eq!((state.filter.as_str(), state.shown_holds.len()), ("", 3));
    }

    #[test]
    fn the_selection_stays_within_what_there_is() {
        let mut state = state();
        for (key, selected) in [(Up, 0), (End, 2), (Down, 2), (Home, 0), (Down, 1)] {
            assert_eq!(press(&mut state, [key]), None);
            assert_eq!(state.selected_hold, selected, "{key:?}");
        }
        assert_eq!(press(&mut state, [Tab, End]), None);
        assert_eq!((state.selected_hold, state.selected_waiter), (1, 1));
    }

    #[test]
    fn after_a_pause_it_looks_at_once() {
        let mut state = state();
        assert_eq!(press(&mut state, letters("p")), None);
        assert!(state.is_paused);
        assert_eq!(press(&mut state, letters("p")), Some(Wish::LookNow));
    }
}
