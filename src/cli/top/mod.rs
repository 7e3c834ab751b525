//! `pgmutex top`: what is held and who waits, as it changes.
//!
//! The state is a value, changed by keys and by what was read; drawing is a function of it. Only the
//! screen knows a terminal.

mod drawing;
mod keys;
#[cfg(test)]
mod looks;
mod order;
mod picture;
#[cfg(test)]
mod samples;
mod screen;
mod state;
mod table;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use clap::Args;
use ratatui::crossterm::event::Event;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Exit, Failure, Output, database::Database, duration, holder::who,
    interrupt::unless_interrupted, printable::printable,
};
use crate::{
    domain::{Error, ForceReleased},
    mutexes::Mutexes,
};
use drawing::Views;
use keys::Wish;
use picture::{Extent, Picture};
use screen::Screen;
use state::{State, Target};

/// Shows what is held and who waits, as it changes
///
/// Keys: arrows select, Tab goes from holds to waiters and back, Enter shows all of what is selected;
/// / filters, s and r sort, p pauses, k takes the mutex away from its holder, q ends.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// How often to look
    #[arg(short = 'n', long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,

    /// Only mutexes of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Read so many holds and so many waiters at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// What has happened.
enum News {
    /// On the terminal; an error if it cannot be read any more.
    Terminal(io::Result<Event>),
    Looked(Result<Picture, Error>),
    Forced(Target, Result<ForceReleased, Error>),
}

impl Top {
    pub(super) async fn run(self, database: &Database, output: &Output) -> Result<Exit, Failure> {
        if output.is_json {
            return Err(Failure::usage(
                "top is for people: for a program, use `pgmutex list --json`",
            ));
        }
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Failure::usage(
                "top needs a terminal: to follow what is held elsewhere, use `pgmutex list --watch`",
            ));
        }
        let place = printable(&database.in_words()?);
        let mutexes = database.connect().await?;
        let state = State::new(place, self.interval, output.has_colours());
        let extent = Extent {
            group: self.group,
            limit: self.limit,
        };
        unless_interrupted(&mutexes, show(&mutexes, state, &extent)).await?;
        Ok(Exit::Success)
    }
}

/// Returns when the user has seen enough.
async fn show(mutexes: &Mutexes, mut state: State, extent: &Extent) -> Result<(), Failure> {
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut screen = Screen::open(sender.clone())?;
    let mut views = Views::default();
    let mut is_looking = false;
    let mut next_look = Instant::now();
    loop {
        screen.draw(&state, &mut views)?;
        state.bound_details(views.last_detail);
        let is_due = !is_looking && !state.is_paused;
        let happened = tokio::select! {
            happened = news.recv() => happened,
            () = sleep_until(next_look), if is_due => {
                is_looking = true;
                next_look = Instant::now() + state.interval;
                look(mutexes, extent, &sender);
                continue;
            }
        };
        match happened {
            None => return Ok(()),
            Some(News::Terminal(event)) => match state.event(&event?) {
                None => {}
                Some(Wish::End) => return Ok(()),
                Some(Wish::LookNow) => next_look = Instant::now(),
                Some(Wish::Force { target, reason }) => force(mutexes, target, reason, &sender),
            },
            Some(News::Looked(looked)) => {
                is_looking = false;
                state.looked(looked);
            }
            Some(News::Forced(target, outcome)) => {
                state.forced(&target, outcome);
                next_look = Instant::now();
            }
        }
    }
}

/// Looks, while keys are answered.
fn look(mutexes: &Mutexes, extent: &Extent, sender: &mpsc::UnboundedSender<News>) {
    let (mutexes, extent, sender) = (mutexes.clone(), extent.clone(), sender.clone());
    tokio::spawn(async move {
        let looked = picture::look(&mutexes, &extent).await;
        // Nobody hears it if the program has ended by now.
        let _ = sender.send(News::Looked(looked));
    });
}

/// Takes a hold away: exactly the one that was looked at.
fn force(mutexes: &Mutexes, target: Target, reason: String, sender: &mpsc::UnboundedSender<News>) {
    let (mutexes, sender) = (mutexes.clone(), sender.clone());
    tokio::spawn(async move {
        let reason = format!("{reason} (asked for by {})", who());
        let forced = mutexes.force_release(&target.id, reason);
        let outcome = forced.token(target.token).await;
        let _ = sender.send(News::Forced(target, outcome));
    });
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    match interval < Duration::from_millis(100) {
        true => Err("the shortest is 100ms".to_owned()),
        false => Ok(interval),
    }
}
