//! The page at `/`, for people who look: what is held, who waits, live.
//!
//! ```text
//! events (one stream for each viewer) ─► viewers (one poll for all of them) ─► picture (what a poll found)
//!                                           └─► pools (asked for less often)
//! files (the page itself: the same for everyone, and nothing secret in it)
//! ```

mod events;
mod files;
mod picture;
mod pools;
mod viewers;

pub(super) use events::{__path_events, events};
pub(super) use files::{FILES, file, page};
pub(super) use viewers::Viewers;
