//! I1, I2 and I6 over time: histories of contended captures, recorded as each contender saw them,
//! and a checker that says which promise a history breaks.

pub(crate) mod breakages;
mod checker;
mod contenders;
mod contention;
mod corruptions;
mod decisions;
mod history;
mod holds;
mod lines;
mod recorder;
mod right;
mod stories;
mod wrong;
