//! The terminal: taken while the screen is there, and given back as it was, whatever ends it.

use std::thread;

use ratatui::{DefaultTerminal, crossterm::event};
use tokio::sync::mpsc;

use super::{
    News,
    drawing::{Views, draw},
    state::State,
};
use crate::cli::Failure;

pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal; what happens on it becomes news. A panic gives it back before it is told of.
    pub(super) fn open(news: mpsc::UnboundedSender<News>) -> Result<Self, Failure> {
        let terminal = ratatui::try_init()?;
        let screen = Self { terminal };
        // Reading blocks. The thread ends with the process, or when nobody hears it any more.
        let reading = move || {
            loop {
                let event = event::read();
                let is_last = event.is_err();
                if news.send(News::Terminal(event)).is_err() || is_last {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("pgmutex-keys".to_owned())
            .spawn(reading)?;
        Ok(screen)
    }

    pub(super) fn draw(&mut self, state: &State, views: &mut Views) -> Result<(), Failure> {
        self.terminal.draw(|frame| draw(frame, state, views))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may be gone.
        let _ = ratatui::try_restore();
    }
}
