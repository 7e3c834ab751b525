//! What terminals of several sizes show of fixed states.

use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

use super::{
    drawing::{Views, draw},
    samples::{hold, letters, picture, press, state},
    state::{Pane, State},
};
use crate::domain::Error;

/// All lines of a terminal, without the blanks at their ends.
fn drawn(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut views = Views::default();
    terminal
        .draw(|frame| draw(frame, state, &mut views))
        .unwrap();
    let content = terminal.backend().buffer().content();
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    content.chunks(usize::from(width)).map(line).collect()
}

#[test]
fn print_all() {
    let mut s = state();
    print!("{}", drawn(&s, 80, 24));
    print!("{}", drawn(&s, 40, 10));
    s.focus = Pane::Waiters;
    print!("{}", drawn(&s, 40, 10));
    press(&mut s, [KeyCode::Enter]);
    print!("{}", drawn(&s, 40, 10));
    let mut s = state();
    press(&mut s, [KeyCode::Enter]);
    print!("{}", drawn(&s, 80, 24));
    print!("{}", drawn(&s, 40, 10));
    let mut s = state();
    s.looked(Err(Error::Unavailable { source: "connection refused".into() }));
    print!("{}", drawn(&s, 80, 10));
    let mut p = picture();
    p.more_holds = true;
    for n in 0..20 { p.holds.push(hold(&format!("x{n}"), "Ken", n, Some(60), 9)); }
    let mut s = state();
    s.looked(Ok(p));
    press(&mut s, [KeyCode::End]);
    print!("{}", drawn(&s, 60, 14));
    let mut s = state();
    press(&mut s, [KeyCode::Down]);
    press(&mut s, letters("kstuck since Monday"));
    print!("{}", drawn(&s, 40, 10));
    press(&mut s, [KeyCode::Enter]);
    print!("{}", drawn(&s, 40, 10));
    print!("{}", drawn(&s, 80, 12));
    for (w, h) in [(0, 0), (1, 1), (5, 3), (20, 4), (200, 50)] { drawn(&s, w, h); }
}
