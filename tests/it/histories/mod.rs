//! I1, I2 and I6 over time: histories of contended captures, recorded as each contender saw them,
//! and a checker that says which promise a history breaks.

mod checker;
mod corruptions;
mod history;
mod holds;
mod lines;
mod right;
mod stories;
mod wrong;
