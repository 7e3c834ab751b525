//! Pools of sessions: who gets which, when, and what makes one come back.

mod cancelling;
mod coming_back;
mod contention;
mod documents;
mod killed;
mod leases;
mod methods;
mod passing_over;
mod refusals;
mod size;
mod steps;
mod uses;
